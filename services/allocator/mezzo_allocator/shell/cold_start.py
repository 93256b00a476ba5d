"""The first start on a machine: the inner loop is compiled in a process of its own.

That takes ten seconds of a core. Done in the service it would slow down every answer, and the service could not end
before it was done. The process fills the cache, from which the service then takes the code in a second.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from asyncio.subprocess import DEVNULL, PIPE, create_subprocess_exec
from pathlib import Path

from mezzo.errors import Unavailable
from mezzo_allocator.adapters.compiler import cache_folder, compile_loops, version_folder
from mezzo_allocator.core.loops import Loops

COMPLETE = "complete"
"""A file of this name says that everything is in the cache."""
OUTPUT_CHARACTERS_MAX = 500


async def compiled_loops(cache: Path | None = None) -> Loops:
    """Load the compiled form of the inner loop, or compile it.

    Raises:
        Unavailable: it cannot be compiled; the message says why.
    """
    cache = cache or cache_folder()
    if not _complete(cache).exists():
        await _compile_apart(cache)
    return await asyncio.to_thread(compile_loops, cache)


def _complete(cache: Path) -> Path:
    return version_folder(cache) / COMPLETE


async def _compile_apart(cache: Path) -> None:
    arguments = (sys.executable, "-m", __name__, str(cache))
    process = await create_subprocess_exec(*arguments, stdin=PIPE, stdout=DEVNULL, stderr=PIPE)
    try:
        # The other end of its standard input stays open for as long as this process lives: see `_end_with_parent`.
        assert process.stderr is not None
        output = (await process.stderr.read()).decode(errors="replace").strip()
        if await process.wait():
            raise Unavailable(f"the compiler process failed: {output[-OUTPUT_CHARACTERS_MAX:]}")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _end_with_parent() -> None:
    # Not through `sys.stdin`, whose lock the interpreter wants when it ends.
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


def main(cache: Path) -> None:
    """Fill the cache."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Where that folder cannot be written numba would write beside the sources.
    version_folder(cache).mkdir(parents=True, exist_ok=True)
    compile_loops(cache)
    _complete(cache).touch()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
