"""What is planned for the machines that agents are on: which will be unavailable when, and which are down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from mezzo.cli.errors import ApiError
from mezzo.cli.output import moment

if TYPE_CHECKING:
    from mezzo.cli.api import Api

NANOSECONDS = 1e9


@dataclass(frozen=True, slots=True)
class Window:
    """When one machine is planned to be unavailable, in seconds since the epoch."""

    # A machine is named by host name, by IP address, or by both; what is not named is empty.
    hostname: str
    ip: str
    since: float
    until: float | None
    # Its agents have been told to end, and it is offered to nobody.
    down: bool

    def concerns(self, agent: Mapping[str, Any]) -> bool:
        """Whether an agent, as `/slaves` tells of it, is on the machine."""
        hostname, ip = str(agent["hostname"]).lower(), ip_of(str(agent.get("pid", "")))
        return self.hostname in ("", hostname) and self.ip in ("", ip)

    def document(self) -> dict[str, Any]:
        """As it is told to programs; `until` is left out where no end is planned."""
        told = {"state": "DOWN" if self.down else "DRAINING", "since": self.since}
        return told if self.until is None else {**told, "until": self.until}

    def text(self, now: float) -> str:
        """`in maintenance since … until …` for a machine that is down; for others, when it will be or should be."""
        since = "since" if self.down or self.since <= now else "from"
        until = f" until {moment(self.until)}" if self.until is not None else ""
        return f"{'in ' if self.down else ''}maintenance {since} {moment(self.since)}{until}"


def ip_of(pid: str) -> str:
    """The address in `slave(1)@10.0.0.7:5051`; empty where there is none."""
    return pid.rpartition("@")[2].rpartition(":")[0].strip("[]")


async def windows(api: Api, *, strict: bool = False) -> list[Window]:
    """All that is planned. Nothing, unless `strict`, where the gateway reaches no registry that could say."""
    try:
        planned = (await api.known("/maintenance/schedule")).get("windows", [])
        status = await api.known("/maintenance/status") if planned else {}
    except ApiError as error:
        if error.status == HTTPStatus.SERVICE_UNAVAILABLE and not strict:
            return []
        raise
    down = {_machine(one) for one in status.get("down_machines", [])}
    return [_window(machine, window["unavailability"], down) for window in planned for machine in window["machine_ids"]]


def window_of(agent: Mapping[str, Any], planned: Sequence[Window]) -> Window | None:
    """What comes first for the agent's machine."""
    return min((one for one in planned if one.concerns(agent)), key=lambda one: (not one.down, one.since), default=None)


def _window(machine: Mapping[str, str], unavailability: Mapping[str, Any], down: set[tuple[str, str]]) -> Window:
    since = unavailability["start"]["nanoseconds"] / NANOSECONDS
    until = since + unavailability["duration"]["nanoseconds"] / NANOSECONDS if "duration" in unavailability else None
    name = _machine(machine)
    return Window(*name, since, until, name in down)


def _machine(machine: Mapping[str, str]) -> tuple[str, str]:
    return machine.get("hostname", "").lower(), machine.get("ip", "")
