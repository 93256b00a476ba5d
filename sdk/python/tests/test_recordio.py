"""Records survive being cut anywhere, and garbage is refused at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mezzo.recordio import Decoder, RecordIOError, encode


@given(st.lists(st.binary(max_size=300)), st.lists(st.integers(1, 50), min_size=1))
def test_records_come_out_as_they_went_in_however_the_stream_is_cut(records: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(map(encode, records))
    decoder = Decoder()
    decoded: list[bytes] = []
    position = turn = 0
    while position < len(stream):
        size = cuts[turn % len(cuts)]
        decoded += decoder.feed(stream[position : position + size])
        position += size
        turn += 1
    assert decoded == records
    assert not decoder.unfinished


def test_nothing_follows_a_record_but_the_next_length() -> None:
    assert encode(b"abc") + encode(b"") == b"3\nabc0\n"


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n", b"-1\nx", b"1a\nx", b"\n", b"9" * 30])
def test_what_can_never_be_a_length_is_refused(garbage: bytes) -> None:
    with pytest.raises(RecordIOError, match="record"):
        Decoder().feed(garbage)


def test_a_record_over_the_limit_is_refused_before_it_is_read() -> None:
    with pytest.raises(RecordIOError, match="larger than 10"):
        Decoder(record_bytes_max=10).feed(b"11\n")


def test_a_stream_that_ends_inside_a_record_is_known_to_be_unfinished() -> None:
    decoder = Decoder()
    assert decoder.feed(b"5\nab") == []
    assert decoder.unfinished
    assert decoder.feed(b"cde") == [b"abcde"]
    assert not decoder.unfinished
