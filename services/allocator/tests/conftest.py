"""The compiled inner loop, for tests that have to see it: with its bounds checked."""

from collections.abc import Iterator

import pytest

from mezzo_allocator.adapters.compiler import cache_folder, compile_loops, version_folder
from mezzo_allocator.core.loops import Loops


@pytest.fixture(scope="session")
def compiled() -> Iterator[Loops]:
    """Raises where it would leave an array, and is kept in a folder of its own: services of other tests are faster."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NUMBA_CACHE_DIR", str(version_folder(cache_folder(), check_bounds=True)))
        yield compile_loops(check_bounds=True)
