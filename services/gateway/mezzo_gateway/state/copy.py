"""The copy itself: which snapshot is shown, whether it is up to date, and the answers that were made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from mezzo.operator.v1.operator_pb2 import StateChange
from mezzo_gateway.state.cluster import Cluster, Fact
from mezzo_gateway.state.view import View

# Whole answers up to this size are kept until the state changes.
ANSWER_KEPT_BYTES_MAX = 8 << 20


@dataclass(slots=True)
class Applied:
    """What a batch of changes did: to the copy that is shown, and not to a snapshot that is still arriving."""

    # A whole new copy is shown: whoever followed the old one has to start again.
    replaced: bool = False
    facts: list[Fact] = field(default_factory=list)
    # Changes that could not be applied: what kind, and why. Also of a snapshot that is still arriving.
    dropped: list[tuple[str, Exception]] = field(default_factory=list)


class StateCopy:
    """A copy of the cluster's state as the leading registry tells it.

    A new snapshot is built aside and shown when it is complete; until then the last copy is shown, marked as stale.
    """

    def __init__(self) -> None:
        self.cluster: Cluster | None = None
        # When the registry's stream broke, in seconds since the epoch; None while the copy is up to date.
        self.stale_since: float | None = None
        # Grows with each change to what is shown.
        self.version = 0
        self._arriving: Cluster | None = None
        self._answers: dict[tuple[View, str], tuple[int, bytes]] = {}

    def apply(self, changes: Iterable[StateChange]) -> Applied:
        """Apply one batch, in order.

        A change that cannot be applied is dropped alone, and the stream goes on: each tells all of one agent,
        framework, task, … and what is missing or half-changed of that is made good by its next change or snapshot.
        Another snapshot is not asked for: the same change may be in it, and would be in the one after that.
        """
        applied = Applied()
        for change in changes:
            kind = change.WhichOneof("change")
            if kind == "snapshot_begin":
                self._arriving = Cluster(change.snapshot_begin)
            elif kind == "snapshot_end":
                self._show()
                applied = Applied(replaced=True, dropped=applied.dropped)
            else:
                self._apply_one(change, kind or "", applied)
        self.version += 1
        return applied

    def _apply_one(self, change: StateChange, kind: str, applied: Applied) -> None:
        target = self.cluster if self._arriving is None else self._arriving
        if target is None:
            return
        try:
            fact = target.apply(change)
        except Exception as error:  # noqa: BLE001  whatever one change raises, it is the matter of that change alone
            applied.dropped.append((kind, error))
            return
        if fact is not None and self._arriving is None:
            applied.facts.append(fact)

    def disconnected(self, now: float) -> None:
        """The stream broke: what is shown may be out of date from `now` on; half a snapshot is dropped."""
        self._arriving = None
        if self.stale_since is None:
            self.stale_since = now

    def cached(self, view: View, name: str, make: Callable[[Cluster], bytes]) -> bytes:
        """The answer `name` for a view of the copy that is shown: made by `make`, anew only if something has changed.

        Raises LookupError before the first snapshot.
        """
        if self.cluster is None:
            raise LookupError("no snapshot has arrived yet")
        version, answer = self._answers.get((view, name), (-1, b""))
        if version != self.version:
            answer = make(self.cluster)
            self._answers.pop((view, name), None)
            if len(answer) <= ANSWER_KEPT_BYTES_MAX:
                self._answers[view, name] = (self.version, answer)
        return answer

    def _show(self) -> None:
        if self._arriving is not None:
            self.cluster, self._arriving = self._arriving, None
            self.stale_since = None
