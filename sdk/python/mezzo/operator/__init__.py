"""An operator's side of the cluster: Mesos' v1 operator APIs, and our own."""

from mezzo.operator.client import AgentOperator, MasterOperator, RegistryOperator

__all__ = ["AgentOperator", "MasterOperator", "RegistryOperator"]
