"""What the file system under a test can do."""

from __future__ import annotations

import os
from pathlib import Path


def attributes_missing(folder: Path) -> str | None:
    """Why files in the folder have no extended attributes of users; None where they have."""
    probe = folder / ".attributes"
    probe.touch()
    try:
        os.setxattr(probe, "user.mezzo.probe", b"1")
    except OSError as error:
        return f"the file system of {folder} has no extended attributes: {error.strerror}"
    finally:
        probe.unlink()
    return None
