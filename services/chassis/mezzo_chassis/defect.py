"""What a mistake of ours is, and what is known of one that ended an incarnation: see `engine`."""

from __future__ import annotations

import asyncio

from mezzo.errors import shorten
from mezzo_chassis.quarantine import Suspect

MISTAKES = (Exception, asyncio.CancelledError)
"""What is a defect where it comes out of a core or an effect; the latter, of something that was cancelled long ago."""


class Defect(Exception):
    """A mistake of ours ended an incarnation; `__cause__` is what was raised."""

    def __init__(self, doing: str, suspects: tuple[Suspect, ...], cause: str, error: BaseException) -> None:
        """`doing` says at what; `cause` is the cause of the event that was being handled."""
        names = ", ".join(" ".join(filter(None, (each.event, each.peer, each.subject))) for each in suspects)
        super().__init__(shorten(f"{doing} ({names}): {in_words(error)}"))
        self.doing = doing
        self.suspects = suspects
        """What was being handled: one event, or none where it was none's; several where a commit failed, for all of a
        turn are committed together."""
        self.has_culprit = False
        """Whether one of them is refused from now on. Without, the next incarnation may meet the same defect."""
        self.cause = cause
        self.error = error
        self.__cause__ = error


def in_words(error: BaseException) -> str:
    """The class and the message of what was raised: one that cannot be put into words must not hide itself."""
    try:
        return shorten(f"{type(error).__name__}: {error}")
    except MISTAKES:
        return type(error).__name__
