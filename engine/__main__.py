"""`python -m engine` is `budget-engine`, and the console script begins here: it must say something useful where only the bidder's part is installed."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command line; without the packages that it needs, says in one line what to install."""
    try:
        from engine.cli import main as run
    except ModuleNotFoundError as error:
        if (error.name or "engine").split(".")[0] in ("engine", "web"):
            raise
        print(
            f"budget-engine: the package {error.name} is not installed, so this is the bidder's client alone:"
            " install the wheel again without --no-deps to get the commands",
            file=sys.stderr,
        )
        sys.exit(1)
    run()


if __name__ == "__main__":
    main()
