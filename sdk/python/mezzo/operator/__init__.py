"""An operator's side of the cluster: Mesos' v1 operator APIs, and our own."""

from typing import TYPE_CHECKING

from mezzo.lazy import lazy_names

if TYPE_CHECKING:
    from mezzo.operator.client import AgentOperator, MasterOperator, RegistryOperator

__all__ = ["AgentOperator", "MasterOperator", "RegistryOperator"]

__getattr__ = lazy_names(__name__, dict.fromkeys(__all__, "client"))
