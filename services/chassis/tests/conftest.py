"""Fixtures for the chassis' own tests."""

from mezzo_chassis.testing.fixtures import zookeeper

__all__ = ["zookeeper"]
