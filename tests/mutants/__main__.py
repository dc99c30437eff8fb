"""`make mutants`: plants small faults in a copy of the program, one at a time, and shows which test notices each.

python -m tests.mutants [--list] [--only NAME] [--sample N] [--seed S]
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence

from tests.mutants.mutant import Mutant, Rotten
from tests.mutants.runner import NotSound, Verdict, laboratory
from tests.mutants.table import MUTANTS


def main() -> int:
    """Runs the chosen mutants; returns 0 when an assertion of a named test killed each of them."""
    parser = argparse.ArgumentParser(
        prog="make mutants ARGS=...", description="Faults on purpose, each killed by a test."
    )
    parser.add_argument("--list", action="store_true", help="show the mutants and their killers, and run nothing")
    parser.add_argument(
        "--only", metavar="NAME", action="append", default=[], help="those whose name or file holds this"
    )
    parser.add_argument("--sample", metavar="N", type=int, help="this many, drawn at random")
    parser.add_argument("--seed", metavar="S", type=int, default=random.SystemRandom().randrange(1 << 31))
    given = parser.parse_args()
    chosen = [m for m in MUTANTS if not given.only or any(part in m.name or part in m.file for part in given.only)]
    if not chosen:
        parser.error(f"no mutant's name or file holds {' or '.join(given.only)}: --list shows them")
    if given.sample is not None:
        if given.sample < 1:
            parser.error(f"--sample {given.sample} is not a number above 0")
        chosen = random.Random(given.seed).sample(chosen, min(given.sample, len(chosen)))
        print(f'seed {given.seed}; the same again: make mutants ARGS="--sample {given.sample} --seed {given.seed}"')
    if given.list:
        for mutant in chosen:
            print(line(mutant.name, mutant.file, ", ".join(map(short, mutant.killers))))
        return 0
    try:
        return run(chosen)
    except (NotSound, Rotten) as error:
        print(error, file=sys.stderr)
        return 1


def run(chosen: Sequence[Mutant]) -> int:
    """Runs mutants and prints each verdict."""
    verdicts: list[Verdict] = []
    with laboratory() as lab:
        passed, seconds = lab.check(chosen)
        print(f"{passed} killers pass without a mutant ({seconds:.0f} s)\n")
        print(line("mutant", "file", "killed by", "s"), flush=True)
        for mutant in chosen:
            verdict = lab.run(mutant)
            verdicts.append(verdict)
            by = short(verdict.killed_by) if verdict.killed_by else "NOBODY"
            print(line(mutant.name, mutant.file, by, f"{verdict.seconds:.1f}"), flush=True)
            if not verdict.killed_by:
                print(f"    {verdict.why}", flush=True)
    killed = sum(bool(verdict.killed_by) for verdict in verdicts)
    print(f"\n{sum(v.seconds for v in verdicts):.0f} s\n{killed} of {len(verdicts)} killed")
    return 0 if killed == len(verdicts) else 1


def line(name: str, file: str, by: str, seconds: str = "") -> str:
    return f"{name:<64} {file:<28} {seconds:>5}  {by}".rstrip()


def short(node: str) -> str:
    """A node id without the folder that all share."""
    return node.removeprefix("tests/")


if __name__ == "__main__":
    sys.exit(main())
