"""What the chart renders for each case, word for word.

    MEZZO_UPDATE_GOLDEN=1 pytest tests/charts/test_golden.py

writes tests/charts/golden anew; the difference is then for people to read.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.charts.helm import CASES, HERE, Manifest, needs_helm
from tests.charts.manifests import write

GOLDEN = HERE / "golden"
UPDATE = "MEZZO_UPDATE_GOLDEN"


@needs_helm
def test_rendering_is_what_it_was(case: Path, manifests: list[Manifest]) -> None:
    golden, text = GOLDEN / case.name, write(manifests)
    if os.environ.get(UPDATE) == "1":
        golden.write_text(text)
    assert golden.exists(), f"no golden file for {case.name}: {UPDATE}=1 writes it"
    assert text == golden.read_text(), f"if it is meant, {UPDATE}=1 writes it anew"


@needs_helm
def test_every_golden_file_belongs_to_a_case() -> None:
    assert {golden.name for golden in GOLDEN.iterdir()} == {case.name for case in CASES}
