"""What differs from one simulated cluster to another: all of it is drawn from the seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, fields

Range = tuple[float, float]

FAULTS = (
    "break_connection",
    "partition_hosts",
    "kill_agent",
    "power_off_agent",
    "swap_addresses",
    "lose_agent_for_long",
    "kill_registry",
    "pause_registry",
    "cut_off_from_zookeeper",
    "stop_zookeeper",
    "refuse_writes",
    "kill_allocator",
    "pause_agent",
    "restart_framework",
    "fill_disk",
    "tear_journal",
    "damage_journal",
    "jump_clock",
)
"""Names of the methods of `Faults`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """A cluster, its load and its misfortunes. Times in seconds; probabilities from 0 to 1."""

    # How many of what.
    registries: int
    allocators: int
    agents: int
    frameworks: int
    tasks_per_framework: int
    hostile_frameworks: int
    # How long things take.
    message_seconds: Range
    break_noticed_seconds: Range
    disk_seconds: Range
    store_seconds: Range
    start_seconds: Range
    run_seconds: Range
    # Flags of the services.
    zk_session_timeout: float
    agent_ping_timeout: float
    max_agent_ping_timeouts: int
    agent_reregister_timeout: float
    offer_timeout: float | None
    update_retry_min: float
    recovery_timeout: float
    random_sorter: bool
    # Frameworks.
    roles: tuple[str, ...]
    failover_timeout: float
    gives_up_offers: float
    revives: bool
    kills: float
    answers_twice: float
    # Tasks.
    executors: float
    pods: float
    endless: float
    fails: float
    launch_fails: float
    ignores_kill: float
    executor_dies: float
    # Operators.
    operator_seconds: Range | None
    quota: bool
    weights: bool
    maintenance: bool
    teardown: bool
    # Misfortunes.
    faults: tuple[str, ...]
    fault_seconds: Range
    down_seconds: Range
    partition_seconds: Range
    clock_offset: float
    clock_jump: float

    def __str__(self) -> str:
        return "\n".join(f"  {field.name} = {getattr(self, field.name)!r}" for field in fields(self))


def draw(seed: int) -> Options:
    """The options of a seed."""
    chooser = random.Random(f"options {seed}")

    def maybe(probability: float, value: float) -> float:
        return value if chooser.random() < probability else 0.0

    def between(low: float, high: float) -> float:
        return round(chooser.uniform(low, high), 4)

    often = chooser.choice((0.1, 0.6, 0.6, 0.9))
    faults = tuple(name for name in FAULTS if chooser.random() < often)
    pace = chooser.choice((0.3, 1.0, 3.0))
    offer_timeout = chooser.choice((None, 2.0, 5.0))
    return Options(
        registries=chooser.choice((1, 2, 3, 3)),
        allocators=chooser.choice((1, 1, 2)),
        agents=chooser.randint(2, 6),
        frameworks=chooser.randint(1, 4),
        tasks_per_framework=chooser.randint(10, 40),
        hostile_frameworks=chooser.choice((0, 0, 1, 2)),
        message_seconds=(0.0002, between(0.001, 0.05)),
        break_noticed_seconds=(0.001, between(0.1, 2.0)),
        disk_seconds=(0.0005, between(0.002, 0.05)),
        store_seconds=(0.001, between(0.005, 0.2)),
        start_seconds=(0.001, between(0.01, 0.5)),
        run_seconds=(0.01, between(1.0, 10.0)),
        zk_session_timeout=between(2.0, 10.0),
        agent_ping_timeout=between(0.5, 3.0),
        max_agent_ping_timeouts=chooser.randint(2, 5),
        agent_reregister_timeout=between(10.0, 60.0),
        offer_timeout=offer_timeout,
        update_retry_min=between(1.0, 10.0),
        recovery_timeout=between(20.0, 900.0),
        random_sorter=chooser.random() < 0.25,
        roles=chooser.choice((("*",), ("web",), ("web",), ("web", "batch"), ("web", "batch/night"))),
        failover_timeout=chooser.choice((10_000.0, 10_000.0, 10_000.0, 20.0)),
        # Without a time-out an offer that is not answered is out for ever.
        gives_up_offers=maybe(0.7, 1 / 15) if offer_timeout is not None else 0.0,
        revives=chooser.random() < 0.5,
        kills=maybe(0.8, between(0.02, 0.3)),
        answers_twice=maybe(0.7, 1 / 8),
        executors=maybe(0.5, between(0.1, 0.9)),
        pods=maybe(0.4, between(0.1, 0.6)),
        endless=maybe(0.8, between(0.1, 0.5)),
        fails=maybe(0.7, 0.2),
        launch_fails=maybe(0.5, between(0.02, 0.2)),
        ignores_kill=maybe(0.4, 0.3),
        executor_dies=maybe(0.4, 0.2),
        operator_seconds=(0.5, 5.0) if chooser.random() < 0.75 else None,
        quota=chooser.random() < 0.75,
        weights=chooser.random() < 0.5,
        maintenance=chooser.random() < 0.4,
        teardown=chooser.random() < 0.2,
        faults=faults,
        fault_seconds=(0.2 * pace, 4.0 * pace),
        down_seconds=(0.05, between(1.0, 10.0)),
        partition_seconds=(0.1, chooser.choice((5.0, 15.0, 60.0))),
        clock_offset=maybe(0.6, chooser.choice((0.5, 5.0, 300.0))),
        clock_jump=chooser.choice((0.5, 5.0, 300.0)),
    )
