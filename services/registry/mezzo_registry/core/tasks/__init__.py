"""Tasks: launched, updated, reconciled, ended."""
