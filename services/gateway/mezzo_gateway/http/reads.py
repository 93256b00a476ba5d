"""Reading the state copy: what is shown of it, to whom, how old it is, and the answers that were made of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from itertools import chain

from aiohttp import web

from mezzo.errors import NotLeading
from mezzo_chassis.http.exchange import json_bytes_response
from mezzo_chassis.http.principals import principal_name
from mezzo_gateway.adapters.registry import Registry
from mezzo_gateway.state.cluster import Cluster
from mezzo_gateway.state.view import view_of

# Set on answers made from a copy that no registry keeps up to date: since when, in seconds since the epoch.
STALE_HEADER = "Mezzo-Stale"

# Tasks and agents rendered without a break: some milliseconds, after which others have their turn.
STEPS_PER_SLICE = 250


class Reads:
    """The state copy, as endpoints read it."""

    def __init__(self, registry: Registry, own_flags: Mapping[str, str]) -> None:
        """`own_flags`: of this gateway's flags those that are the master's in Mesos."""
        self._registry = registry
        self._own_flags = own_flags

    def cluster(self) -> Cluster:
        """What is known. Raises NotLeading before the first snapshot."""
        if self._registry.copy.cluster is None:
            raise NotLeading(self._registry.http_address)
        return self._registry.copy.cluster

    def flags(self) -> dict[str, str]:
        """What Mesos' master would tell of its flags: the registry's, the allocator's, and some of this gateway's.

        Raises NotLeading before the first snapshot.
        """
        return {**self.cluster().flags, **self._own_flags}

    def headers(self) -> dict[str, str]:
        """What an answer that is made of the copy says about its age."""
        stale_since = self._registry.copy.stale_since
        return {} if stale_since is None else {STALE_HEADER: f"{stale_since:.3f}"}

    async def render(self, *rendering: Callable[[Cluster], Iterator[None]]) -> None:
        """Make the JSON of what has changed, in slices between other work."""
        cluster = None
        while cluster is not self.cluster():
            cluster = self.cluster()
            for step, _ in enumerate(chain.from_iterable(make(cluster) for make in rendering), 1):
                if step % STEPS_PER_SLICE == 0:
                    await asyncio.sleep(0)

    def cached(self, name: str, make: Callable[[Cluster], bytes]) -> bytes:
        """An answer that is made of the copy alone, for whoever asks. Raises NotLeading before the first snapshot."""
        self.cluster()
        return self._registry.copy.cached(view_of(principal_name()), name, make)

    def json(self, request: web.Request, body: bytes) -> web.Response:
        """An answer that is made of the copy and encoded already."""
        response = json_bytes_response(request, body)
        response.headers.update(self.headers())
        return response
