"""Works the job queues: `python worker.py [persist|jobs]`, the same as `budget-engine worker --queue ...`."""

import sys

from engine.processes import worker

if __name__ == "__main__":
    worker(sys.argv[1] if len(sys.argv) > 1 else None)
