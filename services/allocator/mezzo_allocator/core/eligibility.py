"""Which agents a framework may not see at all, whatever is free on them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from mesos.v1.mesos_pb2 import AgentInfo, DomainInfo, FrameworkInfo
from mezzo_allocator.core.agents import Agent
from mezzo_allocator.core.arrays import ALL_BUT, BIT, Bits
from mezzo_allocator.core.constraints import Constraints
from mezzo_allocator.core.frameworks import Client
from mezzo_allocator.core.slices import Columns

RULE_GPU = "gpu"
RULE_REGION = "region"
RULE_AGENT_CAPABILITY = "agent_capability"
RULE_CONSTRAINT = "constraint"


class Traits(NamedTuple):
    """What the rules ask of an agent. Most agents of a cluster share theirs."""

    has_gpus: bool
    region: str
    lacks_multi_role: bool
    lacks_hierarchical_roles: bool


class Eligibility:
    """`denied` [A, W]: a bit for each client that a rule keeps from an agent."""

    def __init__(self, agents: int, words: int, columns: Columns, *, filter_gpus: bool) -> None:
        self.denied: Bits = np.zeros((agents, words), dtype=np.uint64)
        self._gpus = columns.index("gpus")
        self._filter_gpus = filter_gpus
        self._home = ""
        self._kind_of_traits: dict[Traits, int] = {}
        self._denied_by_kind: Bits = np.zeros((1, words), dtype=np.uint64)
        self._kind_of_row = np.zeros(agents, dtype=np.int32)
        self._constraints: dict[int, Constraints] = {}

    def reshape(self, agents: int, words: int) -> None:
        """Make room for more agents and clients."""
        denied = np.zeros((agents, words), dtype=np.uint64)
        denied[: self.denied.shape[0], : self.denied.shape[1]] = self.denied
        by_kind = np.zeros((self._denied_by_kind.shape[0], words), dtype=np.uint64)
        by_kind[:, : self._denied_by_kind.shape[1]] = self._denied_by_kind
        kinds = np.zeros(agents, dtype=np.int32)
        kinds[: self._kind_of_row.shape[0]] = self._kind_of_row
        self.denied, self._denied_by_kind, self._kind_of_row = denied, by_kind, kinds

    def set_domain(self, domain: DomainInfo | None) -> None:
        """Set where the registry is; agents of other regions are for frameworks that ask for them."""
        self._home = region_of(domain) if domain is not None else ""

    # -- changes -------------------------------------------------------------------------------------------------------

    def evaluate_agent(
        self, agent: Agent, info: AgentInfo, capabilities: frozenset[int], clients: Iterable[Client]
    ) -> None:
        """Apply all rules to an agent that is new or has changed. `clients` are all there are."""
        capability = AgentInfo.Capability
        traits = Traits(
            has_gpus=any(portion.vector[self._gpus] > 0 for portion in agent.portions),
            region=region_of(info.domain) if info.HasField("domain") else "",
            lacks_multi_role=bool(capabilities) and capability.MULTI_ROLE not in capabilities,
            lacks_hierarchical_roles=bool(capabilities) and capability.HIERARCHICAL_ROLE not in capabilities,
        )
        kind = self._kind_of_traits.get(traits)
        if kind is None:
            kind = self._new_kind(traits, clients)
        self._kind_of_row[agent.row] = kind
        self.denied[agent.row] = self._denied_by_kind[kind]
        for number, constraints in self._constraints.items():
            if not constraints.admit(info):
                self.denied[agent.row, number >> 6] |= BIT[number & 63]

    def _new_kind(self, traits: Traits, clients: Iterable[Client]) -> int:
        kind = self._kind_of_traits[traits] = len(self._kind_of_traits)
        if kind >= self._denied_by_kind.shape[0]:
            self._denied_by_kind = np.concatenate([self._denied_by_kind, np.zeros_like(self._denied_by_kind)])
        for client in clients:
            if self._rule_of_kind(client, traits):
                self._denied_by_kind[kind, client.number >> 6] |= BIT[client.number & 63]
        return kind

    def evaluate_client(self, client: Client, constraints: Constraints | None, agents: Iterable[Agent]) -> None:
        """Apply all rules to a client that is new or has changed. `agents` are all there are."""
        number = client.number
        word, bit = number >> 6, BIT[number & 63]
        verdicts = np.zeros(len(self._kind_of_traits) or 1, dtype=bool)
        for traits, kind in self._kind_of_traits.items():
            verdicts[kind] = self._rule_of_kind(client, traits) is not None
        self._mark(self._denied_by_kind[: verdicts.size], word, bit, verdicts)
        if constraints is None and self._constraints.pop(number, None) is None and not verdicts.any():
            self.denied[:, word] &= ALL_BUT[number & 63]
            return
        rows = verdicts[self._kind_of_row]
        if constraints is not None:
            self._constraints[number] = constraints
            for agent in agents:
                rows[agent.row] = rows[agent.row] or not constraints.admit(agent.info())
        self._mark(self.denied, word, bit, rows)

    @staticmethod
    def _mark(bits: Bits, word: int, bit: np.uint64, rows: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> None:
        bits[:, word] = np.where(rows, bits[:, word] | bit, bits[:, word] & ~bit)

    def forget_client(self, client: Client) -> None:
        """Clear the bits of a client that is gone."""
        self._constraints.pop(client.number, None)
        self._denied_by_kind[:, client.number >> 6] &= ALL_BUT[client.number & 63]
        self.denied[:, client.number >> 6] &= ALL_BUT[client.number & 63]

    # -- rules ---------------------------------------------------------------------------------------------------------

    def _rule_of_kind(self, client: Client, traits: Traits) -> str | None:
        capability = FrameworkInfo.Capability
        has = client.framework.capabilities
        if traits.has_gpus and self._filter_gpus and capability.GPU_RESOURCES not in has:
            return RULE_GPU
        if traits.region and self._home and traits.region != self._home and capability.REGION_AWARE not in has:
            return RULE_REGION
        if traits.lacks_multi_role and capability.MULTI_ROLE in has:
            return RULE_AGENT_CAPABILITY
        if traits.lacks_hierarchical_roles and "/" in client.role:
            return RULE_AGENT_CAPABILITY
        return None

    def rules_against(self, client: Client, agents: Iterable[Agent]) -> dict[int, str]:
        """Which rule keeps an agent from a client, by row; agents that no rule keeps from it are left out."""
        rule_of_kind = {kind: self._rule_of_kind(client, traits) for traits, kind in self._kind_of_traits.items()}
        word, bit = client.number >> 6, BIT[client.number & 63]
        rules = {}
        for agent in agents:
            if self.denied[agent.row, word] & bit:
                rules[agent.row] = rule_of_kind[int(self._kind_of_row[agent.row])] or RULE_CONSTRAINT
        return rules


def region_of(domain: DomainInfo) -> str:
    """The name of a domain's region, "" where it has none."""
    return domain.fault_domain.region.name if domain.HasField("fault_domain") else ""
