"""Files and folders that nobody but their owner may look into, whatever the umask is."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER_MODE = 0o700
FILE_MODE = 0o600
OTHERS = 0o007


def opener(path: str, flags: int) -> int:
    """For `open(…, opener=opener)`: a file that it makes is its owner's alone. One that exists keeps its mode."""
    return os.open(path, flags | os.O_CLOEXEC, FILE_MODE)


def make_folder(path: Path, mode: int = FOLDER_MODE) -> None:
    """Make a folder of this mode, and those above it as the umask has them; one that exists gets the mode, too."""
    path.mkdir(mode=mode, parents=True, exist_ok=True)
    path.chmod(mode)


def make_file(path: Path) -> None:
    """Make an empty file that is its owner's alone, unless there is one."""
    os.close(opener(str(path), os.O_WRONLY | os.O_CREAT))


def close_to_others(path: Path) -> None:
    """Take from everybody but owner and group what they may do with a file; a missing one is none's."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if mode & OTHERS:
        path.chmod(mode & 0o7777 & ~OTHERS)
