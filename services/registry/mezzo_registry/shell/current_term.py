"""Who leads: this process for a term, another process, or nobody that is known."""

from collections.abc import Mapping

from mezzo.errors import NotLeading
from mezzo_registry.core.state.offer_ages import OfferAges
from mezzo_registry.shell.term import Term


class CurrentTerm:
    """The term that this process leads, if it does: where servicers find it, or learn who leads instead."""

    def __init__(self) -> None:
        self._term: Term | None = None
        self.leader: str | None = None
        """The "host:port" of the gRPC server of whoever leads, when it is not this process."""

    def set(self, term: Term) -> None:
        """Record that this process leads."""
        self._term = term
        self.leader = None

    def clear(self) -> None:
        """Record that this process leads no longer."""
        self._term = None

    @property
    def leads(self) -> bool:
        """Whether this process leads."""
        return self._term is not None

    def get(self) -> Term:
        """Return the running term.

        Raises:
            NotLeading: none does; with the leader's address, when it is known.
        """
        if self._term is None:
            raise NotLeading(self.leader)
        return self._term

    def offer_ages(self) -> Mapping[str, OfferAges]:
        """Return the ages of offers when they ended; nothing when nobody leads here."""
        return self._term.core.offer_ages if self._term is not None else {}

    def oldest_offer_seconds(self) -> float:
        """Return the age of the oldest outstanding offer; 0 when there is none, or nobody leads here."""
        return self._term.oldest_offer_seconds() if self._term is not None else 0.0

    def measures(self) -> dict[str, float]:
        """Return the metrics of the core that leads here; nothing when none does."""
        return self._term.measure() if self._term is not None else {}
