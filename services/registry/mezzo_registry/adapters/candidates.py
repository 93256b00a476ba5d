"""Which registries and allocators there are: those that stand for election, or the only ones without ZooKeeper."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NoNodeError

from mezzo.errors import Unavailable
from mezzo.operator.v1 import operator_pb2 as operator
from mezzo_chassis.leadership import (
    ALLOCATORS_FOLDER,
    Candidate,
    Contender,
    LeaderDetector,
    LeaderInfo,
    Session,
    ZooKeeperUrl,
)
from mezzo_chassis.leadership.candidate import in_order
from mezzo_chassis.leadership.zookeeper import call

LABEL = "json.info"
ANSWER_SECONDS_MAX = 5.0
MILLISECONDS = 1e3


@dataclass(frozen=True, slots=True)
class _Election:
    candidate: Candidate
    zk: ZooKeeperUrl | None
    address: str
    allocators: LeaderDetector


class Candidates:
    """Lists them when asked: it keeps nothing, so that nothing of it is old."""

    def __init__(self) -> None:
        self._election: _Election | None = None

    def follow(self, candidate: Candidate, zk: ZooKeeperUrl | None, address: str, allocators: LeaderDetector) -> None:
        """Record how this registry stands for election, its own address, and how it finds the allocator."""
        self._election = _Election(candidate, zk, address, allocators)

    async def list(self) -> list[operator.Member]:
        """Return registries and allocators, those that lead first.

        Raises:
            Unavailable: ZooKeeper does not answer.
        """
        election = self._election
        if election is None:
            return []
        if election.zk is None or not isinstance(election.candidate, Contender):
            return _alone(election)
        if election.candidate.leadership.session is not Session.CONNECTED:
            raise Unavailable("ZooKeeper does not answer")
        client = election.candidate.client
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                registries = await _standing(client, election.zk, operator.SERVICE_REGISTRY)
                below = election.zk.below(ALLOCATORS_FOLDER)
                return registries + await _standing(client, below, operator.SERVICE_ALLOCATOR)
        except (KazooException, TimeoutError) as error:
            raise Unavailable(f"ZooKeeper does not answer: {error!r}") from None


def _alone(election: _Election) -> list[operator.Member]:
    """Without ZooKeeper each is the only one of its kind."""
    leader = election.allocators.leader
    found = [_member(operator.SERVICE_REGISTRY, election.address, operator.STANDING_LEADING)]
    if leader is not None:
        found.append(_member(operator.SERVICE_ALLOCATOR, leader.grpc_address, operator.STANDING_LEADING))
    return found


def _member(
    service: operator.Service.ValueType, address: str, standing: operator.Standing.ValueType
) -> operator.Member:
    return operator.Member(service=service, address=address, standing=standing)


async def _standing(
    client: KazooClient, url: ZooKeeperUrl, service: operator.Service.ValueType
) -> list[operator.Member]:
    """Those that stand for election there, in the order in which they lead."""
    try:
        children: Iterable[str] = await call(client.get_children_async, url.path)
    except NoNodeError:
        return []
    members: list[operator.Member] = []
    for node in in_order(children, LABEL):
        try:
            payload, stat = await call(client.get_async, f"{url.path}/{node}")
        except NoNodeError:
            continue
        info = LeaderInfo.parse(payload)
        if info is None:
            continue
        standing = operator.STANDING_STANDBY if members else operator.STANDING_LEADING
        member = _member(service, info.grpc_address, standing)
        member.since = stat.ctime / MILLISECONDS
        members.append(member)
    return members
