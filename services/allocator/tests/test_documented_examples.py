"""The worked examples of `docs/allocation.md`, played through with the real core.

An example is a fenced block marked `example`. Its lines are played in order; a line that begins with an arrow says what
follows, and is compared with what the allocator does.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from itertools import groupby
from pathlib import Path

import pytest

from mezzo.allocator.v1 import allocator_pb2 as wire
from mezzo.resources import Resources, parse, parse_quantities
from mezzo_allocator.config import Config
from mezzo_allocator.core import eligibility, explain
from mezzo_allocator.core import events as ev
from mezzo_allocator.core.measures import dominant_shares
from mezzo_allocator.metrics import AllocatorMetrics
from mezzo_allocator.testing import CAPABILITY, Conversation, brief
from mezzo_chassis.config import load

PAGE = Path(__file__).resolve().parents[3] / "docs" / "allocation.md"
ARROW = "→"
NOTHING = "nothing is offered"
FOREVER_SECONDS = 1e6


def examples() -> list[str]:
    return re.findall(r"^```example\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


class Player:
    """Plays the lines of one example."""

    def __init__(self) -> None:
        self.cluster = Conversation()
        self._demands: dict[str, Resources] = {}
        self._roles: dict[str, dict[str, object]] = {}
        self._offered: dict[tuple[str, str], ev.Allocation] = {}
        self._revived: set[str] = set()

    # -- what happens --------------------------------------------------------------------------------------------------

    def play(self, line: str) -> None:
        for pattern, happening in self._HAPPENINGS:
            found = re.fullmatch(pattern, line)
            if found:
                happening(self, **found.groupdict())
                return
        raise AssertionError(f"nobody knows what happens at {line!r}")

    def _agent(self, name: str, resources: str) -> None:
        self.cluster.agent(name, resources)

    def _framework(self, name: str, role: str, capability: str | None, demand: str | None) -> None:
        capabilities = [CAPABILITY.Type.Value(capability)] if capability else []
        self.cluster.framework(name, role, capabilities=capabilities)
        if demand:
            self._demands[name] = parse(demand)

    def _role(self, name: str, setting: str, value: str) -> None:
        settings = self._roles.setdefault(name, {})
        if setting == "weight":
            settings["weight"] = float(value)
        else:
            settings[f"{setting}s"] = {key: amount / 1000 for key, amount in parse_quantities(value).items()}
        self.cluster.role(name, **settings)  # type: ignore[arg-type]

    def _decline(self, name: str, agent: str, seconds: str) -> None:
        self.cluster.decline(self._offered.pop((name, agent)), float(seconds))

    def _suppress(self, name: str) -> None:
        self.cluster.suppress(name)

    def _revive(self, name: str) -> None:
        self.cluster.revive(name, in_vain=name in self._revived)
        self._revived.add(name)

    def _wait(self, seconds: str) -> None:
        self.cluster.now += float(seconds)

    def _interval(self) -> None:
        self.cluster.say(ev.FullPassWanted())

    _HAPPENINGS: tuple[tuple[str, Callable[..., None]], ...] = (
        (r"agent (?P<name>\S+): (?P<resources>\S+)", _agent),
        (
            r"framework (?P<name>\S+) in (?P<role>[^ ,]+)( with (?P<capability>\w+))?(, tasks of (?P<demand>\S+))?",
            _framework,
        ),
        (r"role (?P<name>\S+): (?P<setting>weight|guarantee|limit) (?P<value>\S+)", _role),
        (r"(?P<name>\S+) declines (?P<agent>\S+) for (?P<seconds>\d+) seconds", _decline),
        (r"(?P<name>\S+) suppresses offers", _suppress),
        (r"(?P<name>\S+) revives", _revive),
        (r"(?P<seconds>\d+) seconds pass", _wait),
        (r"the interval passes", _interval),
    )

    # -- what follows --------------------------------------------------------------------------------------------------

    def check(self, lines: list[str]) -> None:
        """Lines that follow each other without anything happening between them are about one moment."""
        offers = [line for line in lines if re.match(r"\S+ is offered\b", line)]
        if offers:
            assert self._offers() == ([] if offers == [NOTHING] else offers)
        for line in lines:
            if line not in offers:
                self._check_one(line)

    def _offers(self) -> list[str]:
        offers = []
        for allocation in self.cluster.cycle():
            framework, agent, resources = self.cluster.summary(allocation)
            self._offered[framework, agent] = allocation
            offers.append(f"{framework} is offered {agent}: {resources}")
        return offers

    def _check_one(self, line: str) -> None:
        subject, _, expected = line.partition(": ")
        if subject == "launched until nothing fits":
            launched = Counter(iter(self._launch, None))
            assert ", ".join(f"{name} {launched[name]}" for name in self._demands) == expected
        elif subject.endswith(" launches") or line == "nobody launches":
            name = self._launch()
            assert line.startswith(f"{name or 'nobody'} launches")
            if expected:
                self._check_shares(expected)
        elif subject == "shares":
            self._check_shares(expected)
        elif subject == "set aside":
            assert self._text(self.cluster.core.state.quota.headroom()) == expected
        elif subject.startswith("counted against "):
            role = subject.removeprefix("counted against ")
            assert self._text(self.cluster.core.state.quota.usage(role)) == expected
        elif subject.startswith("why "):
            (explanation,) = self.cluster.core.explain(subject.removeprefix("why "))
            counts = Counter(explanation.verdicts.values())
            assert ", ".join(f"{rule} {counts[rule]}" for rule in sorted(counts)) == expected
        else:
            raise AssertionError(f"nobody knows how to check {line!r}")

    def _check_shares(self, expected: str) -> None:
        shares = dominant_shares(self.cluster.core.state)
        for part in expected.split(", "):
            role, fraction = part.split(" ")
            assert shares[role] == pytest.approx(float(Fraction(fraction))), part

    @staticmethod
    def _text(thousandths: dict[str, int]) -> str:
        return brief(parse(";".join(f"{name}:{amount / 1000}" for name, amount in thousandths.items())))

    def _launch(self) -> str | None:
        """The first framework that is offered enough launches one task; who is offered too little declines for good."""
        while True:
            allocations = self.cluster.cycle()
            if not allocations:
                return None
            (allocation,) = allocations
            name = self.cluster.framework_of(allocation)
            demand = self._demands[name]
            if Resources.sum(allocation.resources).contains(demand):
                self.cluster.use(allocation, str(demand))
                self.cluster.revive(name)
                return name
            self.cluster.decline(allocation, FOREVER_SECONDS)


@pytest.mark.parametrize("example", examples(), ids=lambda text: text.splitlines()[0])
def test_what_the_page_says_is_what_the_allocator_does(example: str) -> None:
    player = Player()
    lines = [line.strip() for line in example.splitlines() if line.strip()]
    for follows, group in groupby(lines, key=lambda line: line.startswith(ARROW)):
        if follows:
            player.check([line.removeprefix(ARROW).strip() for line in group])
        else:
            for line in group:
                player.play(line)


def test_the_page_has_examples_and_each_of_them_says_what_follows() -> None:
    assert len(examples()) >= 8
    assert all(ARROW in example for example in examples())


@pytest.mark.parametrize(
    "wrong",
    [
        "agent a: cpus:1;mem:64\nframework f in eng\n→ nothing is offered",
        "agent a: cpus:1;mem:64\nframework f in eng\n→ f is offered a: cpus:2;mem:64",
        "agent a: cpus:1;mem:64\nframework f in eng\n→ f is offered a: cpus:1;mem:64\n→ shares: eng 1/2",
        "agent a: cpus:1;mem:64\nan elephant\n→ nothing is offered",
        "agent a: cpus:1;mem:64\n→ an elephant",
    ],
)
def test_what_is_wrong_in_an_example_is_noticed(wrong: str) -> None:
    with pytest.raises(AssertionError):
        test_what_the_page_says_is_what_the_allocator_does(wrong)


def test_the_metrics_that_the_page_names_are_told() -> None:
    metrics = AllocatorMetrics("1.0")
    metrics.watch(Conversation().core)
    names = {family.name + ("_total" if family.type == "counter" else "") for family in metrics.registry.collect()}
    named = re.findall(r"`(?:mezzo_allocator|…)(_\w+)", PAGE.read_text(encoding="utf-8"))
    assert len(named) >= 10
    assert {f"mezzo_allocator{name}" for name in named} <= names


def test_the_flags_that_the_page_lists_are_there_with_their_defaults() -> None:
    rows = re.findall(r"^\| `--(\w+)` \| (\S+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) >= 4
    listed = [
        f"--{flag}={'' if default == 'none' else default.strip('`')}".replace("\\|", "|") for flag, default in rows
    ]
    assert load(Config, listed, service="allocator") == load(Config, [], service="allocator")


def test_the_fields_of_explanations_are_all_on_the_page() -> None:
    named = set(re.findall(r"`(\w+)`", PAGE.read_text(encoding="utf-8")))
    assert named >= {field.name for field in wire.Explanation.DESCRIPTOR.fields}


def test_the_rules_that_the_page_lists_are_those_that_explanations_name_and_in_their_order() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \| (?:everybody|frameworks|those|roles)", page, re.MULTILINE) == [
        explain.INACTIVE,
        eligibility.RULE_GPU,
        eligibility.RULE_REGION,
        eligibility.RULE_AGENT_CAPABILITY,
        eligibility.RULE_CONSTRAINT,
        explain.NOTHING_FREE,
        explain.NOT_VISIBLE,
        explain.BELOW_MINIMUM,
        explain.QUOTA_LIMIT,
        explain.QUOTA_HEADROOM,
        explain.REFUSED,
    ]
