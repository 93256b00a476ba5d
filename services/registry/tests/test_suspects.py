"""What is kept of peers' own words, before anything of them has been checked."""

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.master import master_pb2 as master
from mesos.v1.scheduler import scheduler_pb2 as scheduler
from mezzo.agent.v1 import agent_session_pb2 as agent_session
from mezzo.scheduler.v1 import scheduler_pb2 as service
from mezzo_registry.core import events
from mezzo_registry.rpc.schedulers import Schedulers
from mezzo_registry.shell.current_term import CurrentTerm
from mezzo_registry.shell.suspects import NAME_CHARACTERS_MAX, Peers

LONG = "x" * 100_000
SUBSCRIBE = scheduler.Call(type=scheduler.Call.SUBSCRIBE)
SUBSCRIBE.subscribe.framework_info.name = LONG
REGISTER = agent_session.Register(pid=LONG)
REGISTER.agent_info.id.value = LONG


@pytest.mark.parametrize(
    "event",
    [
        events.AgentRegistering(1, REGISTER),
        events.AgentStored(1, LONG, REGISTER),
        events.FrameworkSubscribing(1, "stream", SUBSCRIBE),
        events.FrameworkCalled(1, "stream", SUBSCRIBE),
        events.OperatorCalled(
            1, master.Call(update_weights=master.Call.UpdateWeights(weight_infos=[mesos.WeightInfo()]))
        ),
        events.OperatorKilledTask(1, LONG, LONG),
    ],
    ids=lambda event: type(event).__name__,
)
@pytest.mark.parametrize("known", [False, True], ids=["stranger", "known"])
def test_names_are_short_whatever_a_peer_says(event: events.Event, known: bool) -> None:
    peers = Peers()
    if known:
        peers.agent_came(1, REGISTER)
        peers.agent_registered(1, LONG)
        peers.framework_came("stream", SUBSCRIBE)
        peers.framework_subscribed("stream", LONG)
    suspect = peers.suspect_of(event)
    assert suspect.peer
    assert all(len(each) <= NAME_CHARACTERS_MAX for each in (suspect.peer, suspect.subject, *suspect.aliases))


async def test_a_caller_cannot_have_a_text_of_any_length_kept_as_its_correlation_id() -> None:
    called: list[events.FrameworkCalled] = []

    class Term:
        def number(self) -> int:
            return 1

        async def admit_all(self, calls: list[events.FrameworkCalled]) -> dict[int, Exception]:
            called.extend(calls)
            return {}

    current_term = CurrentTerm()
    current_term.set(Term())  # type: ignore[arg-type]
    calls = [service.NumberedCall(number=1, correlation_id=LONG), service.NumberedCall(number=2, correlation_id="id-2")]
    async for _ in Schedulers(current_term).CallStream(_requests(calls), None):
        pass
    assert [each.correlation_id for each in called] == ["", "id-2"]


async def _requests(calls: list[service.NumberedCall]):  # type: ignore[no-untyped-def]
    yield service.CallStreamRequest(calls=calls)
