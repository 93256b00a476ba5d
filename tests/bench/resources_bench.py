"""How fast resources are reckoned with: `python -m tests.bench.resources_bench`.

The shapes are those of Mesos' own benchmarks of its `Resources`: a vector of scalars, a thousand reservations that are
all different, ports in many pieces, a shared volume. Nobody published figures for them.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from mesos.v1 import mesos_pb2 as mesos
from mezzo.resources import Reservation, Resources, parse
from tests.bench.row import Row

SCALARS = parse("cpus:1;gpus:1;mem:128;disk:256")
UNPUBLISHED = "–"


def fragmented(end: int, step: int) -> Resources:
    """Every `step`-th port up to `end`, so that no two of them touch."""
    return parse("ports:[" + ",".join(f"{port}-{port}" for port in range(1, end, step)) + "]")


def shared_volume() -> Resources:
    (volume,) = parse("disk(test):256").messages()
    volume.disk.persistence.id = "volume"
    volume.disk.volume.container_path = "volume"
    volume.disk.volume.mode = mesos.Volume.RW
    volume.shared.SetInParent()
    return Resources.of([volume])


def reservations(count: int) -> Resources:
    """A vector of scalars, reserved for as many roles."""
    return Resources.sum(
        SCALARS.push_reservation(Reservation(f"role{number}", dynamic=True, principal=f"principal{number}"))
        for number in range(count)
    )


def row(what: str, times: int, operation: Callable[[], object]) -> Row:
    """Runs an operation so often, and tells how long one takes."""
    started = time.perf_counter()
    for _ in range(times):
        operation()
    microseconds = (time.perf_counter() - started) / times * 1e6
    return Row("resources", what, UNPUBLISHED, f"{microseconds:,.1f} µs")


def arithmetic() -> list[Row]:
    """Adding what is held to itself, and taking it away."""
    rows = []
    for name, held, times in (
        ("four scalars", SCALARS, 50_000),
        ("1,000 reservations of four scalars", reservations(1_000), 100),
        ("ports in 333 pieces", fragmented(1_000, 3), 1_000),
        ("two scalars and a shared volume", parse("cpus:1;mem:128") + shared_volume(), 50_000),
    ):
        twice = held + held
        rows.append(row(f"{name}: added", times, lambda held=held: held + held))  # type: ignore[misc]
        rows.append(row(f"{name}: taken away", times, lambda held=held, twice=twice: twice - held))  # type: ignore[misc]
    return rows


def overlapping_ranges() -> list[Row]:
    """Ports in many pieces that overlap with others in many pieces."""
    odd, third = fragmented(16_000, 2), fragmented(16_000, 3)
    return [
        row("8,000 pieces of ports and 5,333 others: added", 20, lambda: odd + third),
        row("8,000 pieces of ports, less 5,333 others", 20, lambda: odd.minus_what_is_there(third)),
    ]


def filters() -> list[Row]:
    """The usual selections of a vector of scalars."""
    reserved = SCALARS.flatten(Reservation("role"))
    (lent,) = parse("cpus:1").messages()
    lent.revocable.SetInParent()
    revocable = Resources.of([lent])
    return [
        row("what is not revocable of four scalars", 50_000, SCALARS.nonrevocable),
        row("what is revocable of one", 50_000, revocable.revocable),
        row("what is unreserved of four scalars", 50_000, SCALARS.unreserved),
        row("what is reserved for a role of four scalars", 50_000, lambda: reserved.reserved("role")),
    ]


def contains() -> list[Row]:
    """Whether more contains less, and the other way round."""
    few, pieces, ports = parse("cpus:1;mem:128"), fragmented(16_000, 2), parse("ports:[1-16000]")
    return [
        row("four scalars contain two", 50_000, lambda: SCALARS.contains(few)),
        row("two scalars do not contain four", 50_000, lambda: few.contains(SCALARS)),
        row("16,000 ports contain 8,000 pieces", 200, lambda: ports.contains(pieces)),
        row("8,000 pieces contain themselves", 200, lambda: pieces.contains(pieces)),
        row("8,000 pieces do not contain 16,000 ports", 200, lambda: pieces.contains(ports)),
    ]


def parsing() -> list[Row]:
    """A hundred resources as text."""
    text = ";".join(f"res{number}:{number}" for number in range(100))
    return [row("a hundred resources read from text", 1_000, lambda: parse(text))]


def run() -> list[Row]:
    """All rows."""
    return [each for measure in (arithmetic, overlapping_ranges, filters, contains, parsing) for each in measure()]


if __name__ == "__main__":
    for each in run():
        print(f"{each.what:50} {each.ours:>14}")
