"""An operator's side of the cluster: Mesos' v1 operator APIs, and our own.

The clients are imported when they are first asked for: the words in which clusters are explained need no gRPC.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mezzo.operator.client import AgentOperator, MasterOperator, RegistryOperator

__all__ = ["AgentOperator", "MasterOperator", "RegistryOperator"]


def __getattr__(name: str) -> object:
    if name in __all__:
        return getattr(import_module("mezzo.operator.client"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
