"""What a request that cannot be served is answered: one map from errors to answers, for every HTTP server.

Below `/mezzo/v1` the body is JSON, `{"error": {"field": …, "message": …}}`, where `field` is empty unless one field of
the request is wrong. Everywhere else it is plain text, as in Mesos.
"""

from __future__ import annotations

from http import HTTPStatus

import orjson
from aiohttp import hdrs, web

from mezzo.errors import TEXT_CHARACTERS_MAX, InvalidRequest, MezzoError, shorten
from mezzo_chassis.errors import http_status
from mezzo_chassis.log import get_logger

_PLAIN_TEXT = {hdrs.CONTENT_TYPE: "text/plain; charset=utf-8"}
_JSON = {hdrs.CONTENT_TYPE: "application/json; charset=utf-8"}

log = get_logger(__name__)


def refusal(request: web.Request, error: Exception, *, in_json: bool) -> web.Response:
    """The answer that stands for an error that is none of aiohttp's. A defect is logged."""
    if isinstance(error, MezzoError):
        status, text = http_status(error), str(error)
        log.info("request refused", path=request.path, status=int(status), error=text)
    elif isinstance(error, UnicodeEncodeError) and not all(map(is_text, request.headers.values())):
        status, text = HTTPStatus.BAD_REQUEST, "a header is not UTF-8"
    else:
        status, text = HTTPStatus.INTERNAL_SERVER_ERROR, f"{type(error).__name__}: {error}"
        log.error("request failed", path=request.path, exc_info=error)
    if not in_json:
        return text_response(status, text)
    field, message = (error.field, error.message) if isinstance(error, InvalidRequest) else ("", text)
    return web.Response(status=status, body=_document(field, message), headers=_JSON)


def put_into_words(error: web.HTTPException, *, in_json: bool) -> None:
    """Give an error that is an answer already the body that all refusals have, cut where it is long."""
    text = error.text or f"{error.status} {error.reason}"
    if in_json:
        error.headers[hdrs.CONTENT_TYPE] = _JSON[hdrs.CONTENT_TYPE]
        error.body = _document("", text)
    elif len(text) > TEXT_CHARACTERS_MAX:
        error.text = shorten(text)


def text_response(status: int, text: str) -> web.Response:
    """A plain text answer, cut where it is long. What cannot be encoded, of a client's input, is escaped."""
    return web.Response(status=status, body=_encoded(shorten(text)), headers=_PLAIN_TEXT)


def is_text(text: str) -> bool:
    """Whether it can be encoded again; bytes that are no UTF-8 were kept as surrogates."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def _document(field: str, message: str) -> bytes:
    error = {"field": _encoded(shorten(field)).decode(), "message": _encoded(shorten(message)).decode()}
    return orjson.dumps({"error": error})


def _encoded(text: str) -> bytes:
    return text.encode(errors="backslashreplace")
