"""The Mezzo SDK."""
