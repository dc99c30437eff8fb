"""The options of pacing, which brands and campaigns share, and what a change of it will do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from engine.cli.app import App
from engine.cli.output import note

_Command = TypeVar("_Command", bound=Callable[..., Any])


def paced(pacing: str | None, catch_up: str | None) -> Callable[[_Command], _Command]:
    """The options `--pacing` and `--catch-up` with their defaults."""

    def options(command: _Command) -> _Command:
        percent = "What a minute may spend when money is behind: percent of its plan, asap (no bound) or spread."
        command = click.option("--catch-up", default=catch_up, metavar="PERCENT", help=percent)(command)
        modes = "How the daily budget is spread: asap, even, ahead, traffic or custom:NAME (`curve create`)."
        return click.option("--pacing", default=pacing, metavar="MODE", help=modes)(command)

    return options


def pacing_changes(pacing: str | None, catch_up: str | None) -> dict[str, Any]:
    """The changes that were given. Raises InvalidPacing."""
    from engine.domain.pacing import check_catch_up, check_pacing

    changes: dict[str, Any] = {}
    if pacing is not None:
        changes["pacing"] = check_pacing(pacing)
    if catch_up is not None:
        changes["catch_up"] = check_catch_up(catch_up)
    return changes


def say_pacing(app: App, entity: str, entity_id: int, changes: dict[str, Any]) -> None:
    """Says what a change of pacing will do, before it is made."""
    if changes.keys() & {"pacing", "catch_up"}:
        note(app.system.overview.paced.of_change(entity, entity_id, changes))
