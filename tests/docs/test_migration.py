"""The page for who comes from Mesos names flags: each is one of ours, of the service that it is said to be given to."""

import dataclasses
import re
from pathlib import Path

import pytest

import mezzo_agent.config
import mezzo_allocator.config
import mezzo_gateway.config
import mezzo_registry.config
from mezzo.migration.flags import FORMER_NAMES, TABLES, Fate, Program, entry_of

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/operations/migration.md"
FLAGS = {
    service: {field.name for field in dataclasses.fields(config)}
    for service, config in {
        "agent": mezzo_agent.config.Config,
        "allocator": mezzo_allocator.config.Config,
        "gateway": mezzo_gateway.config.Config,
        "registry": mezzo_registry.config.Config,
    }.items()
}


def rows() -> list[tuple[str, str, str]]:
    """(Mesos' flags, who is given them, as what) of the table of flags."""
    table = PAGE.read_text().partition("| Mesos' master | is given to | as |")[2].partition("\n\n")[0]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table.splitlines()[2:]]
    return [(flags, who, how) for flags, who, how in cells]


def names(text: str) -> list[str]:
    return re.findall(r"--([a-z0-9_]+)", text)


@pytest.mark.parametrize(("flags", "who", "how"), rows())
def test_flags_are_given_to_who_has_them(flags: str, who: str, how: str) -> None:
    services = FLAGS if who == "each" else {service: FLAGS[service] for service in FLAGS if service in who}
    assert bool(services) == (who != "nobody")
    wanted = names(how)[:1] if how.startswith("`--") else names(flags)
    for service, has in services.items():
        assert set(wanted) <= has, service


def frameworks() -> list[list[str]]:
    """Framework, version, what it speaks, whether it works, and why."""
    table = PAGE.read_text().partition("| framework | version | speaks | works | why |")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table.splitlines()[2:]]


@pytest.mark.parametrize("row", frameworks(), ids=lambda row: f"{row[0]} {row[1]}")
def test_a_framework_is_said_to_work_only_where_a_test_runs_it(row: list[str]) -> None:
    _, _, speaks, works, why = row
    assert works in ("tested", "expected", "no")
    if speaks == "v0":
        assert works == "no"
    if works == "tested":
        for path, test in re.findall(r"`(tests/compat/\S+?)::(\w+)`", why) or [("no", "test")]:
            assert f"def {test}(" in (ROOT / path).read_text(), why
    else:
        assert "tests/" not in why


def test_the_readme_says_at_its_beginning_what_is_not_served() -> None:
    first = (ROOT / "README.md").read_text().split("\n\n")[1]
    assert "libmesos" in first
    assert "docs/operations/migration.md#frameworks" in first
    assert "\n## Frameworks\n" in PAGE.read_text()


def documented() -> dict[Program, dict[str, list[str]]]:
    """The flags that Mesos documents, with their former names."""
    found: dict[Program, dict[str, list[str]]] = {program: {} for program in Program}
    for line in (Path(__file__).parent / "mesos-flags.txt").read_text().splitlines():
        if not line.startswith("#"):
            whose, _, flags = line.partition(" ")
            name, *former = flags.split(", ")
            for program in Program if whose == "both" else [Program(whose)]:
                found[program][name] = former
    return found


@pytest.mark.parametrize("program", list(Program))
def test_every_flag_that_mesos_documents_is_in_the_table_and_no_other(program: Program) -> None:
    names = documented()[program]
    assert sorted(TABLES[program]) == sorted(names)
    for name, former in names.items():
        for each in former:
            assert FORMER_NAMES[each] == name


OWN = {"help", "version"}
"""Every service has them, and no field for them."""


@pytest.mark.parametrize("program", list(Program))
def test_a_flag_is_said_to_be_given_to_services_that_have_it(program: Program) -> None:
    for name, entry in TABLES[program].items():
        for service, flag in entry.targets:
            assert flag in FLAGS[service] | OWN, f"--{name} is said to be --{flag} of the {service}"
        assert (entry.fate is Fate.SAME) == (bool(entry.targets) and all(flag == name for _, flag in entry.targets))


@pytest.mark.parametrize("program", list(Program))
def test_a_flag_that_a_service_has_is_not_said_to_be_missing(program: Program) -> None:
    services = ("agent",) if program is Program.AGENT else ("registry", "allocator", "gateway")
    has = set().union(*(FLAGS[service] for service in services))
    # A master's --allocator is the name of a module, and a registry's the address of a service.
    said = {name for name, entry in TABLES[program].items() if not entry.targets} - {"allocator"}
    assert not said & has, "mezzo.migration.flags: say _same(…) of these"


def test_flags_of_the_table_on_the_page_are_what_the_command_says() -> None:
    for flags, who, _ in rows():
        for name in names(flags):
            entry = entry_of(Program.MASTER, name)
            services = {service for service, _ in entry.targets}
            if who == "nobody":
                assert not services, name
            elif name != "allocator":
                assert services >= (set(FLAGS) - {"agent"} if who == "each" else set(re.findall(r"\w+", who))), name


def test_nobody_has_what_is_said_to_be_gone() -> None:
    gone = {name for flags, who, _ in rows() if who == "nobody" for name in names(flags)}
    assert gone
    assert not gone & set().union(*FLAGS.values())
