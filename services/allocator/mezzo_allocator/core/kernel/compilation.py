"""Which functions can be compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

COMPILABLE: list[Callable[..., Any]] = []

F = TypeVar("F", bound=Callable[..., Any])


def compilable(function: F) -> F:
    """Mark a function for compilation; the order of definition is the order of compilation."""
    COMPILABLE.append(function)
    return function
