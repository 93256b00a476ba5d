"""Regions and zones, as flags say them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mezzo.domains import parse

JSON = '{"fault_domain": {"region": {"name": "eu"}, "zone": {"name": "rack1"}}}'


@pytest.mark.parametrize("text", [JSON, '{"fault_domain": {"region": "eu", "zone": "rack1"}}', "eu/rack1"])
def test_a_domain_is_json_or_words(text: str) -> None:
    read = parse(text)
    assert (read.fault_domain.region.name, read.fault_domain.zone.name) == ("eu", "rack1")


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_a_domain_is_in_a_file(tmp_path: Path, prefix: str) -> None:
    (tmp_path / "domain").write_text(JSON)
    assert parse(f"{prefix}{tmp_path / 'domain'}") == parse(JSON)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "neither"),
        ("eu", "neither"),
        ("eu/rack/1", "neither"),
        ("eu/", "must not be empty"),
        ("/no/such/file", "cannot be read"),
        ("{", "not like"),
        ("{}", "not like"),
        ('{"fault_domain": 3}', "not like"),
        ('{"fault_domain": {"region": "eu"}}', "not like"),
        ('{"fault_domain": {"region": "", "zone": "a"}}', "must not be empty"),
    ],
)
def test_what_is_no_domain_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse(text)
