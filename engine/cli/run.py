"""Runs the command line and turns whatever happens into an exit status and at most one line on stderr.

0 done, 1 refused or failed, 2 wrong usage (a value that can never be right counts as that), 130 Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

import click

from engine.cli.app import App
from engine.errors import BudgetError, InvalidInput, InvalidSetting

DONE: Final = 0
FAILED: Final = 1
WRONG_USAGE: Final = 2
INTERRUPTED: Final = 130


def run(command: click.Command, args: Sequence[str]) -> int:
    """Runs a command line; answers its exit status. Raises nothing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A name that the terminal's encoding lacks is shown escaped instead of ending the command.
            stream.reconfigure(errors="backslashreplace")
    app = App()
    try:
        status = _run(command, args, app)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        _forget_stdout()
        return FAILED
    finally:
        app.close()


def _run(command: click.Command, args: Sequence[str], app: App) -> int:
    try:
        status = command.main(list(args), prog_name="budget-engine", standalone_mode=False, obj=app)
        return status if isinstance(status, int) else DONE
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as asked:
        click.echo(asked.format_message(), err=True)
        return WRONG_USAGE
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "budget-engine"
        _complain(f"{error.format_message()} See `{path} --help`.")
        return WRONG_USAGE
    except click.ClickException as error:
        _complain(error.format_message())
        return FAILED
    except BrokenPipeError:
        raise
    except BudgetError as error:
        _complain(str(error))
        return WRONG_USAGE if isinstance(error, InvalidInput) and not isinstance(error, InvalidSetting) else FAILED
    except Exception as error:  # noqa: BLE001  # the last line of defence: never a traceback unless asked for
        if os.environ.get("BUDGET_DEBUG") == "1":
            import traceback

            traceback.print_exc()
        _complain(f"unexpected {type(error).__name__}: {error}; set BUDGET_DEBUG=1 for the traceback")
        return FAILED


def _complain(message: str) -> None:
    try:
        click.echo(f"budget-engine: {' '.join(message.split())}", err=True)
    except BrokenPipeError:
        pass


def _forget_stdout() -> None:
    """Whoever read our output has gone; Python must not complain about it once more at exit."""
    try:
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())
        os.close(devnull)
    except (OSError, ValueError):
        pass
