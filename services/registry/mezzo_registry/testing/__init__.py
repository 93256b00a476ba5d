"""For tests: peers of a registry's core, and peers that speak gRPC to a registry that serves."""

from mezzo_registry.testing.conversation import REGISTRY_ID, START, Cluster, FakeAgent, FakeFramework
from mezzo_registry.testing.peers import PATIENCE_SECONDS, PlayedAgent, PlayedAllocator, PlayedFramework

__all__ = [
    "PATIENCE_SECONDS",
    "REGISTRY_ID",
    "START",
    "Cluster",
    "FakeAgent",
    "FakeFramework",
    "PlayedAgent",
    "PlayedAllocator",
    "PlayedFramework",
]
