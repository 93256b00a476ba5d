"""What the core raises when it, and not a peer, is wrong.

MezzoError
├── InvalidTransition      something was asked to enter a state that cannot follow its own
└── InvariantViolation     the cluster state contradicts itself
"""

from mezzo.errors import MezzoError


class InvalidTransition(MezzoError):
    """`what` with the id `name` cannot go from one state to another. `story` is what happened to it before."""

    def __init__(self, what: str, name: str, state: str, wanted: str) -> None:
        super().__init__(f"{what} {name} cannot go from {state} to {wanted}")
        self.what = what
        self.name = name
        self.story: tuple[str, ...] = ()

    def add_story(self, story: tuple[str, ...]) -> None:
        """Add the last events that name it, oldest first."""
        self.story = story

    def __str__(self) -> str:
        return "\n  ".join((super().__str__(), *self.story))


class InvariantViolation(MezzoError):
    """The cluster state contradicts itself; the message says how."""
