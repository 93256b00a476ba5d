"""The certificate that a server shows: read when it starts, and refused there when its clients would refuse it."""

from __future__ import annotations

import _ssl
import ssl
import time
from pathlib import Path
from typing import Any

from mezzo_chassis.errors import Exit, StartupError
from mezzo_chassis.log import get_logger

EXPIRES_SOON_SECONDS = 30 * 86400

log = get_logger(__name__)


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """What a server needs to speak TLS, 1.2 or later.

    `certificate` is a file in PEM: the server's own, and then those that lead from it to one that clients trust. `key`
    is its private key, in PEM as well, and not encrypted.

    Raises:
        StartupError: a file cannot be read, the two do not belong together, or the certificate is not valid now.
    """
    for path in (certificate, key):
        _check_is_readable(path)
    until = _check_is_valid_now(certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key, password="")  # without one, OpenSSL asks the terminal
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise _refused(f"{key} is not the key of {certificate}") from None
        if error.reason is not None and error.reason.endswith(("_TOO_SMALL", "_TOO_WEAK")):
            raise _refused(f"{certificate} is too weak for OpenSSL: {error.reason}") from None
        raise _refused(f"{key} is not a private key in PEM, or it is encrypted") from None
    if until - time.time() < EXPIRES_SOON_SECONDS:
        log.warning("certificate expires soon", file=str(certificate), expires_at=_date(until))
    return context


def _check_is_readable(path: Path) -> None:
    try:
        path.read_bytes()
    except OSError as error:
        raise _refused(f"{path} cannot be read: {error.strerror}") from None


def _check_is_valid_now(certificate: Path) -> float:
    """Until when it is valid, in seconds since the epoch."""
    try:
        # Nothing public of the standard library tells the dates of a certificate that nobody has verified.
        decoded: dict[str, Any] = _ssl._test_decode_cert(str(certificate))  # type: ignore[attr-defined]  # noqa: SLF001
    except ssl.SSLError:
        raise _refused(f"{certificate} is not a certificate in PEM") from None
    since, until = (ssl.cert_time_to_seconds(decoded[name]) for name in ("notBefore", "notAfter"))
    if time.time() >= until:
        raise _refused(f"the certificate in {certificate} expired on {_date(until)}")
    if time.time() < since:
        raise _refused(f"the certificate in {certificate} is not valid before {_date(since)}")
    return until


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _refused(message: str) -> StartupError:
    return StartupError(Exit.BAD_CREDENTIALS, message)
