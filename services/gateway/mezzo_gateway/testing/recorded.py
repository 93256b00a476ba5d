"""Wrong requests and what Apache Mesos answers them, as recorded, and whether an answer is of the same kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

BAD_INPUT = Path(__file__).parents[2] / "tests" / "data" / "bad_input.json"
STREAM = "an ERROR event on the stream"

Row = dict[str, Any]


def rows() -> list[Row]:
    """Each wrong in one way. `status`, `answer_content_type` and `answer` are what Mesos says."""
    found: list[Row] = json.loads(BAD_INPUT.read_text())
    return found


def headers_of(row: Row) -> dict[str, str]:
    """The headers of the request."""
    named = {"Content-Type": "content_type", "Accept": "accept", "Mesos-Stream-Id": "stream_id"}
    return {header: row[key] for header, key in named.items() if key in row}


def check_kind(row: Row, body: bytes, *, is_stream: bool) -> None:
    """Fail unless the body is of the recorded kind; of a stream it is the first piece."""
    if row["request"].startswith("HEAD"):
        assert not body
    elif row["answer"] == STREAM:
        assert is_stream
        assert b'"type":"ERROR"' in body
    elif is_stream:
        assert b'"type":"SUBSCRIBED"' in body
    elif row["answer"] == "JSON":
        json.loads(body)
    else:
        assert bool(body) == (row["answer"] == "text")
