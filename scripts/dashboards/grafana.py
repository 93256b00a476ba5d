"""Grafana's model of a dashboard, as far as it is used here.

A dashboard is rows of panels; panels flow from left to right over 24 columns. Everything else has one look.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scripts.dashboards.promql import CLUSTER

# Of Grafana 12.1.
SCHEMA_VERSION = 41
COLUMNS = 24
TAG = "mezzo"
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

Json = dict[str, Any]
Steps = Sequence[tuple[float, str]]
"""Thresholds: from which value on, and the colour; below the first it is green."""

WRONG_ABOVE_ZERO: Steps = ((1, "red"),)
ODD_ABOVE_ZERO: Steps = ((1, "orange"),)
YES_OR_NO = {0: ("no", "red"), 1: ("yes", "green")}


@dataclass(frozen=True, slots=True)
class Query:
    """One expression, and what its series are called."""

    expression: str
    legend: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """What every panel has. `unit` is one of Grafana's; `nothing` is what is shown where there is no data."""

    title: str
    description: str
    queries: Sequence[Query]
    unit: str = "short"
    steps: Steps = ()
    mappings: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    nothing: str = ""
    width: int = 8
    height: int = 8

    kind = ""
    instant = False

    def defaults(self) -> Json:
        """How values are shown."""
        steps = [{"color": "green", "value": None}, *({"color": color, "value": value} for value, color in self.steps)]
        shown: Json = {
            "unit": self.unit,
            "color": {"mode": "thresholds"},
            "thresholds": {"mode": "absolute", "steps": steps},
        }
        if self.mappings:
            options = {str(value): {"text": text, "color": color} for value, (text, color) in self.mappings.items()}
            shown["mappings"] = [{"type": "value", "options": options}]
        if self.nothing:
            shown["noValue"] = self.nothing
        return shown

    def options(self) -> Json:
        """What this kind of panel can be told."""
        return {}

    def transformations(self) -> list[Json]:
        """What happens to the data before it is shown."""
        return []

    def json(self, number: int, left: int, top: int) -> Json:
        """As Grafana wants it, at its place."""
        targets = [
            {
                "refId": _letter(index),
                "datasource": DATASOURCE,
                "expr": query.expression,
                "legendFormat": query.legend or "__auto",
                "editorMode": "code",
                "instant": self.instant,
                "range": not self.instant,
                **({"format": "table"} if self.kind == "table" else {}),
            }
            for index, query in enumerate(self.queries)
        ]
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": {"x": left, "y": top, "w": self.width, "h": self.height},
            "fieldConfig": {"defaults": self.defaults(), "overrides": []},
            "options": self.options(),
            "targets": targets,
            "transformations": self.transformations(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat(Panel):
    """One number, or the name of what has it."""

    width: int = 4
    height: int = 4
    by_name: bool = False

    kind = "stat"
    instant = True

    def options(self) -> Json:
        return {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "textMode": "name" if self.by_name else "value",
            "colorMode": "background" if self.steps or self.mappings else "value",
            "graphMode": "none",
            "justifyMode": "center",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph(Panel):
    """Lines over time. Thresholds are drawn as lines."""

    stacked: bool = False
    max: float | None = None

    kind = "timeseries"

    def defaults(self) -> Json:
        drawn = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 30 if self.stacked else 8,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if self.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "dashed" if self.steps else "off"},
        }
        # Not `super()`: dataclasses with slots are made anew, and it would look for the old one.
        shown = {**Panel.defaults(self), "color": {"mode": "palette-classic"}, "custom": drawn, "min": 0}
        return shown if self.max is None else {**shown, "max": self.max}

    def options(self) -> Json:
        return {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline(Panel):
    """Which state each had, and when."""

    kind = "state-timeline"

    def defaults(self) -> Json:
        return {**Panel.defaults(self), "custom": {"fillOpacity": 70, "lineWidth": 0}}

    def options(self) -> Json:
        return {
            "mergeValues": True,
            "showValue": "auto",
            "rowHeight": 0.8,
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False},
            "tooltip": {"mode": "single", "sort": "none"},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars(Panel):
    """One bar for each, as they are now."""

    max: float | None = None

    kind = "bargauge"
    instant = True

    def defaults(self) -> Json:
        shown = {**Panel.defaults(self), "min": 0}
        return shown if self.max is None else {**shown, "max": self.max}

    def options(self) -> Json:
        return {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "orientation": "horizontal",
            "displayMode": "gradient",
            "showUnfilled": True,
            "valueMode": "color",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Table(Panel):
    """One row for each series: `columns` names the labels that are shown, in order; `values` the numbers.

    There are as many numbers as queries, or none is shown.
    """

    columns: Sequence[str]
    values: Sequence[str] = ()

    kind = "table"
    instant = True

    def options(self) -> Json:
        return {"showHeader": True, "cellHeight": "sm"}

    def transformations(self) -> list[Json]:
        names = [f"Value #{_letter(index)}" for index in range(len(self.values))]
        titles = dict(zip(names if len(names) > 1 else ["Value"], self.values, strict=False))
        shown = [*self.columns, *titles]
        return [
            {"id": "merge", "options": {}},
            {"id": "filterFieldsByName", "options": {"include": {"names": shown}}},
            {
                "id": "organize",
                "options": {
                    "indexByName": {name: index for index, name in enumerate(shown)},
                    "renameByName": titles,
                    "excludeByName": {},
                },
            },
        ]


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a heading."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Variable:
    """What the reader chooses of a label's values; all of them at first."""

    name: str
    title: str
    metric: str

    def json(self) -> Json:
        query = f"label_values({self.metric}, {self.name})"
        return {
            "name": self.name,
            "label": self.title,
            "type": "query",
            "datasource": DATASOURCE,
            "definition": query,
            "query": {"query": query, "refId": "StandardVariableQuery"},
            # Once at the beginning, and when the time range changes: agents come and go.
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
            "options": [],
            "hide": 0,
        }


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A page of Grafana. Its uid and file are `mezzo-<name>`."""

    name: str
    title: str
    description: str
    rows: Sequence[Row]
    variables: Sequence[Variable] = ()

    @property
    def uid(self) -> str:
        return f"mezzo-{self.name}"

    def json(self) -> Json:
        """As Grafana reads it."""
        return {
            "uid": self.uid,
            "title": f"Mezzo / {self.title}",
            "description": self.description,
            "tags": [TAG],
            "schemaVersion": SCHEMA_VERSION,
            "editable": True,
            "graphTooltip": 1,
            "fiscalYearStartMonth": 0,
            "time": {"from": "now-1h", "to": "now"},
            "timezone": "browser",
            "refresh": "30s",
            "annotations": {"list": [_leaders()]},
            "links": [_links_to_the_others()],
            "templating": {"list": [_datasource(), NAMESPACE.json(), *(one.json() for one in self.variables)]},
            "panels": list(self._placed()),
        }

    def _placed(self) -> Iterator[Json]:
        number, top = 0, 0
        for row in self.rows:
            number += 1
            yield {
                "id": number,
                "type": "row",
                "title": row.title,
                "collapsed": False,
                "gridPos": {"x": 0, "y": top, "w": COLUMNS, "h": 1},
                "panels": [],
            }
            top += 1
            left, line_height = 0, 0
            for panel in row.panels:
                if left + panel.width > COLUMNS:
                    left, top, line_height = 0, top + line_height, 0
                number += 1
                yield panel.json(number, left, top)
                left, line_height = left + panel.width, max(line_height, panel.height)
            top += line_height


NAMESPACE = Variable("namespace", "Cluster", "mezzo_registry_leading")


def _letter(index: int) -> str:
    """What Grafana calls the queries of a panel."""
    return chr(ord("A") + index)


def _datasource() -> Json:
    return {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
        "current": {"selected": True, "text": "Prometheus", "value": "prometheus"},
        "options": [],
        "refresh": 1,
        "multi": False,
        "includeAll": False,
        "hide": 0,
    }


def _leaders() -> Json:
    """A line through every graph where another registry began to lead: much else changes with that."""
    leads = f"mezzo_registry_leading{{{CLUSTER}}} == 1"
    led = f"mezzo_registry_leading{{{CLUSTER}}} offset 1m == 1"
    return {
        "name": "New leaders",
        "datasource": DATASOURCE,
        "enable": True,
        "hide": False,
        "iconColor": "purple",
        "expr": f"{leads} unless {led}",
        "step": "60s",
        "titleFormat": "leads",
        "textFormat": "{{instance}}",
    }


def _links_to_the_others() -> Json:
    return {
        "type": "dashboards",
        "title": "Mezzo",
        "tags": [TAG],
        "asDropdown": False,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
        "icon": "external link",
        "tooltip": "",
        "url": "",
    }
