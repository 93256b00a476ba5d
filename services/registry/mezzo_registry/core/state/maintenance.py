"""Planned maintenance: which machines will be unavailable, when, and which are down.

A machine is named by host name and IP address, or by one of them, which then suffices. Several agents may be on it.
And one may be named in several of these ways: it is then unavailable as soon as the first of its windows opens, and
down as long as it is down by one of its names.
"""

import ipaddress
from collections.abc import Iterable, Iterator

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.maintenance import maintenance_pb2 as maintenance

Machine = tuple[str, str]
"""Host name in lower case and IP address in its shortest form; what was left out is empty."""


def machine(machine_id: mesos.MachineID) -> Machine:
    """A machine as it is compared."""
    return machine_id.hostname.lower(), _shortest(machine_id.ip)


def _shortest(ip: str) -> str:
    """An address of IPv6 can be written in many ways. What is no address stays as it is."""
    try:
        return str(ipaddress.ip_address(ip))
    except ValueError:
        return ip


def text(one: Machine) -> str:
    """A machine, for people."""
    hostname, ip = one
    return f"{hostname} ({ip})" if hostname and ip else hostname or ip


def address_of(pid: str) -> str:
    """The IP address in an agent's `slave(1)@10.0.0.7:5051`; empty where there is none."""
    return _shortest(pid.rpartition("@")[2].rpartition(":")[0].strip("[]"))


class Plan:
    """All that is planned. Immutable; a machine that is scheduled is draining until it is down."""

    def __init__(self, schedule: maintenance.Schedule | None = None, down: Iterable[Machine] = ()) -> None:
        self._schedule = maintenance.Schedule()
        if schedule is not None:
            self._schedule.CopyFrom(schedule)
        self._unavailable = {
            machine(one): window.unavailability for window in self._schedule.windows for one in window.machine_ids
        }
        self.down = frozenset(down)

    def __bool__(self) -> bool:
        """Whether anything is planned."""
        return bool(self._unavailable)

    def schedule(self) -> maintenance.Schedule:
        """As it was posted, less the machines that are in service again."""
        copied = maintenance.Schedule()
        copied.CopyFrom(self._schedule)
        return copied

    def machines(self) -> Iterator[mesos.MachineID]:
        """The machines in the schedule."""
        for window in self._schedule.windows:
            yield from window.machine_ids

    def has(self, one: Machine) -> bool:
        """Whether the schedule names a machine just so."""
        return one in self._unavailable

    def machines_of(self, hostname: str, pid: str) -> list[Machine]:
        """The names in the schedule of the machine that an agent is on, the most exact one first."""
        if not self._unavailable:
            return []
        hostname, ip = hostname.lower(), address_of(pid)
        return [one for one in ((hostname, ip), (hostname, ""), ("", ip)) if one in self._unavailable]

    def unavailability(self, hostname: str, pid: str) -> mesos.Unavailability | None:
        """When an agent is planned to be unavailable: for the first time, where that is more than once."""
        windows = [self._unavailable[one] for one in self.machines_of(hostname, pid)]
        return min(windows, key=lambda window: window.start.nanoseconds, default=None)

    def is_down(self, hostname: str, pid: str) -> bool:
        """Whether an agent's machine is out of service."""
        return bool(self.down) and not self.down.isdisjoint(self.machines_of(hostname, pid))

    def rescheduled(self, schedule: maintenance.Schedule) -> "Plan":
        """With another schedule."""
        return Plan(schedule, self.down)

    def with_down(self, machines: Iterable[Machine]) -> "Plan":
        """With machines out of service."""
        return Plan(self._schedule, self.down.union(machines))

    def without(self, machines: Iterable[Machine]) -> "Plan":
        """With machines in service again: they leave the schedule."""
        gone = frozenset(machines)
        schedule = maintenance.Schedule()
        for window in self._schedule.windows:
            left = [one for one in window.machine_ids if machine(one) not in gone]
            if left:
                schedule.windows.add(machine_ids=left).unavailability.CopyFrom(window.unavailability)
        return Plan(schedule, self.down - gone)
