"""What runbooks and descriptions name: commands and flags."""

from __future__ import annotations

import dataclasses
import re

from mezzo_agent import config as agent
from mezzo_allocator import config as allocator
from mezzo_gateway import config as gateway
from mezzo_registry import config as registry
from tests.observability.rules import ROOT

RUNBOOKS = ROOT / "docs" / "operations" / "runbooks"


def shell_lines(page: str) -> list[str]:
    """What a page says to type."""
    return "\n".join(re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)).splitlines()


def flags() -> set[str]:
    """Of all services."""
    services = (registry, allocator, gateway, agent)
    return {flag.name for service in services for flag in dataclasses.fields(service.Config)}
