"""Writes docs/operations/values.md from charts/mezzo/values.yaml; with `--check` only says whether it is up to date.

A description is the comment above a value. Values that have none are listed all the same.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
VALUES = ROOT / "charts" / "mezzo" / "values.yaml"
PAGE = ROOT / "docs" / "operations" / "values.md"
HEAD = """# Values of the chart

Written by `make docs` from [values.yaml](../../charts/mezzo/values.yaml). The schema says what a value may be,
and a wrong one is refused by its name. [Mezzo on Kubernetes](kubernetes.md) says which decide the most.
"""
_SECTION = re.compile(r"^# -{5,} (.+)$")
_LINE = re.compile(r"^(?P<indent> *)(?P<key>[\w./-]+):(?: (?P<value>.+))?$")
_COMMENT = re.compile(r"^ *# ?(?P<text>.*)$")


class Value(NamedTuple):
    """One line of values.yaml: a value with its default, or, without one, what several belong to."""

    path: str
    default: str
    description: str


def values(text: str) -> Iterator[tuple[str, Value]]:
    """Every value in its order, with the heading that it stands under."""
    heading, comment, keys = "All services", list[str](), list[tuple[int, str]]()
    for line in text.splitlines():
        if found := _SECTION.match(line):
            heading, comment, keys = found[1], [], []
        elif not line.strip():
            comment = []
        elif found := _COMMENT.match(line):
            # What is indented shows how something is written, and is no description of it.
            if found["text"] and not found["text"].startswith(("  ", "-")):
                comment.append(found["text"].strip())
        elif found := _LINE.match(line):
            indent = len(found["indent"])
            keys = [each for each in keys if each[0] < indent] + [(indent, found["key"])]
            default = found["value"] or ""
            if default or comment:
                yield heading, Value(".".join(key for _, key in keys), default, _sentences(" ".join(comment)))
            comment = []


def page() -> str:
    """The whole page."""
    lines, last = [HEAD.rstrip()], ""
    for heading, value in values(VALUES.read_text()):
        if heading != last:
            lines += [f"\n## {heading}\n", "| value | default | |", "|---|---|---|"]
            last = heading
        default = f"`{value.default}`" if value.default else ""
        lines.append(f"| `{value.path}` | {default} | {_cell(value.description)} |")
    return "\n".join(lines) + "\n"


def _sentences(text: str) -> str:
    """Without the one that introduces an example."""
    return re.sub(r"(^|(?<=\. ))[^.]*:$", "", text).strip()


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> int:
    """Write the page, or say whether it is what it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="Write nothing; exit 1 if the page is out of date.")
    if not parser.parse_args().check:
        PAGE.write_text(page())
        return 0
    if PAGE.exists() and PAGE.read_text() == page():
        return 0
    print(f"{PAGE.relative_to(ROOT)} is out of date: make docs", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
