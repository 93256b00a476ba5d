"""Compiles the inner loop with numba, into a cache under the user's cache folder."""

from __future__ import annotations

import dataclasses
import os
import types
from pathlib import Path
from typing import Any

from mezzo_allocator.core import kernel
from mezzo_allocator.core.loops import Loops


def cache_folder() -> Path:
    """Where compiled code is kept between runs: below XDG_CACHE_HOME, or ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "mezzo" / "allocator"


def compile_loops(cache: Path | None = None) -> Loops:
    """Returns the compiled form of the inner loop. Takes seconds the first time, and tenths of one from the cache.

    The functions of the kernel are taken as they are; only the names by which they call each other are bound to the
    compiled forms, so there is one source for both.
    """
    os.environ.setdefault("NUMBA_CACHE_DIR", str(cache or cache_folder()))
    import numba

    namespace: dict[str, Any] = dict(vars(kernel))
    for function in kernel.COMPILABLE:
        name = function.__name__
        copy = types.FunctionType(function.__code__, namespace, name)
        copy.__module__ = function.__module__
        namespace[name] = numba.njit(cache=True, nogil=True)(copy)
    return Loops(**{field.name: namespace[field.name] for field in dataclasses.fields(Loops)})
