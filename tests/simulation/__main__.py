"""`python -m tests.simulation --seed=7 --steps=20000`."""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulation.simulation import Simulation


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="decides everything")
    parser.add_argument("--steps", type=int, default=10_000, help="moments with faults, before it is calm")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds, from --seed on")
    parser.add_argument("--logs", action="store_true", help="show the logs of all processes, with simulated time")
    arguments = parser.parse_args()
    for seed in range(arguments.seed, arguments.seed + arguments.seeds):
        began = time.process_time()
        with Simulation(seed, logs=arguments.logs) as simulation:
            simulation.run(arguments.steps)
            simulated, steps, faults = simulation.loop.time(), simulation.loop.steps, dict(simulation.faults.counts)
        seconds = time.process_time() - began
        print(f"seed {seed}: {steps} steps, {simulated:.0f} simulated and {seconds:.1f} CPU seconds, faults {faults}")
    return 0


sys.exit(main())
