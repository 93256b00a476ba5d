"""Addresses are a host and a port, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from mezzo import addresses
from mezzo.addresses import Address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.7:5051", Address("10.0.0.7", 5051)),
        ("agent-1.example:5051", Address("agent-1.example", 5051)),
        ("agent_1:0", Address("agent_1", 0)),
        ("example.:65535", Address("example.", 65535)),
        ("[fd00::7]:5051", Address("fd00::7", 5051)),
    ],
)
def test_an_address_is_read_and_written_alike(text: str, address: Address) -> None:
    assert addresses.parse(text) == address
    assert addresses.of(*address) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host",
        ":5051",
        "host:",
        "host:65536",
        "host:-1",
        "host:５０５１",
        "host:5051/path",
        "host/path:5051",
        "host?x:5051",
        "host#x:5051",
        "user@host:5051",
        "host name:5051",
        "host\n:5051",
        "host:5051\n",
        "fd00::7:5051",
        "[fd00::7%eth0]:5051",
        "[host]:5051",
        "[]:5051",
        "höst:5051",
        "-host:5051",
        "h" * 254 + ":5051",
    ],
)
def test_what_is_more_or_less_than_an_address_is_none(text: str) -> None:
    assert addresses.parse(text) is None


@given(st.text(st.sampled_from("ab0.-_:/@?#[]%\\ \r\n:"), max_size=20))
def test_an_address_in_a_url_leads_to_that_host_alone(text: str) -> None:
    address = addresses.parse(text)
    if address is not None:
        url = URL(f"http://{address}/files")
        assert (url.path, url.query_string, url.fragment, url.user) == ("/files", "", "", None)
        assert url.port == address.port or address.port == 80
