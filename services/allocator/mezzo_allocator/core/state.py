"""Everything the allocator knows of a cluster, and the moves that keep all of it consistent."""

from __future__ import annotations

from collections.abc import Iterator

from mezzo.errors import Conflict
from mezzo.resources import Kind, ResourceError, Resources
from mezzo_allocator.core.agents import KNOWN, Agent, AgentTable, Piece
from mezzo_allocator.core.arrays import NEEDS_REVOCABLE, ROOT, Ints
from mezzo_allocator.core.backlog import Backlog
from mezzo_allocator.core.eligibility import Eligibility
from mezzo_allocator.core.fairness_rounds import FairnessRounds
from mezzo_allocator.core.filters import RefuseFilters
from mezzo_allocator.core.frameworks import Client, Framework, FrameworkTable
from mezzo_allocator.core.loops import Loops
from mezzo_allocator.core.maintenance import Maintenance
from mezzo_allocator.core.policy import Policy
from mezzo_allocator.core.quota import QuotaTable
from mezzo_allocator.core.random_sorter import RandomSorter
from mezzo_allocator.core.roles import RoleTree
from mezzo_allocator.core.shared import SharedUses
from mezzo_allocator.core.slices import NEEDS_SHARED, Columns, Portion, SliceKey, Slicer, scalars_of


class AllocatorState:
    """The cluster in one session, as the registry described it, and what was allocated of it since.

    What a client takes of an agent moves in four places: the slice it comes from, the agent's list of holders, the
    allocations of every node on the client's path, and the consumption of every quota on it.
    """

    def __init__(self, policy: Policy, loops: Loops) -> None:
        self.columns = Columns()
        self.slicer = Slicer(self.columns)
        self.tree = RoleTree(self.columns)
        for name in sorted(policy.excluded_from_shares):
            self.tree.exclude_from_shares(self.columns.index(name))
        self.agents = AgentTable(self.columns, self.tree, self.slicer)
        self.frameworks = FrameworkTable(self.columns, self.tree, policy.minimum)
        self.filters = RefuseFilters(self.agents.capacity, self.frameworks.words)
        self.eligibility = Eligibility(
            self.agents.capacity, self.frameworks.words, self.columns, filter_gpus=policy.filter_gpus
        )
        self.quota = QuotaTable(self.columns, self.tree, self.frameworks, loops)
        self.backlog = Backlog(self.agents.capacity)
        self.maintenance = Maintenance()
        self.fairness_rounds = FairnessRounds()
        self.shared_uses = SharedUses()
        self.random_sorter = RandomSorter(policy.role_sorter, policy.framework_sorter, policy.seed)

    def fit(self) -> None:
        """Make the bit matrices as large as there are agents and clients."""
        shape = (self.agents.capacity, self.frameworks.words)
        if self.filters.bits.shape != shape:
            self.filters.reshape(*shape)
            self.eligibility.reshape(*shape)
            self.backlog.reshape(self.agents.capacity)

    def break_cycles(self) -> None:
        """Break the reference cycles within, so that the memory is freed at once: the garbage collector may be told
        not to look at it.
        """
        self.columns.on_widen.clear()

    def mark_dirty(self, agent: Agent) -> None:
        """Have the next cycle consider an agent, of which something has changed."""
        self.filters.stock_changed(agent.row)
        self.maintenance.mark(agent.row)
        if agent.active:
            self.backlog.mark(agent.row)

    def mark_all_dirty(self) -> None:
        """Have the next cycles consider every agent: what has changed may concern any."""
        self.filters.reconsider()
        self.maintenance.mark_all()
        self.backlog.mark_everything(self.agents.active)

    # -- clients -------------------------------------------------------------------------------------------------------

    def client(self, framework: Framework, role: str) -> Client:
        """The client of a framework in a role; one that holds something need not be subscribed."""
        client = framework.clients.get(role)
        if client is None:
            client = self.frameworks.client(framework, role)
            self.fit()
            self.eligibility.evaluate_client(client, framework.constraints.get(role), self.agents.by_number.values())
        return client

    def retire(self, client: Client) -> None:
        """Forget a client that neither wants nor holds anything, and a framework that is gone with its last client."""
        if client.subscribed or client.holdings:
            return
        self.backlog.mark_all(self.filters.clear(client.number))
        self.eligibility.forget_client(client)
        self.fairness_rounds.forget_client(client.number)
        self.frameworks.remove_client(client)
        if client.framework.removed and not client.framework.clients:
            self.frameworks.remove(client.framework)

    # -- holdings ------------------------------------------------------------------------------------------------------

    def take(self, agent: Agent, client: Client, resources: Resources, cycle: int = KNOWN) -> None:
        """Allocate resources of an agent to a client.

        Raises:
            Conflict: they are not free.
        """
        for portion in self.slicer.split(resources):
            if portion.key.needs & NEEDS_SHARED:
                self.account_shared(agent, client, portion.resources, 1)
                continue
            self._deduct(agent, portion)
            self.account(client, portion.key, portion.vector, 1)
        self.note_holding(agent, client, (cycle, resources))

    def _deduct(self, agent: Agent, portion: Portion) -> None:
        slot = self.agents.slot_of(agent, portion.key)
        free = self.agents.contents[slot] if slot is not None else Resources.EMPTY
        if portion.key.needs & NEEDS_REVOCABLE:
            overdraft = portion.resources.minus_what_is_there(free)
            agent.overdraft += overdraft
            portion = self._less(portion, overdraft)
        if not portion.resources:
            return
        if slot is None:
            raise Conflict(f"agent {agent.number} has no {portion.resources}")
        try:
            self.agents.deduct(slot, portion)
        except ResourceError as error:
            raise Conflict(f"agent {agent.number} has {free} free, not {portion.resources}") from error

    def _restore(self, agent: Agent, portion: Portion) -> None:
        if agent.overdraft and portion.key.needs & NEEDS_REVOCABLE:
            still_over = agent.overdraft.minus_what_is_there(portion.resources)
            portion = self._less(portion, agent.overdraft - still_over)
            agent.overdraft = still_over
        if not portion.resources:
            return
        slot = self.agents.slot_of(agent, portion.key)
        if slot is None:
            raise Conflict(f"agent {agent.number} never had {portion.resources}")
        self.agents.restore(slot, portion)

    def _less(self, portion: Portion, resources: Resources) -> Portion:
        """A portion without some of its resources."""
        if not resources:
            return portion
        rest = portion.resources - resources
        return Portion(portion.key, rest, self.columns.vector(scalars_of(rest)))

    def note_holding(self, agent: Agent, client: Client, piece: Piece) -> None:
        """Record who holds resources that were taken off the stock and accounted for."""
        pieces = agent.held.get(client.number)
        if pieces is None:
            agent.held[client.number] = [piece]
            client.holdings += 1
        else:
            pieces.append(piece)

    def release(self, agent: Agent, client: Client, resources: Resources) -> None:
        """Free resources of an agent that a client holds.

        Raises:
            Conflict: the client does not hold them.
        """
        held = agent.held_by(client.number)
        try:
            rest = held - resources
        except ResourceError as error:
            raise Conflict(
                f"framework {client.framework.number} holds {held or 'nothing'} of agent {agent.number} "
                f"in role {client.role}, and releases {resources}"
            ) from error
        if rest:
            agent.held[client.number] = _without(agent.held[client.number], resources)
        elif agent.held.pop(client.number, None) is not None:
            client.holdings -= 1
        for portion in self.slicer.split(resources):
            if portion.key.needs & NEEDS_SHARED:
                self.account_shared(agent, client, portion.resources, -1)
                continue
            self._restore(agent, portion)
            self.account(client, portion.key, portion.vector, -1)

    def undo_take(self, agent: Agent, client: Client, slot: int, resources: Resources, vector: Ints) -> None:
        """Undo the taking of a slice that is in no allocation yet."""
        portion = Portion(agent.keys[slot - agent.first], resources, vector)
        self.agents.restore(slot, portion)
        self.account(client, portion.key, vector, -1)

    def undo_served(self, client: Client) -> None:
        """Take back that an allocation was made to a client."""
        self.tree.arrays.served[client.path] -= 1

    def visible_to(self, agent: Agent, role: str, needs_met: int) -> Resources:
        """What a client in a role, with these capabilities, may see of what is free of an agent."""
        return Resources.sum(
            self.agents.contents[slot]
            for slot, key in self.agents.slots(agent)
            if not key.needs & ~needs_met and within(role, key.role)
        )

    def shared_visible_to(self, agent: Agent, client: Client) -> Resources:
        """The shared resources of an agent that a client may see, held or not."""
        if not agent.shared or not client.framework.needs_met() & NEEDS_SHARED:
            return Resources.EMPTY
        return agent.shared.allocatable_to(client.role)

    def release_all(self, agent: Agent) -> list[Client]:
        """Free all that is held of an agent whose slices are about to be replaced; return who held it."""
        holders = [self.frameworks.clients[number] for number in agent.held]
        for client in holders:
            for portion in self.slicer.split(agent.held_by(client.number)):
                if portion.key.needs & NEEDS_SHARED:
                    self.account_shared(agent, client, portion.resources, -1)
                else:
                    self.account(client, portion.key, portion.vector, -1)
            client.holdings -= 1
        agent.held.clear()
        return holders

    def account(self, client: Client, key: SliceKey, vector: Ints, sign: int) -> None:
        """Count what a client took (sign 1) or released (-1) on its path, and against quotas."""
        self.tree.add_allocation(client.path, vector if sign > 0 else -vector)
        if self.quota.on and not key.needs & NEEDS_REVOCABLE:
            role = int(self.tree.arrays.role[client.node])
            self.quota.count(role, self.tree.roles[key.role], vector, sign)

    def account_shared(self, agent: Agent, client: Client, resources: Resources, sign: int) -> None:
        """Count shared resources that a client took (sign 1) or released (-1), where that makes a difference."""
        for kind, changed, vector in self._shared_changes(self.shared_uses, agent, client, resources, sign):
            self.tree.add_allocation(client.path[:changed], vector)
            if self.quota.on:
                self._count_shared_against_quota(client, kind, changed, vector)

    def _shared_changes(
        self, uses: SharedUses, agent: Agent, client: Client, resources: Resources, sign: int
    ) -> Iterator[tuple[Kind, int, Ints]]:
        """Each shared resource that makes a difference, to how many nodes of the client's path, and which."""
        for kind, copies in resources.items():
            assert isinstance(copies, int)
            changed = uses.change(agent.row, client.path, kind, sign * copies)
            if changed:
                yield kind, changed, sign * self.columns.vector([(kind.name, kind.thousandths(copies))])

    def _count_shared_against_quota(self, client: Client, kind: Kind, changed: int, vector: Ints) -> None:
        reserved_for = self.tree.roles.get(kind.role, ROOT)
        nodes = client.path.tolist()
        end = nodes[changed] if changed < len(nodes) and reserved_for not in nodes[:changed] else reserved_for
        role = int(self.tree.arrays.role[client.node])
        if role in nodes[:changed]:
            self.quota.count(role, end, vector, 1)

    def count_reservations(self, agent: Agent, sign: int) -> None:
        """Count what an agent has reserved against the quotas of the roles: it counts there whoever holds it."""
        if not self.quota.on:
            return
        for portion in agent.portions:
            if portion.key.role and not portion.key.needs & NEEDS_REVOCABLE:
                node = self.tree.roles[portion.key.role]
                self.quota.count(node, ROOT, portion.vector, sign)

    def recount_quota(self) -> None:
        """Count the consumption of all roles from the holdings and reservations of all agents."""
        self.quota.clear_consumption()
        uses = SharedUses()
        for agent in self.agents.by_number.values():
            self.count_reservations(agent, 1)
            for number in agent.held:
                client = self.frameworks.clients[number]
                role = int(self.tree.arrays.role[client.node])
                for portion in self.slicer.split(agent.held_by(number)):
                    if portion.key.needs & NEEDS_SHARED:
                        for change in self._shared_changes(uses, agent, client, portion.resources, 1):
                            self._count_shared_against_quota(client, *change)
                    elif not portion.key.needs & NEEDS_REVOCABLE:
                        reserved_for = self.tree.roles[portion.key.role]
                        self.quota.count(role, reserved_for, portion.vector, 1)


def within(role: str, holder: str) -> bool:
    """Whether a role may see what is reserved for `holder` ("": nobody): its own, and its ancestors'."""
    return not holder or role == holder or role.startswith(f"{holder}/")


def _without(pieces: list[Piece], resources: Resources) -> list[Piece]:
    """What is left of pieces. The oldest are used up first: the registry may not know yet of the newest."""
    left = []
    for cycle, held in pieces:
        rest = held.minus_what_is_there(resources)
        resources = resources.minus_what_is_there(held)
        if rest:
            left.append((cycle, rest))
    return left
