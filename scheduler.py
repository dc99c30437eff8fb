"""Enqueues the periodic jobs: `python scheduler.py`, the same as `budget-engine scheduler`."""

import sys

from engine.cli import cli
from engine.cli.run import run

if __name__ == "__main__":
    sys.exit(run(cli, ["scheduler", *sys.argv[1:]]))
