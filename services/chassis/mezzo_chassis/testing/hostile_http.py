"""Requests that no client means: hypothesis makes them up, for every HTTP site of the project alike."""

from __future__ import annotations

import gzip
from collections.abc import Sequence

from hypothesis import strategies as st

# Each server answers these, with what it knows, with what is wrong with the request, or with what it has not.
EXPECTED_STATUSES = frozenset((*range(200, 500), 501, 503))

_METHODS = st.sampled_from([b"GET"] * 8 + [b"POST"] * 12 + [b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"FROB", b"\xff"])
_BYTES = st.binary(max_size=40)
_ODD = st.sampled_from(
    [
        b"",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"caf\xe9",
        b"a" * 300,
        b"%00%0d%0a",
        b"-1",
        b"99999999999999999999999999",
        b'"',
        b"q=",
        b";;;,,,",
        b"\t",
    ]
)
_TYPES = st.sampled_from(
    [
        b"application/json",
        b"application/x-protobuf",
        b"application/recordio",
        b"application/x-www-form-urlencoded",
        b"application/json; charset=\xff",
        b"text/plain; charset=frob",
        b"multipart/form-data; boundary=\xff",
        b"*/*",
        b"text/html;q=x",
    ]
)
_NAMES = st.sampled_from(
    [
        b"Accept",
        b"Accept-Encoding",
        b"Authorization",
        b"Connection",
        b"Content-Encoding",
        b"Content-Type",
        b"Cookie",
        b"Expect",
        b"Host",
        b"If-Modified-Since",
        b"Mesos-Stream-Id",
        b"Message-Accept",
        b"Message-Content-Type",
        b"Origin",
        b"Range",
        b"Referer",
        b"Sec-Fetch-Site",
        b"Upgrade",
        b"User-Agent",
        b"X-Correlation-Id",
        b"X-Frob",
    ]
)
_CODINGS = st.sampled_from(
    [b"gzip", b"deflate", b"br", b"identity", b"chunked", b"websocket", b"Bearer \xff", b"bytes=5-1"]
)
_PRINTABLE = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=20).map(str.encode)
_VALUES = st.one_of(_ODD, _TYPES, _CODINGS, _PRINTABLE)
_HEADERS = st.lists(st.tuples(_NAMES, _VALUES), max_size=4, unique_by=lambda each: each[0])
_JSON = st.sampled_from(
    [
        b"{}",
        b"[]",
        b"null",
        b'{"type":"GET_HEALTH"}',
        b'{"type":"SUBSCRIBE"}',
        b'{"type":"\xff"}',
        b'{"type":"LIST_FILES","list_files":{"path":"\\ud800"}}',
        b'{"type":"READ_FILE","read_file":{"path":"/x","offset":-1}}',
        b'{"type":"GET_METRICS","get_metrics":{"timeout":{"nanoseconds":-1}}}',
        b'{"type":"SET_LOGGING_LEVEL","set_logging_level":{"level":4294967295,"duration":{"nanoseconds":1}}}',
        b'{"type":"ACKNOWLEDGE","framework_id":{"value":"\xed\xa0\x80"}}',
        b'{"frob":' + b"[" * 500,
        b"frameworkId=%FF&slaveId=\xff&resources=[",
        b"&" * 500,
    ]
)
_BODIES = st.one_of(_JSON, _JSON.map(gzip.compress), _JSON.map(lambda body: gzip.compress(body)[:-3]), _BYTES)


@st.composite
def requests(draw: st.DrawFn, paths: Sequence[str]) -> bytes:
    """A request to one of the paths, or to none; its connection ends with the answer."""
    known = st.sampled_from([each.encode() for each in paths])
    path = draw(st.one_of(known, known, known, known, _PRINTABLE.map(lambda value: b"/" + value), _BYTES))
    query = draw(st.one_of(st.just(b""), _PRINTABLE.map(lambda value: b"?" + value), st.sampled_from(_QUERIES)))
    target = (path + query).translate(None, b"\r\n ") or b"/"
    version = draw(st.sampled_from([b"HTTP/1.1"] * 16 + [b"HTTP/1.0"] * 3 + [b"HTTP/9.9"]))
    body = draw(_BODIES)
    fields = dict(draw(_HEADERS))
    fields.setdefault(b"Host", b"localhost")
    if draw(st.booleans()):
        fields[b"Content-Type"] = draw(st.sampled_from([b"application/json", b"application/x-protobuf"]))
    fields[b"Connection"] = b"close"
    chunked = draw(st.booleans())
    if chunked:
        fields[b"Transfer-Encoding"] = b"chunked"
        end = draw(st.sampled_from([b"0\r\n\r\n"] * 4 + [b"0\r\nX: y\r\n\r\n", b"zz\r\n\r\n"]))
        body = b"%x\r\n%b\r\n" % (len(body), body) + end if body else end
    else:
        fields[b"Content-Length"] = b"%d" % len(body)
    head = b"%b %b %b\r\n" % (draw(_METHODS), target, version)
    return head + b"".join(b"%b: %b\r\n" % field for field in fields.items()) + b"\r\n" + body


_QUERIES = [
    b"?jsonp=%FF",
    b"?path=%2F..%2F%00",
    b"?path=/slaves/%FF/x&offset=1e9&length=-5",
    b"?timeout=-1secs",
    b"?timeout=99999999999999999999weeks",
    b"?level=%D9%A1&duration=1secs",
    b"?level=3&duration=nan",
    b"?limit=-1&offset=x&order=frob",
    b"?framework_id=%ED%A0%80&task_id=%0A",
    b"?framework=%FF&role=%00&agent=%0D%0A",
    b"?position=99999999999999999999&length=1",
    b"?path=/x&follow=perhaps",
]
