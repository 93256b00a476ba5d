"""The `mezzo` command. Its libraries are the extra `cli`: who writes a framework needs none of them.

This module imports nothing that may be missing; `mezzo.cli.app` lists the verbs.
"""

from __future__ import annotations

import os
import sys

from mezzo.cli import exit_codes

LIBRARIES = ("grpc_health", "psutil", "rich", "typer", "yaml")


def main() -> None:
    """Run the command; where a library of it is not installed, say what to install, and end with 127."""
    for word in sys.argv[1:]:
        if any("\ud800" <= character <= "\udfff" for character in word):
            print(f"mezzo: not UTF-8: {os.fsencode(word)!r}", file=sys.stderr)
            raise SystemExit(exit_codes.USAGE)
    try:
        from mezzo.cli.app import app

        app()
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in LIBRARIES:
            raise
        print(f"mezzo: this command needs {library}: pip install 'mezzo[cli]'", file=sys.stderr)
        raise SystemExit(exit_codes.NOT_INSTALLED) from None
