"""The cases of values, each rendered once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.charts.helm import CASES, Manifest, template, with_stand_ins
from tests.charts.manifests import read


@pytest.fixture(scope="session")
def chart_with_stand_ins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_stand_ins(tmp_path_factory.mktemp("chart"))


@pytest.fixture(scope="session")
def rendered(chart_with_stand_ins: Path) -> Callable[[Path], list[Manifest]]:
    """What the chart makes of a file of values, with stand-ins for rules and dashboards."""
    known: dict[Path, list[Manifest]] = {}

    def render(values: Path) -> list[Manifest]:
        if values not in known:
            known[values] = read(template("--values", values, chart=chart_with_stand_ins))
        return known[values]

    return render


@pytest.fixture(params=CASES, ids=lambda values: values.stem)
def case(request: pytest.FixtureRequest) -> Path:
    values: Path = request.param
    return values


@pytest.fixture
def manifests(case: Path, rendered: Callable[[Path], list[Manifest]]) -> list[Manifest]:
    return rendered(case)
