"""The registry's decisions: pure, deterministic, and all there is to test without a network."""

from mezzo_registry.core.failures import InvalidTransition, InvariantViolation
from mezzo_registry.core.registry import Registry
from mezzo_registry.core.settings import Identity, RateLimit, Settings

__all__ = ["Identity", "InvalidTransition", "InvariantViolation", "RateLimit", "Registry", "Settings"]
