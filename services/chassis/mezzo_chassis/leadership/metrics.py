"""Leadership in numbers: who leads, how often that changed, and how the session with ZooKeeper is doing."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from mezzo_chassis.leadership.candidate import Candidate, Session


class LeadershipMetrics:
    """The metrics of one candidate."""

    def __init__(self, registry: CollectorRegistry, service: str) -> None:
        prefix = f"mezzo_{service}"
        self._leading = Gauge(f"{prefix}_leading", f"1 while this {service} leads.", registry=registry)
        self._changes = Counter(
            f"{prefix}_leadership_changes_total",
            f"How often this {service} became the leader, or ceased to be it.",
            registry=registry,
        )
        self._session = Gauge(
            f"{prefix}_zookeeper_session",
            "1 for the state in which the session with ZooKeeper is: none, connected, suspended or lost.",
            ["state"],
            registry=registry,
        )
        self._show(Session.NONE)

    async def follow(self, candidate: Candidate) -> None:
        """Measure until cancelled."""
        led = False
        async for leadership in candidate.changes():
            self._show(leadership.session)
            self._leading.set(leadership.leading)
            if leadership.leading != led:
                led = leadership.leading
                self._changes.inc()

    def _show(self, session: Session) -> None:
        for state in Session:
            self._session.labels(state.value).set(state is session)
