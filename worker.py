"""Works the job queues: `python worker.py [persist|jobs|verify]`, the same as `budget-engine worker --queue ...`."""

import sys

from engine.cli import cli
from engine.cli.run import run

if __name__ == "__main__":
    sys.exit(run(cli, ["worker", *(f"--queue={name}" for name in sys.argv[1:])]))
