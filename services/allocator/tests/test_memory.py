"""How much memory the state of a large cluster may take, beside the bits of the filters."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator

import pytest

from mesos.v1 import mesos_pb2 as mesos
from mezzo import attributes
from mezzo.allocator.v1 import allocator_pb2 as wire
from mezzo.resources import parse
from mezzo_allocator.adapters.translation import Translator
from mezzo_allocator.core import events as ev
from mezzo_allocator.core.allocator import Allocator

FRAMEWORKS, AGENTS = 500, 3_000
FRAMEWORK_BYTES_MAX, AGENT_BYTES_MAX = 1024, 2048


@pytest.fixture
def traced() -> Iterator[None]:
    gc.collect()
    tracemalloc.start()
    yield
    tracemalloc.stop()


def bytes_traced() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def bits(core: Allocator) -> int:
    return core.state.filters.bits.nbytes + core.state.eligibility.denied.nbytes


def test_agents_and_frameworks_take_little_memory(traced: None) -> None:
    core, translator = Allocator(), Translator()

    def handle(message: wire.RegistryMessage) -> None:
        event = translator.event(wire.RegistryMessage.FromString(message.SerializeToString()))
        assert event is not None
        core.handle(event, now=0.0)

    core.handle(ev.SessionBegun("r"), now=0.0)
    before, bits_before = bytes_traced(), bits(core)
    for number in range(FRAMEWORKS):
        info = mesos.FrameworkInfo(user="nobody", name=f"framework {number}", role="eng")
        info.id.value = f"5b8a6e54-7f4c-4d54-8d8b-3f2a1f3c0b11-{number:04d}"
        update = wire.FrameworkUpdate(framework=number, framework_info=info, active=True)
        handle(wire.RegistryMessage(framework_update=update))
    with_frameworks, bits_between = bytes_traced(), bits(core)
    total = parse("cpus:24;mem:4096;disk:4096;ports:[31000-32000]").messages()
    described = attributes.parse("rack:r1;os:linux")
    for number in range(AGENTS):
        agent = mesos.AgentInfo(hostname=f"host{number}.example.org", attributes=described, resources=total)
        agent.id.value = f"5b8a6e54-7f4c-4d54-8d8b-3f2a1f3c0b11-S{number}"
        changed = wire.AgentUpdate(agent=number, agent_info=agent, total=total, active=True)
        handle(wire.RegistryMessage(agent_update=changed))
    with_agents, bits_after = bytes_traced(), bits(core)
    assert (with_frameworks - before - (bits_between - bits_before)) / FRAMEWORKS < FRAMEWORK_BYTES_MAX
    assert (with_agents - with_frameworks - (bits_after - bits_between)) / AGENTS < AGENT_BYTES_MAX


def test_no_message_is_kept_of_an_agent() -> None:
    """A part of a message keeps the whole request alive that it came in."""
    core, info = Allocator(), mesos.AgentInfo(hostname="a", resources=parse("cpus:1").messages())
    info.id.value = "S1"
    core.handle(ev.SessionBegun("r"), now=0.0)
    core.handle(ev.AgentChanged(1, info, parse("cpus:1"), (), True), now=0.0)
    agent = core.state.agents.by_number[1]
    assert not [slot for slot in agent.__slots__ if isinstance(getattr(agent, slot), mesos.AgentInfo)]
    assert agent.info() == mesos.AgentInfo(hostname="a")
