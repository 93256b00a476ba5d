"""What operators plan of maintenance."""

import ipaddress
from collections.abc import Sequence

from mesos.v1 import mesos_pb2 as mesos
from mesos.v1.maintenance import maintenance_pb2 as maintenance
from mezzo.errors import InvalidRequest
from mezzo_registry.core.state.maintenance import Machine, Plan, machine, text


def check_schedule(schedule: maintenance.Schedule, plan: Plan, field: str) -> None:
    """Refuse an invalid schedule, or one that leaves out a machine that is down.

    Raises:
        InvalidRequest: with the first field that is wrong.
    """
    seen: set[Machine] = set()
    for index, window in enumerate(schedule.windows):
        where = f"{field}.windows[{index}]"
        if not window.machine_ids:
            raise InvalidRequest(f"{where}.machine_ids", "must not be empty")
        if window.unavailability.duration.nanoseconds < 0:
            raise InvalidRequest(f"{where}.unavailability.duration.nanoseconds", "must not be negative")
        for number, one in enumerate(window.machine_ids):
            _check_machine(one, seen, f"{where}.machine_ids[{number}]")
    for one_down in sorted(plan.down - seen):
        raise InvalidRequest(
            field, f"machine {text(one_down)} is down; stop its maintenance before it leaves the schedule"
        )


def check_machines(machines: Sequence[mesos.MachineID], plan: Plan, field: str) -> list[Machine]:
    """Refuse a list of machines that are not scheduled. Returns them as they are compared.

    Raises:
        InvalidRequest: it is empty, names a machine twice, or one that is not in the schedule.
    """
    if not machines:
        raise InvalidRequest(field, "must not be empty")
    seen: set[Machine] = set()
    for index, one in enumerate(machines):
        _check_machine(one, seen, f"{field}[{index}]")
        if not plan.has(machine(one)):
            raise InvalidRequest(f"{field}[{index}]", f"machine {text(machine(one))} is not in the schedule")
    return [machine(one) for one in machines]


def _check_machine(one: mesos.MachineID, seen: set[Machine], field: str) -> None:
    if not one.hostname and not one.ip:
        raise InvalidRequest(field, "a hostname or an ip is required")
    if one.ip:
        try:
            ipaddress.ip_address(one.ip)
        except ValueError:
            raise InvalidRequest(f"{field}.ip", f"'{one.ip}' is not an IP address") from None
    if machine(one) in seen:
        raise InvalidRequest(field, f"machine {text(machine(one))} is named twice")
    seen.add(machine(one))
