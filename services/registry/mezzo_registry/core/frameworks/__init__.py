"""Frameworks: subscribed, called, torn down."""
