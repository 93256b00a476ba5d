"""The leader's node in ZooKeeper, by which clients know who leads."""

from kazoo.exceptions import KazooException

from mesos.v1 import mesos_pb2 as mesos
from mezzo_chassis.leadership import Candidate, Contender, Leadership, master_info_json
from mezzo_chassis.leadership.zookeeper import call
from mezzo_registry.ports import StoreError


class LeaderNode:
    """Names the term in the node. The candidate makes every node as it stood first: with the id of the first term."""

    def __init__(self, candidate: Candidate, first_id: str, address: str) -> None:
        self._candidate = candidate
        self._first_id = first_id
        self._address = address

    async def announce(self, info: mesos.MasterInfo, leadership: Leadership) -> None:
        """Write the term of `info` into the node. Without ZooKeeper there is none.

        Raises:
            StoreError: ZooKeeper does not take it.
        """
        candidate = self._candidate
        if not isinstance(candidate, Contender) or leadership.epoch is None or info.id == self._first_id:
            return
        try:
            await call(candidate.client.set_async, leadership.epoch.path, master_info_json(info, self._address))
        except KazooException as error:
            raise StoreError(f"ZooKeeper: {error!r}") from error
