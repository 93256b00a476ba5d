"""Agents: recovered after an election, registered, resynchronised, removed."""
