"""The Mezzo SDK."""

from __future__ import annotations

__version__: str
"""The version of the installed distribution."""


def __getattr__(name: str) -> str:
    # Looked up when it is asked for: reading the metadata of distributions takes longer than importing messages.
    if name == "__version__":
        from importlib.metadata import version

        return version("mezzo")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
