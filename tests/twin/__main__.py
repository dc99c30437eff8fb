"""`make twin`: a long run of all state machines with new random examples. Prints its seed, and how to repeat the run.

python -m tests.twin [--examples 5000] [--seed N]
"""

from __future__ import annotations

import argparse
import os
import random
import sys
from pathlib import Path

import pytest

from tests.twin.drawn import STEPS


def main() -> int:
    """Runs the machines until one fails; returns pytest's exit status."""
    parser = argparse.ArgumentParser(prog="make twin ARGS=...", description="The twin beside real servers, at random.")
    parser.add_argument("--examples", type=int, default=5000, help="of the live state; a tenth as many over rebuilds")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    given = parser.parse_args()
    if given.examples < 1:
        parser.error(f"--examples {given.examples} is not a number above 0")
    again = f'make twin ARGS="--examples {given.examples} --seed {given.seed}"'
    print(f"seed {given.seed}; repeat this run with: {again}", flush=True)
    os.environ["TWIN_EXAMPLES"] = str(given.examples)
    machines = [str(path) for path in sorted(Path(__file__).parent.glob("test_twin_*.py"))]
    status = pytest.main([*machines, "-x", "-q", f"--hypothesis-seed={given.seed}", "--timeout=0"])
    verdict = "passed" if status == 0 else f"failed; repeat it with: {again}"
    print(f"seed {given.seed}: {verdict}; {STEPS['steps']:,} steps, both sides compared after each", flush=True)
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
