"""`make clean-data`: deletes all data of the embedded servers. Refuses while they run."""

from __future__ import annotations

import sys

from engine.errors import BudgetError
from engine.local.data_dir import DataDir
from engine.settings import Settings


def main() -> int:
    """Deletes the data folder; returns the exit status."""
    try:
        data = DataDir(Settings.load().data_dir)
        data.remove()
    except BudgetError as error:
        print(f"budget-engine: {error}", file=sys.stderr)
        return 1
    print(f"{data.path} is deleted")
    return 0


if __name__ == "__main__":
    sys.exit(main())
