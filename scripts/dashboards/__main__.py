"""Writes charts/mezzo/dashboards/*.json; with `--check` only says which are not what the source gives."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from scripts.dashboards import agents, allocator, cluster, frameworks, gateway, registry

FOLDER = Path(__file__).parents[2] / "charts" / "mezzo" / "dashboards"
DASHBOARDS = tuple(module.DASHBOARD for module in (cluster, registry, allocator, agents, frameworks, gateway))


def main() -> int:
    """The exit code: 1 when something is out of date and was not to be written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    wanted = {FOLDER / f"{one.uid}.json": json.dumps(one.json(), indent=2) + "\n" for one in DASHBOARDS}
    there = {path: path.read_text() for path in FOLDER.glob("*.json")}
    stale = sorted(path for path in wanted.keys() | there.keys() if wanted.get(path) != there.get(path))
    for path in stale:
        if check:
            print(f"{path.name} is not what scripts/dashboards gives", file=sys.stderr)
        elif path in wanted:
            path.write_text(wanted[path])
        else:
            path.unlink()
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
