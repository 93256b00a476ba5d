"""The decisions of a candidate, without ZooKeeper: what it may believe of itself, and when."""

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mezzo_chassis.leadership import Epoch, Leadership, Session, StandaloneCandidate
from mezzo_chassis.leadership.candidate import Standing, lowest
from mezzo_chassis.leadership.latest_value import LatestValue

A, B, C = "json.info_0000000001", "json.info_0000000002", "json.info_0000000003"


def connected() -> Standing:
    standing = Standing("json.info", "/mezzo")
    standing.session_changed(Session.CONNECTED)
    return standing


def standing_with(node: str) -> Standing:
    standing = connected()
    standing.node_made(node, standing.generation)
    return standing


def test_a_node_is_wanted_only_while_connected_and_without_one() -> None:
    standing = Standing("json.info", "/mezzo")
    assert not standing.needs_node
    standing.session_changed(Session.CONNECTED)
    assert standing.needs_node
    standing.node_made(A, standing.generation)
    assert not standing.needs_node
    standing.session_changed(Session.SUSPENDED)
    assert not standing.needs_node
    standing.session_changed(Session.LOST)
    assert not standing.needs_node
    standing.session_changed(Session.CONNECTED)
    assert standing.needs_node


def test_the_lowest_leads_under_an_epoch_that_names_its_node() -> None:
    standing = standing_with(B)
    assert standing.children_seen([A, B]) == Leadership(Session.CONNECTED, None, standing=True)
    leading = Leadership(Session.CONNECTED, Epoch(f"/mezzo/{B}", 2), standing=True)
    assert standing.children_seen([C, B]) == leading


def test_a_suspended_leader_goes_on_leading_without_writing_under_the_same_epoch() -> None:
    standing = standing_with(A)
    leading = standing.children_seen([A])
    suspended = standing.session_changed(Session.SUSPENDED)
    assert (suspended.leading, suspended.may_write) == (True, False)
    resumed = standing.session_changed(Session.CONNECTED)
    assert resumed == leading
    assert resumed.may_write


def test_what_was_seen_before_the_connection_went_makes_nobody_a_leader() -> None:
    standing = standing_with(B)
    standing.children_seen([A, B])
    standing.session_changed(Session.SUSPENDED)
    assert not standing.children_seen([B]).leading
    standing.session_changed(Session.CONNECTED)
    assert standing.children_seen([B]).leading


def test_a_lost_session_takes_the_node_with_it_even_while_it_is_still_there() -> None:
    standing = standing_with(A)
    standing.children_seen([A])
    assert not standing.session_changed(Session.LOST).leading
    standing.session_changed(Session.CONNECTED)
    assert not standing.children_seen([A]).leading
    standing.node_made(B, standing.generation)
    assert not standing.children_seen([A, B]).leading
    assert standing.children_seen([B]).epoch == Epoch(f"/mezzo/{B}", 2)


def test_a_node_that_was_asked_for_in_an_earlier_session_is_not_ones_own() -> None:
    standing = connected()
    asked_in = standing.generation
    standing.session_changed(Session.LOST)
    standing.session_changed(Session.CONNECTED)
    standing.node_made(A, asked_in)
    assert standing.needs_node
    assert not standing.children_seen([A]).leading


def test_whoever_removes_a_leaders_node_ends_its_term() -> None:
    standing = standing_with(A)
    standing.children_seen([A])
    assert not standing.children_seen([B]).leading
    assert standing.needs_node


@pytest.mark.parametrize(
    ("children", "leads"),
    [
        ([], None),
        ([C, A, B], A),
        (["mezzo_allocators", "store", "log_replicas", B], B),
        (
            [
                "json.info_1",
                "json.info_²²²²²²²²²²",
                "json.info_00000000000",
                "info_0000000000",
                "xjson.info_0000000000",
            ],
            None,
        ),
        (["json_info_0000000000"], None),
    ],
)
def test_only_numbered_nodes_of_the_election_can_lead(children: list[str], leads: str | None) -> None:
    assert lowest(children, "json.info") == leads


@dataclass
class Server:
    """What a ZooKeeper knows: which nodes there are, and which of them belong to the candidate's living session."""

    nodes: dict[str, int] = field(default_factory=dict)
    made: int = 0

    def make(self, owner: int) -> str:
        self.made += 1
        node = f"json.info_{self.made:010}"
        self.nodes[node] = owner
        return node


OF_THE_SESSION = ["connect", "suspend", "lose"]
OF_THE_CANDIDATE = ["make", "make and hear late", "hear", "look", "look and hear late", "hear look"]
OF_OTHERS = ["another", "the first goes", "old sessions' nodes go", "somebody removes it"]
ACTIONS = st.sampled_from([*OF_THE_SESSION, *OF_THE_CANDIDATE, *OF_OTHERS])
ANOTHER = -1


@given(st.lists(ACTIONS, max_size=60))
def test_a_leader_always_has_the_lowest_node_that_it_saw_and_owns_it(actions: list[str]) -> None:
    """A model of ZooKeeper, in which answers come late and sessions end between question and answer."""
    standing, server = Standing("json.info", "/mezzo"), Server()
    session, alive = 0, False
    late_nodes: list[tuple[str, int]] = []
    late_looks: list[list[str]] = []
    for action in actions:
        match action:
            case "connect" if not alive:
                alive = True
                standing.session_changed(Session.CONNECTED)
            case "suspend" if alive:
                alive = False
                standing.session_changed(Session.SUSPENDED)
            case "lose" if not alive:
                session += 1
                standing.session_changed(Session.LOST)
            case "make" if alive and standing.needs_node:
                standing.node_made(server.make(session), standing.generation)
            case "make and hear late" if alive and standing.needs_node:
                late_nodes.append((server.make(session), standing.generation))
            case "hear" if late_nodes:
                standing.node_made(*late_nodes.pop(0))
            case "look" if alive:
                standing.children_seen(list(server.nodes))
            case "look and hear late" if alive:
                late_looks.append(list(server.nodes))
            case "hear look" if late_looks:
                standing.children_seen(late_looks.pop(0))
            case "another":
                server.make(ANOTHER)
            case "the first goes":
                server.nodes = dict(list(server.nodes.items())[1:])
            case "old sessions' nodes go":
                server.nodes = {node: owner for node, owner in server.nodes.items() if owner in (session, ANOTHER)}
            case "somebody removes it":
                server.nodes.pop(standing.node or "", None)
        now = standing._leadership()
        if now.epoch is not None:
            assert now.epoch.path == f"/mezzo/{standing.node}"
            assert now.session in (Session.CONNECTED, Session.SUSPENDED)
        if now.may_write:
            assert now.session is Session.CONNECTED
            # Its own, or gone: what is gone fails the check that every write carries.
            assert server.nodes.get(standing.node or "", session) == session


async def test_without_zookeeper_a_candidate_leads_from_start_to_end() -> None:
    candidate = StandaloneCandidate()
    changes = candidate.changes()
    assert not (await anext(changes)).leading
    await candidate.start()
    leading = await anext(changes)
    assert (leading.leading, leading.may_write) == (True, True)
    await candidate.close()
    assert not (await anext(changes)).leading


async def test_every_reader_sees_the_last_value_and_a_failure() -> None:
    latest = LatestValue(0)
    readers = [aiter(latest), aiter(latest)]
    assert [await anext(reader) for reader in readers] == [0, 0]
    latest.set(1)
    latest.set(2)
    assert [await anext(reader) for reader in readers] == [2, 2]
    waiting = [asyncio.ensure_future(anext(reader)) for reader in readers]
    await asyncio.sleep(0)
    latest.fail(ValueError("a defect"))
    for each in waiting:
        with pytest.raises(ValueError, match="a defect"):
            await each
    with pytest.raises(ValueError, match="a defect"):
        await anext(aiter(latest))
