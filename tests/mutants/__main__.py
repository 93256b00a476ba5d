"""`python -m tests.mutants --seed=1 --count=300`."""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter

from tests.mutants import coverage_map, judged, trial
from tests.mutants.changes import Change, changes_of
from tests.mutants.targets import ROOT, sources
from tests.mutants.trial import Outcome, Result, Trial

SURVIVORS_MAX = 0.06
CONTROL_EVERY = 25
SURVIVING = (Outcome.SURVIVED, Outcome.NOT_COVERED)


def main() -> int:
    arguments = _parser().parse_args()
    everything = [change for source in sources() for change in changes_of(source, ROOT)]
    if arguments.only:
        chosen = [change for change in everything if f"{change.path}:{change.line}:".startswith(arguments.only)]
    else:
        chosen = random.Random(arguments.seed).sample(everything, arguments.count)[arguments.skip :]
    print(f"{len(chosen)} of {len(everything)} possible changes", flush=True)
    excused = {(row.path, row.before, row.after) for row in judged.read()}
    covered = coverage_map.current(arguments.workers)
    trials = []
    for number, change in enumerate(chosen):
        planned = trial.plan(change, covered, arguments.cpu_seconds)
        if planned.tests and number % CONTROL_EVERY == 0:
            trials.append(Trial(change, planned.tests, planned.cpu_seconds_max, control=True))
        trials.append(planned)
    trial.preload(covered.modules)
    results: list[Result] = []

    def report(result: Result) -> None:
        results.append(result)
        if arguments.verbose or (result.outcome is not Outcome.KILLED and not result.trial.control):
            print(described(result, judged.key_of(result.trial.change) in excused), flush=True)

    trial.run(trials, arguments.workers, report)
    return summed_up(results, excused)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description="Change the code, and see tests fail.")
    parser.add_argument("--seed", type=int, default=1, help="decides which changes are tried")
    parser.add_argument("--count", type=int, default=300, help="how many changes are drawn")
    parser.add_argument("--skip", type=int, default=0, help="how many of those drawn are left out, from the first on")
    parser.add_argument("--only", default="", metavar="PATH[:LINE:]", help="try all changes there, and draw none")
    parser.add_argument("--workers", type=int, default=2, help="how many changes are tried at a time")
    parser.add_argument("--cpu-seconds", type=float, default=20.0, help="of tests for each change, as the code is")
    parser.add_argument("--verbose", action="store_true", help="list the changes that were noticed as well")
    return parser


def described(result: Result, excused: bool) -> str:
    """A place, the line before and after, and what was run."""
    change = result.trial.change
    before, after = change.words((ROOT / change.path).read_bytes())
    outcome = "judged" if excused and result.outcome in SURVIVING else result.outcome.value
    tests = f"{len(result.trial.tests)} tests, {result.cpu_seconds:.1f} CPU seconds"
    return f"{outcome}: {change.path}:{change.line}: ({tests})\n  - {before}\n  + {after}"


def _is_excused(change: Change, excused: set[tuple[str, str, str]]) -> bool:
    return judged.key_of(change) in excused


def summed_up(results: list[Result], excused: set[tuple[str, str, str]]) -> int:
    """Print the totals; 1 where too many survive, or where this program itself has failed."""
    controls = [result for result in results if result.trial.control]
    tried = [result for result in results if not result.trial.control]
    failed = [result for result in controls if result.outcome is not Outcome.SURVIVED]
    broken = [result for result in tried if result.outcome is Outcome.BROKEN]
    for result in failed:
        change = result.trial.change
        print(f"without a change, the tests of {change.path}:{change.line} end as {result.outcome.value}")
    surviving = [result for result in tried if result.outcome in SURVIVING]
    real = [result for result in surviving if not _is_excused(result.trial.change, excused)]
    counts = Counter(result.outcome.value for result in tried)
    print(", ".join(f"{count} {outcome}" for outcome, count in counts.most_common()))
    part = 100 * len(real) / len(tried)
    print(
        f"{len(real)} of {len(tried)} survive and are not judged harmless: {part:.1f} %, of {100 * SURVIVORS_MAX:g} %"
    )
    spent = sum(result.cpu_seconds for result in results)
    print(f"{len(controls) - len(failed)} of {len(controls)} times the code passed unchanged; {spent:.0f} CPU seconds")
    return 1 if failed or broken or len(real) > SURVIVORS_MAX * len(tried) else 0


if __name__ == "__main__":
    sys.exit(main())
