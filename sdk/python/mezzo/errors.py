"""What can go wrong between a client and a cluster, as one tree.

MezzoError
├── InvalidRequest          a field of a request is wrong; nothing was changed
│   ├── JsonError           the JSON does not fit the message          (mezzo.jsonpb)
│   ├── RecordIOError       the record framing is broken               (mezzo.recordio)
│   └── ResourceError       a resource makes no sense                  (mezzo.resources)
├── Unauthorized            nobody knows who asks
├── Forbidden               who asks may not do that
├── NotFound                what the request names is not there
├── Conflict                it does not fit what is there, such as another's stream
│   └── AlreadyExists       it is there already
├── LimitExceeded           too much, too large, or too often
├── Unimplemented           this version does not do that
├── Unavailable             it may work later
│   └── NotLeading          somebody else leads, or nobody does
└── InternalError           a defect; the message says where

What each becomes on the wire, as a gRPC status or an HTTP answer, is the chassis' to say.
"""

from __future__ import annotations

TEXT_CHARACTERS_MAX = 1_000
"""How long the text of an error may be where it leaves a service: in statuses, answers and log lines."""


def shorten(text: str, characters_max: int = TEXT_CHARACTERS_MAX) -> str:
    """A text of at most so many characters: one that is longer is cut, and says how much was left out."""
    if len(text) <= characters_max:
        return text
    # The number of digits is that of the whole text at most, so there is room for them.
    kept = max(characters_max - len(f"… ({len(text)} characters left out)"), 0)
    return f"{text[:kept]}… ({len(text) - kept} characters left out)"


class MezzoError(Exception):
    """The root of the tree."""


class InvalidRequest(MezzoError):
    """A field of a request is wrong.

    `field` is its path (`accept.operations[0].launch.task_infos[2].task_id`), empty where the whole request is meant.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field
        self.message = message

    def below(self, parent: str) -> InvalidRequest:
        """The same error, as seen from the message that holds the field."""
        separator = "" if self.field.startswith("[") or not self.field else "."
        return type(self)(f"{parent}{separator}{self.field}", self.message)


class Unauthorized(MezzoError):
    """Nobody knows who asks."""


class Forbidden(MezzoError):
    """Who asks may not do that."""


class NotFound(MezzoError):
    """What the request names is not there."""


class Conflict(MezzoError):
    """The request does not fit what is there."""


class AlreadyExists(Conflict):
    """It is there already."""


class LimitExceeded(MezzoError):
    """Too much, too large, or too often."""


class Unimplemented(MezzoError):
    """This version does not do that."""


class Unavailable(MezzoError):
    """It may work later."""


class NotLeading(Unavailable):
    """Somebody else leads: at `leader` ("host:port"), where that is known."""

    def __init__(self, leader: str | None = None) -> None:
        super().__init__(f"not leading; the leader is {leader}" if leader else "not leading, and no leader is known")
        self.leader = leader


class InternalError(MezzoError):
    """A defect."""
