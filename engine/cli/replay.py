"""The command `replay`: sends a file of spends through the real client."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from engine.cli.app import App, pass_app
from engine.cli.group import Command
from engine.cli.output import LINES_SHOWN, bar, note, print_json
from engine.domain.money import format_micros
from engine.errors import ServerAway

if TYPE_CHECKING:
    from engine.feeds.replay import Totals
    from engine.wiring import System


@click.command(cls=Command)
@click.argument("file", metavar="FILE.csv|-")
@click.option(
    "--pace-by",
    type=click.Choice(("now", "at")),
    default="now",
    show_default=True,
    help="now sends all at once; at sends each line as long after the first as its `at` is.",
)
@pass_app
def replay(app: App, file: str, pace_by: str) -> int:
    """Feed the spends of FILE.csv through the client, in order, as spend of now.

    Columns: at, event_id, brand, campaign, amount_micros; more are ignored. Commas, semicolons or tabs part them; gzip is read too, and - is stdin.
    Missing brands and campaigns are made by name. Lines that do not read, or that the catalog refuses, are reported (the first 20, then their number)
    and passed over. Exit 1 when any line failed.
    """
    from engine.feeds.replay import RealTime, Replay
    from engine.feeds.replay_names import CatalogNames
    from engine.feeds.spend_file import SpendFile

    with SpendFile(file) as rows, bar("rows", rows.size or None) as advance:
        names = CatalogNames(app.system.catalog, app.system.manage, app.actor)
        on_wait, failures = _publish_while_waiting(app.system), _FailureReport()
        totals = Replay(
            app.system.client,
            names,
            wait_for=RealTime() if pace_by == "at" else None,
            on_trouble=failures.add,
            on_progress=lambda totals: advance(rows.bytes_read, totals.rows),
            on_wait=on_wait,
        ).run(rows)
    failures.print_rest()
    if totals.stopped:
        note(totals.stopped)
    if app.json:
        print_json(_document(totals))
    else:
        counts = ", ".join(
            f"{count} {name}" for name, count in _document(totals).items() if name not in ("rows", "amount")
        )
        click.echo(f"{totals.rows} rows: {counts}; {format_micros(totals.micros)} recorded")
    return 1 if totals.failed or totals.stopped else 0


class _FailureReport:
    """Reports lines that were not counted: prints the first ones and counts the others by outcome."""

    def __init__(self) -> None:
        self._printed = 0
        self._not_printed: dict[str, int] = {}

    def add(self, outcome: str, text: str) -> None:
        if self._printed < LINES_SHOWN:
            self._printed += 1
            note(text)
        else:
            self._not_printed[outcome] = self._not_printed.get(outcome, 0) + 1

    def print_rest(self) -> None:
        words = {"failed": "failed", "conflict": "were counted before with another campaign or amount"}
        for outcome, count in self._not_printed.items():
            note(f"... and {count:,} more {'line' if count == 1 else 'lines'} {words[outcome]}")


def _publish_while_waiting(system: System) -> Callable[[], None]:
    """Returns a function to call while Redis takes no spends. It names each missing server once, and publishes what
    Redis does not know yet.
    """
    named: set[str] = set()

    def publish() -> None:
        try:
            # Publish does not call Redis when nothing is pending, so only a ping detects a server that hangs.
            system.live.ping()
            system.publisher.publish_pending()
        except ServerAway as away:
            if away.part not in named:
                named.add(away.part)
                note(f"waiting: {away}")
            raise

    return publish


def _document(totals: Totals) -> dict[str, Any]:
    return {
        "rows": totals.rows,
        "recorded": totals.recorded,
        "duplicate": totals.duplicate,
        "conflict": totals.conflict,
        "refused": totals.refused,
        "failed": totals.failed,
        "amount": format_micros(totals.micros),
    }
