"""Compiles the inner loop with numba, into a cache under the user's cache folder."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import sys
import types
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mesos.v1.mesos_pb2 import AgentInfo, FrameworkInfo
from mezzo.resources import parse
from mezzo_allocator.core import arrays, kernel
from mezzo_allocator.core import events as ev
from mezzo_allocator.core.allocator import Allocator
from mezzo_allocator.core.loops import Loops

# Enough of them that one change does not put the whole tree in order again, but moves one path.
CLIENTS = 20


def cache_folder() -> Path:
    """Where compiled code is kept between runs: below XDG_CACHE_HOME, or ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "mezzo" / "allocator"


def _fingerprint(*, check_bounds: bool) -> str:
    """The name of this form of the code.

    By content, as numba itself notices neither other options nor another shape of the arrays; by place and time of
    change, since numba takes a file that stands elsewhere, or was written anew, for another.
    """
    digest = hashlib.sha256(f"{sys.version} {version('numba')} {version('numpy')} {check_bounds}".encode())
    for source in sorted({arrays.__file__, __file__, *(f.__code__.co_filename for f in kernel.COMPILABLE)}):
        digest.update(f"{source} {Path(source).stat().st_mtime_ns} ".encode())
        digest.update(Path(source).read_bytes())
    return digest.hexdigest()[:16]


def version_folder(cache: Path, *, check_bounds: bool = False) -> Path:
    """Where below the cache the code of this version is."""
    return cache / _fingerprint(check_bounds=check_bounds)


def compile_loops(cache: Path | None = None, *, check_bounds: bool = False) -> Loops:
    """Return the compiled form of the inner loop. Takes ten seconds the first time, and one with a warm cache.

    The functions of the kernel are taken as they are; only the names by which they call each other are bound to the
    compiled forms, so there is one source for both. With `check_bounds` they raise an IndexError where they would read
    or write beyond the end of an array: for tests, since it takes time.
    """
    folder = os.environ.setdefault(
        "NUMBA_CACHE_DIR", str(version_folder(cache or cache_folder(), check_bounds=check_bounds))
    )
    import numba

    # The variable is read when numba is imported, and somebody may have done that before.
    numba.config.CACHE_DIR = folder  # type: ignore[attr-defined]

    # Without reference counts, which numba would otherwise touch for each array at each call: the caller holds all of
    # them, and nothing is allocated. It makes the loop four times as fast.
    compiled = numba.njit(cache=True, nogil=True, _nrt=False, boundscheck=check_bounds)  # type: ignore[call-overload]
    namespace: dict[str, Any] = {}
    for function in kernel.COMPILABLE:
        namespace.update(function.__globals__)
    for function in kernel.COMPILABLE:
        name = function.__name__
        copy = types.FunctionType(function.__code__, namespace, name)
        copy.__module__ = function.__module__
        namespace[name] = compiled(copy)
    loops = Loops(**{field.name: namespace[field.name] for field in dataclasses.fields(Loops)})
    _rehearse(loops)
    return loops


def _rehearse(loops: Loops) -> None:
    """Have every entry point called, since numba compiles a function when it first sees its arguments."""
    core = Allocator(loops=loops)
    info = FrameworkInfo(user="nobody", name="rehearsal")
    total = parse("cpus:4;mem:1024")
    events: list[ev.Event] = [
        ev.SessionBegun("rehearsal"),
        ev.RoleConfigured("*", 1.0, {"cpus": 1.0}, {"cpus": 2.0}),
        *(ev.FrameworkChanged(number, info, frozenset(), True) for number in range(CLIENTS)),
        ev.AgentChanged(0, AgentInfo(hostname="rehearsal"), total, (), True),
        ev.SnapshotEnded(),
        ev.CycleStarted(),
        ev.ResourcesAllocated(0, 0, parse("cpus:1").allocated_to("*")),
        ev.FullPassWanted(),
        ev.CycleStarted(),
    ]
    for event in events:
        core.handle(event, now=0.0)
