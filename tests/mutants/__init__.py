"""Breaks the code in one place at a time and looks whether a test notices: `make mutants`, and docs/testing.md."""
