"""What may be an id. Ids become names of folders on agents, so the rules are those of file names.

Source: src/common/validation.cpp and src/slave/validation.cpp of apache/mesos. Names of roles are in
`mezzo.resources.role`.
"""

from __future__ import annotations

import re
from typing import Final

from mesos.v1 import mesos_pb2 as mesos
from mezzo.errors import InvalidRequest

ID_BYTES_MAX: Final = 255
"""NAME_MAX: the longest name of a file, in bytes of UTF-8."""

CONTAINER_NESTING_MAX: Final = 32
"""How many containers a container may be in."""

SHOWN_CHARACTERS_MAX: Final = 64
"""How much of a wrong id an error repeats."""

_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f/\\]")
_FORBIDDEN_IN_CONTAINER_IDS = re.compile(r"[. ]")


def check_id(value: str, field: str) -> None:
    """Refuse what cannot be the id of a task, executor, framework, agent, persistent volume or resource provider.

    Raises:
        InvalidRequest: it is empty, longer than a file name may be, "." or "..", or has a slash, backslash or control
            character in it.
    """
    if not value:
        raise InvalidRequest(field, "must not be empty")
    size = len(value) if value.isascii() else len(value.encode(errors="replace"))
    if size > ID_BYTES_MAX:
        raise InvalidRequest(field, f"has {size} bytes; at most {ID_BYTES_MAX} are allowed")
    if value in (".", ".."):
        raise InvalidRequest(field, f"must not be '{value}'")
    if _FORBIDDEN.search(value):
        raise InvalidRequest(
            field,
            f"{value[:SHOWN_CHARACTERS_MAX]!r} contains invalid characters: slash, backslash or control characters",
        )


# They follow the same rules today; each kind has its own function, so that a rule for one of them has a place.


def check_task_id(task_id: mesos.TaskID, field: str) -> None:
    """Refuse what cannot be the id of a task: see `check_id`."""
    check_id(task_id.value, f"{field}.value")


def check_executor_id(executor_id: mesos.ExecutorID, field: str) -> None:
    """Refuse what cannot be the id of an executor: see `check_id`."""
    check_id(executor_id.value, f"{field}.value")


def check_framework_id(framework_id: mesos.FrameworkID, field: str) -> None:
    """Refuse what cannot be the id of a framework: see `check_id`."""
    check_id(framework_id.value, f"{field}.value")


def check_agent_id(agent_id: mesos.AgentID, field: str) -> None:
    """Refuse what cannot be the id of an agent: see `check_id`."""
    check_id(agent_id.value, f"{field}.value")


def check_container_id(container_id: mesos.ContainerID, field: str) -> None:
    """Refuse what cannot be the id of a container: besides `check_id`, dots separate the ids of nested ones.

    Raises:
        InvalidRequest: it or that of a container around it is wrong, or it is nested too deep.
    """
    for _ in range(CONTAINER_NESTING_MAX + 1):
        check_id(container_id.value, f"{field}.value")
        if _FORBIDDEN_IN_CONTAINER_IDS.search(container_id.value):
            raise InvalidRequest(
                f"{field}.value", f"{container_id.value[:SHOWN_CHARACTERS_MAX]!r} contains a period or a space"
            )
        if not container_id.HasField("parent"):
            return
        container_id, field = container_id.parent, f"{field}.parent"
    raise InvalidRequest(field, f"is nested in more than {CONTAINER_NESTING_MAX} containers")


def check_text(value: str, field: str) -> None:
    """Refuse what cannot be handed to a program: text that ends early for whoever counts to the first null character.

    Raises:
        InvalidRequest: it has a null character in it.
    """
    if "\0" in value:
        raise InvalidRequest(field, "must not contain a null character")
