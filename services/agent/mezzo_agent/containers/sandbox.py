"""Sandboxes on the disk: made with owner and mode, `latest` pointed at the newest, empty folders above removed."""

import os
import threading
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from mezzo_agent.adapters.users import Credentials
from mezzo_agent.core.sandbox_names import LATEST, RUNS

SANDBOX_MODE = 0o750

# Sandboxes are removed in another thread than they are made in: no folder may go while one is being made in it.
_layout = threading.Lock()


def create(sandbox: Path, owner: Credentials | None = None) -> None:
    """Make the sandbox, mode 0750, owned by the task's user, and point `latest` at the run that it is, or is in.

    The sandbox of a pod's task lies in the pod's own, where a task may have put links in the way: below a folder that
    belongs to somebody else none is followed. Making a sandbox that is there already is not an error (an agent that
    died in between does it again).

    Raises:
        OSError: the file system refuses.
    """
    with _layout:
        opened = _make(sandbox)
        try:
            os.fchmod(opened, SANDBOX_MODE)
            if owner is not None:
                os.fchown(opened, owner.uid, owner.gid)
        finally:
            os.close(opened)
        for run in (sandbox, sandbox.parent.parent):
            if run.parent.name == RUNS:
                point_latest(run)


def prune(run: Path) -> None:
    """After a run was removed: remove what only led to it, up to the framework's folder, unless something is in it.

    Without this each executor id that was ever used would leave three folders and a link that leads nowhere.
    """
    if run.parent.name != RUNS:
        return
    runs_folder = run.parent
    executor_folder = runs_folder.parent
    with _layout, suppress(OSError):  # a folder that has something in it stays, and so does all above it
        if os.listdir(runs_folder) == [LATEST]:
            (runs_folder / LATEST).unlink()
        for folder in (runs_folder, executor_folder, executor_folder.parent, executor_folder.parent.parent):
            folder.rmdir()


def _make(sandbox: Path) -> int:
    """A descriptor of the sandbox, made with the folders above it. The caller closes it."""
    folder, steps = _shortcut(sandbox) or (os.open("/", os.O_PATH), sandbox.absolute().parts[1:])
    for step in steps:
        below = _enter(folder, step)
        os.close(folder)
        folder = below
    try:
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)
    finally:
        os.close(folder)


def _shortcut(sandbox: Path) -> tuple[int, tuple[str, ...]] | None:
    """A descriptor of the folder of a framework's executors, and the steps from there; None where it is not there yet.

    No task can have put anything in the way above a folder that is the agent's: all but the first sandbox of a
    framework, and those in pods, are made from here.
    """
    if sandbox.parent.name != RUNS:
        return None
    try:
        folder = os.open(sandbox.parents[2], os.O_PATH | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    if _is_ours(folder):
        return folder, sandbox.parts[-3:]
    os.close(folder)
    return None


def _is_ours(folder: int) -> bool:
    return os.fstat(folder).st_uid in (0, os.geteuid())


def _enter(folder: int, step: str) -> int:
    """A descriptor of the folder below, which is made if it is not there. The first one is closed if that fails."""
    flags = os.O_PATH | os.O_DIRECTORY | (0 if _is_ours(folder) else os.O_NOFOLLOW)
    try:
        try:
            return os.open(step, flags, dir_fd=folder)
        except FileNotFoundError:
            os.mkdir(step, 0o755, dir_fd=folder)
            return os.open(step, flags | os.O_NOFOLLOW, dir_fd=folder)
    except OSError:
        os.close(folder)
        raise


def point_latest(folder: Path) -> None:
    """Point `latest`, beside the folder, at it; at every moment the link is there and leads to one or the other."""
    link = f"{folder.parent}/{LATEST}"
    try:
        os.symlink(folder.name, link)
    except FileExistsError:
        _replace_link(Path(link), folder)


def _replace_link(link: Path, folder: Path) -> None:
    replacement = folder.parent / f".{LATEST}-{uuid4().hex}"
    replacement.symlink_to(folder.name)
    replacement.replace(link)
