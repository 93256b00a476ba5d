"""What health checks are told of a service that stands for election."""

from __future__ import annotations

from mezzo_chassis.leadership.candidate import Candidate, Session
from mezzo_chassis.rpc import Server


async def announce(candidate: Candidate, server: Server) -> None:
    """Healthy while it leads or stands by; without a session or a node it does neither. Until cancelled."""
    async for leadership in candidate.changes():
        stands = leadership.session is Session.CONNECTED and leadership.standing
        leads_alone = leadership.session is Session.NONE and leadership.leading
        await server.set_serving(stands or leads_alone)
