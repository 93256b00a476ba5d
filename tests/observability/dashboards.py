"""The dashboards as Grafana gets them, and their expressions as Grafana sends them to Prometheus."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.observability.rules import ROOT

FOLDER = ROOT / "charts" / "mezzo" / "dashboards"
FILES = sorted(FOLDER.glob("*.json"))


@dataclass(frozen=True, slots=True)
class Asked:
    """One expression of one panel."""

    dashboard: str
    panel: str
    expression: str

    def __str__(self) -> str:
        return f"{self.dashboard}: {self.panel}"

    def as_sent(self, window: str) -> str:
        """With every variable at All, and with `window` for Grafana's intervals and ranges."""
        sent = re.sub(r"\$__(rate_interval|interval|range)\b", window, self.expression)
        sent = re.sub(r"\$(namespace|instance|role)\b", ".*", sent)
        assert "$" not in sent, f"{self}: a variable that nobody knows in {sent}"
        return sent

    def selectors(self) -> list[str]:
        """The selectors of Mezzo's own metrics in it."""
        return re.findall(r"mezzo_\w+\{[^}]*\}", self.expression)


def read(name: str) -> Any:
    return json.loads((FOLDER / name).read_text())


def panels(dashboard: Any) -> list[Any]:
    """All panels that show something."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def asked() -> Iterator[Asked]:
    """Every expression of every panel, and of what is marked in all of them."""
    for file in FILES:
        for mark in read(file.name)["annotations"]["list"]:
            yield Asked(file.stem, mark["name"], mark["expr"])
        for panel in panels(read(file.name)):
            for target in panel["targets"]:
                yield Asked(file.stem, panel["title"], target["expr"])
