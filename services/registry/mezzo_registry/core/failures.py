"""What the core raises when it, and not a peer, is wrong. Nothing catches these: what leads ends.

Exception
├── InvalidTransition      something was asked to enter a state that cannot follow its own
└── InvariantViolation     the cluster state contradicts itself

They are no `MezzoError`: those refuse a call, and change nothing.
"""


class InvalidTransition(Exception):
    """An agent, framework or task cannot go from one state to another."""

    def __init__(self, kind: str, name: str, before: str, after: str, story: tuple[str, ...]) -> None:
        """`story` is what happened to it, and to what it depends on, before: lines, the oldest first."""
        super().__init__("\n  ".join((f"{kind} {name} cannot go from {before} to {after}", *story)))
        self.kind = kind
        self.name = name
        self.story = story


class InvariantViolation(Exception):
    """The cluster state contradicts itself; the message says how."""
