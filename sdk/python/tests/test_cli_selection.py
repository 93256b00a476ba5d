"""Whom the words of a verb mean: ids and beginnings of them, frameworks, labels; and lengths of time."""

from __future__ import annotations

from typing import Any

import pytest
import typer

from mezzo.cli import labels, periods
from mezzo.cli.errors import ApiError
from mezzo.cli.ids import resolve
from mezzo.cli.lookup import agent_ids_of, framework_id_of
from mezzo.cli.selection import Selection, select


def task(task_id: str, framework: str = "F1", state: str = "TASK_RUNNING", **of_it: str) -> dict[str, Any]:
    listed = [{"key": key, "value": value} for key, value in of_it.items()]
    return {"id": task_id, "framework_id": framework, "state": state, "labels": listed}


class Known:
    """A gateway that knows these tasks, and two frameworks, of which one has ended."""

    def __init__(self, *tasks: dict[str, Any]) -> None:
        self._tasks = tasks

    async def rows(self, path: str, *keys: str, **_query: str) -> list[dict[str, Any]]:
        if path == "/tasks":
            return list(self._tasks)
        completed = "completed_frameworks" in keys
        return [{"id": "F2", "name": "old"}] if completed else [{"id": "F1", "name": "web"}]


TASKS = Known(
    task("web-1", tier="front"),
    task("web-10", tier="front", zone="a"),
    task("batch-1", "F2", "TASK_FINISHED", tier="back"),
    task("batch-2", "F2"),
)


async def selected(
    *names: str, framework: str | None = None, label: tuple[str, ...] = (), ended: bool = False
) -> list[str]:
    found = await select(TASKS, Selection.of(names, framework, label), ended=ended)  # type: ignore[arg-type]
    return [each["id"] for each in found]


def test_the_last_part_of_an_id_will_do_where_none_begins_so() -> None:
    ids = ["f00d-S1", "f00d-S10", "cafe-S2"]
    assert resolve("S1", ids, "agent") == "f00d-S1"
    assert resolve("S2", [*ids, "S20"], "agent") == "S20"
    with pytest.raises(ApiError, match="S2 is ambiguous: beef-S2, cafe-S2"):
        resolve("S2", [*ids, "beef-S2"], "agent")


def test_an_id_may_be_cut_where_only_one_begins_so() -> None:
    assert resolve("ab", ["abc", "abc", "x"], "agent") == "abc"
    assert resolve("a", ["abc", "a"], "agent") == "a"


@pytest.mark.parametrize(
    ("word", "status", "said"),
    [
        ("", 404, "no agent has an empty id"),
        ("z", 404, "agent z not found; mezzo agents lists them"),
        ("a", 409, "a is ambiguous: a1, a2, a3, a4, a5 and 1 more"),
    ],
)
def test_an_id_that_means_none_or_several_is_refused(word: str, status: int, said: str) -> None:
    with pytest.raises(ApiError) as refused:
        resolve(word, [f"a{number}" for number in range(1, 7)], "agent")
    assert (refused.value.status, str(refused.value)) == (status, said)


@pytest.mark.parametrize(
    ("names", "more", "expected"),
    [
        (("web-1",), {}, ["web-1"]),
        (("web-10", "web-1", "web-10"), {}, ["web-10", "web-1"]),
        (("batch-1",), {}, ["batch-1"]),
        # An active task goes before ended ones.
        (("batch-",), {}, ["batch-2"]),
        ((), {"framework": "web"}, ["web-1", "web-10"]),
        ((), {"framework": "F1"}, ["web-1", "web-10"]),
        ((), {"framework": "old"}, ["batch-2"]),
        ((), {"framework": "old", "ended": True}, ["batch-1", "batch-2"]),
        ((), {"label": ("tier=front",)}, ["web-1", "web-10"]),
        ((), {"label": ("tier=front", "zone")}, ["web-10"]),
        (("web-1",), {"label": ("zone=a",)}, ["web-10"]),
    ],
    ids=str,
)
async def test_tasks_are_selected_by_id_framework_and_label(
    names: tuple[str, ...], more: dict[str, Any], expected: list[str]
) -> None:
    assert await selected(*names, **more) == expected


@pytest.mark.parametrize(
    ("names", "more", "status", "said"),
    [
        (("nope",), {}, 404, "task nope not found; mezzo tasks --all lists them"),
        (("",), {}, 404, "no task has an empty id"),
        (("web",), {}, 409, "web is ambiguous: web-1, web-10"),
        (("web-1",), {"framework": "old"}, 404, "task web-1 not found; mezzo tasks --all lists them"),
        ((), {"framework": "nope"}, 404, "framework nope not found; mezzo frameworks --all lists them"),
        ((), {"label": ("tier=back",)}, 404, "no active task matches"),
        ((), {"label": ("tier=side",), "ended": True}, 404, "no task matches"),
    ],
    ids=str,
)
async def test_a_selection_of_nobody_or_of_whom_is_not_clear_is_refused(
    names: tuple[str, ...], more: dict[str, Any], status: int, said: str
) -> None:
    with pytest.raises(ApiError) as refused:
        await selected(*names, **more)
    assert (refused.value.status, str(refused.value)) == (status, said)


async def test_one_id_of_two_frameworks_is_told_with_both() -> None:
    twins = Known(task("t", "F1"), task("t", "F2"))
    with pytest.raises(ApiError, match="t is ambiguous: frameworks F1, F2 have it; use --framework"):
        await select(twins, Selection(["t"]))  # type: ignore[arg-type]


def test_something_has_to_be_selected() -> None:
    with pytest.raises(typer.BadParameter, match="name at least one task"):
        Selection.of([], None, [])


def test_an_empty_framework_does_not_stand_for_all() -> None:
    with pytest.raises(typer.BadParameter, match="is empty"):
        Selection.of(["web-1"], "", ["tier=front"])


class Nameless:
    """A gateway that knows a framework without a name, and an agent of which no host name is known."""

    async def rows(self, _path: str, *keys: str) -> list[dict[str, Any]]:
        return [] if "completed_frameworks" in keys else [{"id": "F1", "name": ""}]

    async def agents(self) -> list[dict[str, Any]]:
        return [{"id": "S1", "hostname": "", "active": False}]


async def test_an_empty_word_means_nobody_even_where_somebody_has_no_name() -> None:
    api: Any = Nameless()
    with pytest.raises(ApiError, match="no framework has an empty id"):
        await framework_id_of(api, "")
    with pytest.raises(ApiError, match="no agent has an empty id"):
        await agent_ids_of(api, "")


@pytest.mark.parametrize("text", ["", "=x"])
def test_a_label_has_a_name(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="expected NAME=VALUE, or NAME"):
        labels.selector([text])
    with pytest.raises(typer.BadParameter, match="expected NAME=VALUE"):
        labels.pair(text, "--label")


def test_a_label_without_a_value_is_one_too() -> None:
    assert labels.match({"a": None, "b": ""}, [{"key": "a"}, {"key": "b", "value": ""}])
    assert not labels.match({"a": "1"}, [{"key": "a"}])


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("1.5m", 90), ("2h", 7200), ("250ms", 0.25), ("90secs", 90), ("1d", 86400)]
)
def test_a_length_of_time_has_a_unit(text: str, seconds: float) -> None:
    assert periods.seconds(text, "--grace") == seconds


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("90", "'90' has no unit: 90s, for example"),
        ("soon", "'soon' is not a length of time such as 90s, 5m or 2h"),
        ("-5s", "'-5s' is not a length of time such as 90s, 5m or 2h"),
        ("5y", "'5y': y is not a unit of time; must be one of s, m, h, d, w, "),
        ("20000w", "'20000weeks' is too long: a duration is shorter than 292 years"),
    ],
)
def test_a_length_of_time_that_is_none_is_told_with_one_that_is(text: str, said: str) -> None:
    with pytest.raises(typer.BadParameter) as refused:
        periods.seconds(text, "--grace")
    assert refused.value.message.startswith(said)
    assert refused.value.param_hint == "--grace"
