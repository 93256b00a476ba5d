"""Structured logs: one event a line, JSON for machines and a rendering for terminals, always to standard output.

Nothing secret is written: neither what is called so, nor credentials in addresses, wherever they stand.
"""

from __future__ import annotations

import logging
import math
import re
import sys
import uuid
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any

import structlog
from structlog.contextvars import bind_contextvars, clear_contextvars, get_contextvars

from mezzo.confidential import SECRET, without_credentials
from mezzo.errors import shorten

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
FORMATS = ("auto", "json", "console")
_TRACEBACKS = ("exception", "stack")
_SECRET_WORDS = ("password", "secret", "token", "credential", "authorization")
_MANY_LINES = ("exception", "stack")
# What others may choose to be found by: it is written to logs, headers and metadata as it is.
_CORRELATION_ID = re.compile(r"[\x21-\x7e]{1,128}")
_cause: ContextVar[Callable[[], str] | None] = ContextVar("mezzo_cause", default=None)


def configure(service: str, level: str = "info", format: str = "auto") -> None:  # noqa: A002  what the flag is called
    """Set up logging for the process. `format` is `json`, `console`, or `auto`: console on a terminal."""
    console = format == "console" or (format == "auto" and sys.stdout.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_cause,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]

    def add_service(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["service"] = service
        return event

    # Tracebacks are text before secrets are looked for, and plain: the pretty ones print local variables.
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty(), exception_formatter=structlog.dev.plain_traceback)
        if console
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        # What is not told costs next to nothing.
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                add_service,
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _hide_secrets,
                *([_escape_control_characters] if console else []),
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    logging.captureWarnings(True)  # otherwise they are lines of another form, on standard error
    set_level(level)
    # These tell every attempt to connect in lines of their own, kazoo also the password; ours tell what comes of it.
    logging.getLogger("kazoo").setLevel(logging.ERROR)
    for name in ("aiohttp.access", "grpc"):
        logging.getLogger(name).setLevel(logging.WARNING)


def set_level(level: str) -> None:
    """Change how much is logged, now. Raises `KeyError` for a level that is none."""
    logging.getLogger().setLevel(LEVELS[level])


def get_logger(name: str = "") -> structlog.stdlib.BoundLogger:
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def new_correlation_id() -> str:
    return uuid.uuid4().hex


def bind_correlation_id(correlation_id: str | None = None) -> str:
    """Make everything that this task logs from now on carry an id; a new one where none is given that could be."""
    clear_contextvars()
    given = correlation_id if correlation_id and _CORRELATION_ID.fullmatch(correlation_id) else None
    bound = given or new_correlation_id()
    bind_contextvars(correlation_id=bound)
    return bound


def correlation_id() -> str:
    """The id that this task's log lines carry; empty where none is bound."""
    return str(get_contextvars().get("correlation_id", ""))


def accepted_cause(given: str) -> str:
    """What another service says that its message follows from; nothing where that cannot be kept and written as it is.

    Whoever opens a stream chooses it: without a limit it would fill the memory of those whom it is passed on to.
    """
    return given if _CORRELATION_ID.fullmatch(given) else ""


def bind_cause(cause: Callable[[], str]) -> None:
    """Make everything that this context logs from now on carry what `cause` returns then, unless that is empty."""
    _cause.set(cause)


def current_cause() -> str:
    """What the work of this context follows from: see `mezzo_chassis.engine`. Empty where nothing is bound."""
    cause = _cause.get()
    return cause() if cause is not None else ""


def _add_cause(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    if "cause" not in event and (cause := current_cause()):
        event["cause"] = cause
    return event


def _hide_secrets(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {key: _redacted(key, value) for key, value in event.items()}


def _escape_control_characters(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Keep each event on its line: JSON escapes what clients choose, such as paths, and the console does not.

    Tracebacks have lines of their own.
    """
    return {key: _escaped(value, kept="\n" if key in _MANY_LINES else "") for key, value in event.items()}


def _escaped(value: Any, kept: str) -> Any:
    if not isinstance(value, str) or value.isprintable():
        return value
    return "".join(each if each.isprintable() or each in kept else ascii(each)[1:-1] for each in value)


def _redacted(key: str, value: Any) -> Any:
    """A value as it may be written; what is not made of plain values becomes text first."""
    if any(word in key.lower() for word in _SECRET_WORDS):
        return SECRET
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(name): _redacted(str(name), each) for name, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted("", each) for each in value]
    text = without_credentials(value if isinstance(value, str) else repr(value))
    return text if key in _TRACEBACKS else shorten(text)
