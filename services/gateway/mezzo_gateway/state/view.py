"""Who may see what of the copy: answers are made for a view, and kept for everybody who has the same one.

This is the place for authorization of reads: a view is to hold what its principal may see, and whatever makes an answer
is to be given the view. Until then there is one, and everybody has it.
"""

from __future__ import annotations

from enum import Enum


class View(Enum):
    """What may be seen. Two principals with equal views are given the same bytes."""

    EVERYTHING = "everything"


def view_of(principal: str) -> View:
    """What a principal may see; "": somebody who is not authenticated."""
    del principal
    return View.EVERYTHING
