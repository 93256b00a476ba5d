"""What health checks are told of a service that stands for election."""

from __future__ import annotations

import asyncio

from mezzo_chassis.leadership.candidate import Candidate, Session
from mezzo_chassis.rpc import Server


class Health:
    """Healthy while it leads or stands by; without a session or a node it does neither.

    Nor does a leader lead that is hindered: one whose own work, of which elections know nothing, has failed.
    """

    def __init__(self, candidate: Candidate, server: Server) -> None:
        self._candidate = candidate
        self._server = server
        self._hindered = False
        self._reporting = asyncio.Lock()

    async def follow(self) -> None:
        """Tell it, until cancelled."""
        async for _ in self._candidate.changes():
            await self._report()

    async def hinder(self, hindered: bool) -> None:
        """Tell whether something keeps this one from leading where it is elected."""
        self._hindered = hindered
        await self._report()

    async def _report(self) -> None:
        async with self._reporting:
            leadership = self._candidate.leadership
            stands = leadership.session is Session.CONNECTED and leadership.standing
            leads_alone = leadership.session is Session.NONE and leadership.leading
            hindered = leadership.leading and self._hindered
            await self._server.set_serving((stands or leads_alone) and not hindered)
