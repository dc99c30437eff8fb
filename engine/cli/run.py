"""Runs the command line and turns whatever happens into an exit status and at most one line on stderr.

0 done, 1 refused or failed, 2 wrong usage (a value that can never be right counts as that), 130 Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import click

from engine.cli.app import App
from engine.errors import BudgetError, InvalidInput, InvalidSetting

DONE: Final = 0
FAILED: Final = 1
WRONG_USAGE: Final = 2
INTERRUPTED: Final = 130

_LOCKED: Final = "55P03"
_SCHEMA_MISSING: Final = ("42P01", "42703")
"""PostgreSQL's codes for a table and a column that are not there."""


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
    except BrokenPipeError:
        raise
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  # never a traceback unless asked for
        return _told(error)


def _told(error: BaseException) -> int:
    """Says what ended a command, and answers its exit status."""
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, click.ClickException):
        return _misused(error)
    if isinstance(error, BudgetError):
        _complain(str(error))
        return WRONG_USAGE if isinstance(error, InvalidInput) and not isinstance(error, InvalidSetting) else FAILED
    _unexpected(error)
    return FAILED


def _misused(error: click.ClickException) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return WRONG_USAGE
    said = error.format_message()
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "budget-engine"
        said = f"{said.rstrip('.')}. See `{path} --help`."
    _complain(said)
    return error.exit_code


def _unexpected(error: BaseException) -> None:
    if os.environ.get("BUDGET_DEBUG") == "1":
        import traceback

        traceback.print_exception(error)
    if isinstance(error, ModuleNotFoundError) and (error.name or "engine").split(".")[0] not in ("engine", "web"):
        _complain(f"the package {error.name} is not installed: install the wheel again without --no-deps")
    elif (code := getattr(getattr(error, "orig", None), "pgcode", None)) == _LOCKED:
        _complain(
            "somebody keeps locked in PostgreSQL what this command needs: run `budget-engine doctor`, which names who"
        )
    elif code in _SCHEMA_MISSING:
        _complain("the database lacks tables that this program needs: run `budget-engine migrate`")
    else:
        _complain(f"unexpected {type(error).__name__}: {error}; set BUDGET_DEBUG=1 for the traceback")


def _complain(message: str) -> None:
    with suppress(BrokenPipeError):
        click.echo(f"budget-engine: {' '.join(message.split())}", err=True)


def _forget_stdout() -> None:
    """Whoever read our output has gone; Python must not complain about it once more at exit."""
    try:
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())
        os.close(devnull)
    except (OSError, ValueError):
        pass
