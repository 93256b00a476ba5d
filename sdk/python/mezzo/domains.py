"""Where a machine stands, as flags say it: its region, and its zone within that."""

from __future__ import annotations

import json
from pathlib import Path

from mesos.v1.mesos_pb2 import DomainInfo
from mezzo import jsonpb
from mezzo.errors import InvalidRequest

EXAMPLE = '{"fault_domain": {"region": {"name": "eu"}, "zone": {"name": "rack1"}}}'


def parse(text: str) -> DomainInfo:
    """JSON like EXAMPLE, or the path of a file with it (`/…` or `file:///…`), or `eu/rack1` for short.

    A region or zone may be its name alone also in JSON, as it is in Mesos' documentation. Raises ValueError.
    """
    if text.startswith(("/", "file://")):
        try:
            text = Path(text.removeprefix("file://")).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"it cannot be read: {error}") from error
    domain = _of_json(text) if text.lstrip().startswith("{") else _of_words(text)
    if not domain.fault_domain.region.name or not domain.fault_domain.zone.name:
        raise ValueError("the names of region and zone must not be empty")
    return domain


def _of_json(text: str) -> DomainInfo:
    try:
        value = json.loads(text)
        fault_domain = value["fault_domain"]
        names = {key: one if isinstance(one, dict) else {"name": one} for key, one in fault_domain.items()}
        parsed: DomainInfo = jsonpb.from_dict(DomainInfo, {"fault_domain": names})
    except (ValueError, KeyError, AttributeError, InvalidRequest) as error:
        raise ValueError(f"it is not like {EXAMPLE}: {error}") from error
    return parsed


def _of_words(text: str) -> DomainInfo:
    region, slash, zone = text.strip().partition("/")
    if not slash or "/" in zone:
        raise ValueError(f"{text!r} is neither region/zone, nor JSON like {EXAMPLE}, nor the path of a file with it")
    domain = DomainInfo()
    domain.fault_domain.region.name = region
    domain.fault_domain.zone.name = zone
    return domain
