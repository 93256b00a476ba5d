"""The simulator is worth what it finds: bugs are planted one at a time, and it is to find nearly all of them."""

from __future__ import annotations

import pytest

from tests.simulation.planted import BUGS, finds

pytestmark = pytest.mark.slow("simulates up to a dozen clusters for each of eight bugs")

FOUND_MIN = 7
SEEDS_MAX = 12


def test_planted_bugs_are_found() -> None:
    found = {name: seed for name in BUGS if (seed := finds(name, SEEDS_MAX)) is not None}
    assert len(BUGS) == 8
    assert len(found) >= FOUND_MIN, f"found {found}, and not {sorted(BUGS.keys() - found)}"
