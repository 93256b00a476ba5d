"""Lists that are watched: what is shown again, and what is forgotten."""

from __future__ import annotations

from mezzo.cli.lists import Changes, Entry, Listing


def changed(changes: Changes, *tasks: tuple[str, str, str]) -> list[str]:
    """The states of the tasks that are shown, of those that are listed: each an id, a framework, and a state."""
    entries = [
        Entry({"id": task, "framework id": framework, "state": state}, {"state": state})
        for task, framework, state in tasks
    ]
    listing = Listing(("id", "state"), ("id", "state", "framework id"), entries)
    return [str(entry.row["state"]) for entry in changes.since_last(listing, entries)]


def test_what_has_changed_is_shown_again_and_nothing_else() -> None:
    changes = Changes()
    assert changed(changes, ("a", "F1", "staging"), ("b", "F1", "running")) == ["staging", "running"]
    assert changed(changes, ("a", "F1", "running"), ("b", "F1", "running")) == ["running"]
    assert changed(changes, ("a", "F1", "running"), ("b", "F1", "running")) == []


def test_tasks_of_one_id_are_told_apart_by_their_frameworks() -> None:
    changes = Changes()
    both = (("a", "F1", "running"), ("a", "F2", "staging"))
    assert changed(changes, *both) == ["running", "staging"]
    assert changed(changes, *both) == []


def test_what_is_not_listed_any_more_is_forgotten() -> None:
    changes = Changes()
    changed(changes, ("a", "F1", "running"))
    assert changed(changes) == []
    assert changed(changes, ("a", "F1", "running")) == ["running"]
