"""An observer of a registry, for tests: what it was sent, to be compared with what is true."""

import difflib
from collections.abc import Iterable

from google.protobuf.message import Message

from mezzo.operator.v1 import operator_pb2 as operator

Fact = tuple[str, ...]
"""What a message is about: its kind, and the ids that name the one thing."""
_LIST = operator.TaskList


class Replica:
    """Applies changes as an observer does. What is said of one thing replaces what was said of it before."""

    def __init__(self) -> None:
        self.facts: dict[Fact, Message | str] = {}
        self.complete = False
        """Whether a whole snapshot has come."""

    def apply(self, changes: Iterable[operator.StateChange]) -> None:
        """Take changes in, in their order."""
        for change in changes:
            kind = change.WhichOneof("change")
            getattr(self, f"_{kind}")(getattr(change, str(kind)))

    def differences(self, truth: "Replica") -> list[str]:
        """What another replica knows otherwise, of which one thing after the other."""
        return [
            f"{' '.join(fact)}:\n{_difference(_text(self.facts.get(fact)), _text(truth.facts.get(fact)))}"
            for fact in sorted(self.facts.keys() | truth.facts.keys())
            if self.facts.get(fact) != truth.facts.get(fact)
        ]

    def _snapshot_begin(self, change: operator.SnapshotBegin) -> None:
        self.facts.clear()
        self.facts["flags",] = str(sorted(change.flags.items()))

    def _snapshot_end(self, _: operator.SnapshotEnd) -> None:
        self.complete = True

    def _flags_changed(self, change: operator.FlagsChanged) -> None:
        self.facts["flags",] = str(sorted(change.flags.items()))

    def _role_changed(self, change: operator.RoleChanged) -> None:
        if change.forgotten:
            self.facts.pop(("role", change.role), None)
        else:
            self.facts["role", change.role] = change

    def _agent_changed(self, change: operator.AgentChanged) -> None:
        agent_id = change.agent.agent_info.id.value
        self.facts["agent", agent_id] = change
        self.facts.pop(("agent that is gone", agent_id), None)

    def _agent_gone(self, change: operator.AgentGone) -> None:
        self.facts.pop(("agent", change.agent_id.value), None)
        if change.unreachable or change.gone:
            self.facts["agent that is gone", change.agent_id.value] = change
        else:
            self.facts.pop(("agent that is gone", change.agent_id.value), None)

    def _framework_changed(self, change: operator.FrameworkChanged) -> None:
        self.facts["framework", change.framework.framework_info.id.value] = change

    def _framework_forgotten(self, change: operator.FrameworkForgotten) -> None:
        framework_id = change.framework_id.value
        self.facts.pop(("framework", framework_id), None)
        for fact in [fact for fact in self.facts if fact[0] in ("task", "executor") and fact[1] == framework_id]:
            del self.facts[fact]

    def _task_added(self, change: operator.TaskAdded) -> None:
        task = change.task
        self._put_task(task.framework_id.value, task.agent_id.value, task.task_id.value, change)

    def _put_task(self, framework_id: str, agent_id: str, task_id: str, added: operator.TaskAdded) -> None:
        self.facts["task", framework_id, agent_id, task_id, _LIST.Name(added.list)] = added

    def _task_updated(self, change: operator.TaskUpdated) -> None:
        ids = (change.framework_id.value, change.agent_id.value, change.status.task_id.value)
        for name in ("TASK_LIST_ACTIVE", "TASK_LIST_UNREACHABLE", "TASK_LIST_COMPLETED"):
            known = self.facts.pop(("task", *ids, name), None)
            if isinstance(known, operator.TaskAdded):
                break
        else:
            return
        task = known.task
        task.state = change.latest.state
        if task.statuses and task.statuses[-1].state == change.status.state:
            del task.statuses[-1]
        task.statuses.append(change.status)
        task.statuses[-1].ClearField("data")
        if change.unacknowledged:
            task.status_update_state = change.status.state
            task.status_update_uuid = change.status.uuid
        known.list = change.list or known.list
        self._put_task(*ids, known)

    def _task_forgotten(self, change: operator.TaskForgotten) -> None:
        ids = (change.framework_id.value, change.agent_id.value, change.task_id.value)
        self.facts.pop(("task", *ids, _LIST.Name(change.list)), None)

    def _executor_added(self, change: operator.ExecutorAdded) -> None:
        info = change.executor_info
        self.facts["executor", info.framework_id.value, change.agent_id.value, info.executor_id.value] = change

    def _executor_removed(self, change: operator.ExecutorRemoved) -> None:
        ids = (change.framework_id.value, change.agent_id.value, change.executor_id.value)
        self.facts.pop(("executor", *ids), None)

    def _offer_added(self, change: operator.OfferAdded) -> None:
        self.facts["offer", change.offer.id.value] = change

    def _offer_removed(self, change: operator.OfferRemoved) -> None:
        self.facts.pop(("offer", change.offer_id.value), None)


def _difference(sent: str, true: str) -> str:
    return "\n".join(difflib.unified_diff(sent.splitlines(), true.splitlines(), "sent", "true", lineterm="", n=3))


def _text(known: Message | str | None) -> str:
    return "nothing" if known is None else str(known)
