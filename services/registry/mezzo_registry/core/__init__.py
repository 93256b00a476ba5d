"""The registry's decisions: pure, deterministic, and all there is to test without a network."""

from .failures import InvalidTransition, InvariantViolation
from .registry import Registry
from .settings import Identity, RateLimit, Settings

__all__ = ["Identity", "InvalidTransition", "InvariantViolation", "RateLimit", "Registry", "Settings"]
