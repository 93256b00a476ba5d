"""What the core raises when it, and not a peer, is wrong: a defect, which ends the incarnation.

AssertionError
├── InvalidTransition      a task or an executor was to enter a phase that cannot follow its own
└── InvariantViolation     the state contradicts itself
"""

from __future__ import annotations

from collections.abc import Iterable


class InvalidTransition(AssertionError):
    """`what` cannot go from one phase to another; the message ends with the last rows of its story."""

    def __init__(self, what: str, current: str, wanted: str, story: Iterable[str] = ()) -> None:
        super().__init__("\n  ".join((f"{what} cannot go from {current} to {wanted}", *story)))


class InvariantViolation(AssertionError):
    """The state contradicts itself; the message ends with the last rows of the story."""
