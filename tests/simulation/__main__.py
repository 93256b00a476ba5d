"""`python -m tests.simulation --seed=7 --steps=20000`."""

from __future__ import annotations

import argparse
import sys

from tests.simulation.world import World


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="decides everything")
    parser.add_argument("--steps", type=int, default=10_000, help="how many steps with faults")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds, from --seed on")
    arguments = parser.parse_args()
    for seed in range(arguments.seed, arguments.seed + arguments.seeds):
        world = World(seed)
        try:
            world.run(arguments.steps)
        except BaseException:
            print(f"failed at step {world.steps}: make sim SEED={seed} STEPS={arguments.steps}", file=sys.stderr)
            raise
        simulated = world.clock.now - 1_800_000_000
        print(f"seed {seed}: {world.steps} steps, {simulated:.0f} simulated seconds, faults {dict(world.faults)}")
    return 0


sys.exit(main())
