"""What is wrong with resources as somebody sends them, beyond what no algebra could reckon with."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from mesos.v1 import mesos_pb2 as mesos
from mezzo.errors import InvalidRequest
from mezzo.resources import ranges as rangesets
from mezzo.resources.disk import Source
from mezzo.resources.kind import Kind
from mezzo.resources.ranges import Ranges
from mezzo.resources.scalar import THOUSANDTHS, ResourceError, to_thousandths
from mezzo.resources.value import amount_of
from mezzo.validation.identifiers import check_id


def validate(messages: Iterable[mesos.Resource], field: str = "resources") -> None:
    """Check resources as a client sends them: each in itself, and that none is there twice.

    Raises:
        ResourceError: naming the first field that is wrong, such as `resources[2].disk.persistence.id`.
    """
    volumes: set[tuple[str, str]] = set()
    for index, message in enumerate(messages):
        try:
            kind = _check(message)
            if kind.disk is not None and kind.disk.persistence_id is not None and not kind.shared:
                volume = (kind.role, kind.disk.persistence_id)
                if volume in volumes:
                    raise ResourceError("disk.persistence.id", "the same persistent volume is named twice")
                volumes.add(volume)
        except ResourceError as error:
            raise error.below(f"{field}[{index}]") from None


def _check(message: mesos.Resource) -> Kind:
    if not message.name:
        raise ResourceError("name", "is required")
    kind = Kind.of(message)
    amount = amount_of(message, kind)
    if isinstance(amount, tuple):
        _check_disjoint(message.ranges, amount)
    if kind.name == "gpus" and to_thousandths(message.scalar.value) % THOUSANDTHS:
        raise ResourceError("scalar.value", f"{message.scalar.value:g} is not a whole number of gpus")
    if message.HasField("provider_id"):
        _check_id(message.provider_id.value, "provider_id.value")
    if message.HasField("disk"):
        _check_disk(message, kind)
    if kind.shared and not kind.persistent_volume:
        raise ResourceError("shared", "only persistent volumes can be shared")
    return kind


def _check_disjoint(ranges: mesos.Value.Ranges, joined: Ranges) -> None:
    """Mesos refuses a number that is there twice as well, but not in every order of the ranges (resources.cpp)."""
    if sum(each.end - each.begin + 1 for each in ranges.range) == rangesets.count(joined):
        return
    pairs = sorted((each.begin, each.end, index) for index, each in enumerate(ranges.range))
    for (_, end, first), (begin, _, second) in pairwise(pairs):
        if begin <= end:
            raise ResourceError(f"ranges.range[{max(first, second)}]", f"overlaps range[{min(first, second)}]")


def _check_id(value: str, field: str) -> None:
    try:
        check_id(value, field)
    except InvalidRequest as error:
        raise ResourceError(error.field, error.message) from None


def _check_disk(message: mesos.Resource, kind: Kind) -> None:
    disk = message.disk
    if kind.name != "disk" or kind.value_type != mesos.Value.SCALAR:
        raise ResourceError("disk", f"{kind.name} is not a disk")
    if disk.HasField("source") and disk.source.type == Source.UNKNOWN:
        raise ResourceError("disk.source.type", "must be PATH, MOUNT, BLOCK or RAW")
    if not disk.HasField("persistence"):
        if disk.HasField("volume"):
            raise ResourceError("disk.volume", "only persistent volumes can be mounted")
        return
    _check_id(disk.persistence.id, "disk.persistence.id")
    if not kind.reservations:
        raise ResourceError("disk.persistence", "a persistent volume must be of reserved disk")
    if kind.revocable:
        raise ResourceError("disk.persistence", "a persistent volume cannot be revocable")
    if not disk.HasField("volume"):
        raise ResourceError("disk.volume", "is required for a persistent volume")
    if disk.volume.HasField("host_path"):
        raise ResourceError("disk.volume.host_path", "the agent chooses where a persistent volume is")
