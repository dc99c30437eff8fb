"""The entry point of `budget-engine` and `python -m engine`. It also runs where only the bidder's part is installed,
and then says what is missing.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command line; without the packages that it needs, says in one line what to install."""
    try:
        from engine.cli import main as run
    except ModuleNotFoundError as error:
        if (error.name or "engine").split(".")[0] in ("engine", "web", "api"):
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
