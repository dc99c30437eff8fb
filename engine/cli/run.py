"""Runs the command line, and turns every error into an exit status and at most one line on stderr.

0: done. 1: refused or failed. 2: wrong usage, also a value that is never valid. 130: Ctrl-C.
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
"""PostgreSQL's error codes for an unknown table and an unknown column."""


def run(command: click.Command, args: Sequence[str]) -> int:
    """Runs a command line and returns its exit status. Raises nothing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A character that the terminal's encoding lacks is escaped instead of raising an error.
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
        return _report(error)


def _report(error: BaseException) -> int:
    """Prints the error that ended a command, and returns the exit status."""
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, click.ClickException):
        return _report_usage(error)
    if isinstance(error, BudgetError):
        _print_error(str(error))
        return WRONG_USAGE if isinstance(error, InvalidInput) and not isinstance(error, InvalidSetting) else FAILED
    _report_unexpected(error)
    return FAILED


def _report_usage(error: click.ClickException) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return WRONG_USAGE
    message = error.format_message()
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "budget-engine"
        message = f"{message.rstrip('.')}. See `{path} --help`."
    _print_error(message)
    return error.exit_code


def _report_unexpected(error: BaseException) -> None:
    if os.environ.get("BUDGET_DEBUG") == "1":
        import traceback

        traceback.print_exception(error)
    if isinstance(error, ModuleNotFoundError) and (error.name or "engine").split(".")[0] not in (
        "engine",
        "web",
        "api",
    ):
        _print_error(f"the package {error.name} is not installed: install the wheel again without --no-deps")
    elif (code := getattr(getattr(error, "orig", None), "pgcode", None)) == _LOCKED:
        _print_error(
            "somebody keeps locked in PostgreSQL what this command needs: run `budget-engine doctor`, which names who"
        )
    elif code in _SCHEMA_MISSING:
        _print_error("the database lacks tables that this program needs: run `budget-engine migrate`")
    else:
        _print_error(f"unexpected {type(error).__name__}: {error}; set BUDGET_DEBUG=1 for the traceback")


def _print_error(message: str) -> None:
    with suppress(BrokenPipeError):
        click.echo(f"budget-engine: {' '.join(message.split())}", err=True)


def _forget_stdout() -> None:
    """Replaces a closed stdout by /dev/null, so that Python does not report it again at exit."""
    try:
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())
        os.close(devnull)
    except (OSError, ValueError):
        pass
