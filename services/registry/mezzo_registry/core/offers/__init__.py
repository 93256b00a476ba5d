"""Offers and inverse offers: made, accepted, declined, rescinded."""
