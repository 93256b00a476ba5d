"""What a request says and how its answer is encoded, with the status codes that Mesos gives for what is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, TypeVar

import orjson
from aiohttp import hdrs, web
from google.protobuf.message import Message

from mezzo import jsonpb, limits, parsing, recordio
from mezzo.errors import InvalidRequest
from mezzo_chassis.http.bodies import body_pieces, in_time, read_body

JSON: Final = "application/json"
PROTOBUF: Final = "application/x-protobuf"
RECORDIO: Final = "application/recordio"
JAVASCRIPT: Final = "text/javascript"
MESSAGE_CONTENT_TYPE: Final = "Message-Content-Type"
COMPRESS_BYTES_MIN = 4096
FIRST_RECORD_BYTES_MAX = 1 << 20

M = TypeVar("M", bound=Message)

_NO_QUALITY = re.compile(r"q\s*=\s*0(\.0*)?")
_CALLBACK = re.compile(r"[A-Za-z_$][\w$]*(\.[A-Za-z_$][\w$]*)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Format:
    """An encoding of messages."""

    content_type: str
    dump: Callable[[Message], bytes]
    # As a record on a stream: there are clients that need records of JSON to be ASCII on one line.
    dump_record: Callable[[Message], bytes]


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()


FORMATS: Final = {
    JSON: Format(JSON, jsonpb.dumps, jsonpb.dumps_ascii),
    PROTOBUF: Format(PROTOBUF, _serialize, _serialize),
}


async def read_message(request: web.Request, message_class: type[M]) -> M:
    """The message in a request's body, by its Content-Type.

    Raises 415 for a type that is none of ours, and `InvalidRequest` naming the header or the field otherwise, also one
    that is too long (`mezzo.limits`); tasks in it are checked by whoever launches them. A type with parameters
    (`; charset=utf-8`) is none of ours either: so it is in Mesos.
    """
    content_type = request.headers.get("Content-Type")
    if content_type is None:
        raise InvalidRequest("Content-Type", "is required")
    if content_type not in FORMATS:
        raise unsupported_media_type(content_type)
    return _parse(message_class, await read_body(request), content_type)


async def read_first_record(request: web.Request, message_class: type[M]) -> M:
    """The message in the first record of a request that is a stream of them, by its Message-Content-Type.

    Raises `InvalidRequest` for what is no such record, or larger than `FIRST_RECORD_BYTES_MAX`; what follows is not
    read.
    """
    content_type = request.headers.get(MESSAGE_CONTENT_TYPE)
    if content_type is None:
        raise InvalidRequest("", f"Expecting '{MESSAGE_CONTENT_TYPE}' to be set for streaming requests")  # Mesos' words
    if content_type not in FORMATS:
        raise unsupported_media_type(content_type, MESSAGE_CONTENT_TYPE)
    decoder = recordio.Decoder(FIRST_RECORD_BYTES_MAX)
    async with in_time(), aclosing(body_pieces(request)) as pieces:
        async for piece in pieces:
            for record in decoder.feed(piece):
                return _parse(message_class, record, content_type)
    raise InvalidRequest("", "the body ends within its first record")


def _parse(message_class: type[M], body: bytes, content_type: str) -> M:
    if content_type != JSON:
        return parse_protobuf(message_class, body)
    message = jsonpb.parse(message_class, body)
    limits.check_call(message)
    return message


def unsupported_media_type(content_type: str, header: str = hdrs.CONTENT_TYPE) -> web.HTTPException:
    expected = " or ".join(FORMATS)
    return web.HTTPUnsupportedMediaType(text=f"{header}: expected {expected}, found {content_type}")


def parse_protobuf(message_class: type[M], body: bytes) -> M:
    """A message from its wire form. Raises `InvalidRequest`."""
    message = parsing.parse(message_class, body)
    limits.check_call(message)
    jsonpb.check_initialized(message)
    return message


def answer_format(request: web.Request, header: str = "Accept") -> Format:
    """The encoding that the client wants; JSON where it does not care. Raises 406 for one that is none of ours."""
    accept = ", ".join(request.headers.getall(header, ()))  # on several lines it means the same: RFC 9110
    wanted = [part.partition(";")[0].strip() for part in accept.split(",")]
    for media_type in wanted:
        if media_type in FORMATS:
            return FORMATS[media_type]
    if any(media_type in ("*/*", "application/*", "") for media_type in wanted):
        return FORMATS[JSON]
    raise web.HTTPNotAcceptable(text=f"{header}: expected {' or '.join(FORMATS)}, found {accept}")


def message_response(request: web.Request, message: Message) -> web.Response:
    """A message in the encoding that the client wants."""
    form = answer_format(request)
    return _compressed(request, web.Response(body=form.dump(message), content_type=form.content_type))


def json_response(request: web.Request, document: object) -> web.Response:
    """A document as JSON; wrapped into a call where the query has `jsonp`; compressed where that pays."""
    return json_bytes_response(request, orjson.dumps(document))


def json_bytes_response(request: web.Request, body: bytes) -> web.Response:
    """The same of JSON that is encoded already."""
    callback = request.query.get("jsonp")
    if callback:
        if not _CALLBACK.fullmatch(callback):
            raise InvalidRequest("jsonp", f"{callback!r} must be the name of a function")
        body = b"%b(%b);" % (callback.encode(), body)
        return _compressed(request, web.Response(body=body, content_type=JAVASCRIPT))
    return _compressed(request, web.Response(body=body, content_type=JSON))


def protobuf_bytes_response(request: web.Request, body: bytes) -> web.Response:
    """A message in protobuf that is encoded already."""
    return _compressed(request, web.Response(body=body, content_type=PROTOBUF))


def _compressed(request: web.Request, response: web.Response) -> web.Response:
    """The answer, in gzip where it is large and the client takes that; Mesos has no other coding."""
    if isinstance(response.body, bytes) and len(response.body) >= COMPRESS_BYTES_MIN and _takes_gzip(request):
        response.enable_compression(web.ContentCoding.gzip)
    return response


def _takes_gzip(request: web.Request) -> bool:
    for coding in request.headers.get(hdrs.ACCEPT_ENCODING, "").lower().split(","):
        name, _, parameters = coding.partition(";")
        if name.strip() == "gzip":
            return _NO_QUALITY.fullmatch(parameters.strip()) is None
    return False
