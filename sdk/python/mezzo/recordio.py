"""RecordIO: records on a stream, each preceded by its length in bytes as a decimal number and a newline.

The framing of Mesos' HTTP APIs (docs/recordio.md of apache/mesos). Nothing follows a record but the next length.
"""

from __future__ import annotations

from mezzo.errors import InvalidRequest

RECORD_BYTES_MAX = 64 * 1024 * 1024
_LENGTH_DIGITS_MAX = 20


class RecordIOError(InvalidRequest):
    """The framing is broken: what should be a length is none, or is too large."""

    def __init__(self, message: str) -> None:
        super().__init__("", message)


def encode(record: bytes) -> bytes:
    """One record, framed."""
    return b"%d\n%b" % (len(record), record)


class Decoder:
    """Takes the bytes of a stream as they come, and gives back the records that are whole.

    After a `RecordIOError` the stream cannot be read any further.
    """

    def __init__(self, record_bytes_max: int = RECORD_BYTES_MAX) -> None:
        self._record_bytes_max = record_bytes_max
        self._buffer = bytearray()
        self._length: int | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """The records that `data` completes; raises `RecordIOError`."""
        self._buffer += data
        records: list[bytes] = []
        start = 0
        while True:
            if self._length is None:
                end = self._buffer.find(b"\n", start, start + _LENGTH_DIGITS_MAX + 1)
                if end < 0:
                    self._check_unfinished(start)
                    break
                self._length = self._parse(bytes(self._buffer[start:end]))
                start = end + 1
            if len(self._buffer) - start < self._length:
                break
            records.append(bytes(self._buffer[start : start + self._length]))
            start += self._length
            self._length = None
        del self._buffer[:start]
        return records

    @property
    def unfinished(self) -> bool:
        """Whether the stream, if it ended now, would end inside a record."""
        return bool(self._buffer) or self._length is not None

    def _check_unfinished(self, start: int) -> None:
        """Refuse at once what can never become a length."""
        begun = bytes(self._buffer[start : start + _LENGTH_DIGITS_MAX + 1])
        if begun and (len(begun) > _LENGTH_DIGITS_MAX or not begun.isdigit()):
            raise RecordIOError(f"expected the length of a record, found {begun!r}")

    def _parse(self, text: bytes) -> int:
        if not text.isdigit():
            raise RecordIOError(f"expected the length of a record, found {text!r}")
        length = int(text)
        if length > self._record_bytes_max:
            raise RecordIOError(f"a record of {length} bytes is larger than {self._record_bytes_max}")
        return length
