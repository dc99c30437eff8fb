"""`budget-engine replay`: a file of spends through the real client."""

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
@pass_app
def replay(app: App, file: str) -> int:
    """Feed the spends of FILE.csv through the client, in order, as spend of now.

    Columns: at, event_id, brand, campaign, amount_micros; more are ignored. Commas, semicolons or tabs part them; gzip is read too, and - is stdin.
    Missing brands and campaigns are made by name. Lines that do not read, or that the catalog refuses, are reported (the first 20, then their number)
    and passed over. Exit 1 when any line failed.
    """
    from engine.feeds.replay import Replay
    from engine.feeds.replay_names import CatalogNames
    from engine.feeds.spend_file import SpendFile

    with SpendFile(file) as rows, bar("rows", rows.size or None) as advance:
        names = CatalogNames(app.system.catalog, app.system.manage, app.actor)
        bring, troubles = _telling(app.system), _Troubles()
        totals = Replay(
            app.system.client,
            names,
            on_trouble=troubles.tell,
            on_progress=lambda totals: advance(rows.bytes_read, totals.rows),
            on_wait=bring,
        ).run(rows)
    troubles.tell_rest()
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


class _Troubles:
    """The lines that were not counted: the first ones are shown, the others counted."""

    def __init__(self) -> None:
        self._told = 0
        self._more: dict[str, int] = {}

    def tell(self, outcome: str, text: str) -> None:
        if self._told < LINES_SHOWN:
            self._told += 1
            note(text)
        else:
            self._more[outcome] = self._more.get(outcome, 0) + 1

    def tell_rest(self) -> None:
        words = {"failed": "failed", "conflict": "were counted before with another campaign or amount"}
        for outcome, count in self._more.items():
            note(f"... and {count:,} more {'line' if count == 1 else 'lines'} {words[outcome]}")


def _telling(system: System) -> Callable[[], None]:
    """What is done while Redis gives no answer to spends: says once which server is waited for, and brings what Redis does not know yet."""
    said: set[str] = set()

    def telling() -> None:
        try:
            # With nothing to bring, publish asks no Redis: one that hangs would not be named.
            system.live.ping()
            system.publisher.publish_pending()
        except ServerAway as away:
            if away.part not in said:
                said.add(away.part)
                note(f"waiting: {away}")
            raise

    return telling


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
