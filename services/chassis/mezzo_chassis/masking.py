"""Credentials in addresses: a service tells where it connects to, never as whom."""

from __future__ import annotations

import re

SECRET = "<secret>"  # noqa: S105  what stands in the place of one

# `user:password@` of an address. A password may hold an @ of its own.
_USER_INFORMATION = re.compile(r"(?<=://)[^\s/]*@")
# The same where a slash or a blank stands in the password as it is, which makes it no address any more.
_ANYTHING_BEFORE_AN_AT = re.compile(r"(?<=:/).*@")


def without_credentials(text: str) -> str:
    """`text` without what stands before the host in any address in it."""
    return _USER_INFORMATION.sub("", text) if "@" in text else text


def in_one_line(text: str) -> str:
    """What is wrong, for standard error: one line, and nothing of a credential, however ill it is written."""
    return _ANYTHING_BEFORE_AN_AT.sub("/", " ".join(text.splitlines()))
