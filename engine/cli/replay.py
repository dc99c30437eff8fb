"""`budget-engine replay`: a file of spends through the real client."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from engine.cli.app import App, pass_app
from engine.cli.group import Command
from engine.cli.output import bar, note, print_json
from engine.domain.money import format_micros
from engine.errors import ServerAway

if TYPE_CHECKING:
    from engine.flows.replay import Totals


@click.command(cls=Command)
@click.argument("file", metavar="FILE.csv")
@pass_app
def replay(app: App, file: str) -> int:
    """Feed the spends of FILE.csv through the client, in order, as spend of now.

    Columns: at, event_id, brand, campaign, amount_micros; more are ignored. Missing brands and campaigns are made by name. Lines that do not
    read are reported and passed over. Exit 1 when any line failed.
    """
    from engine.flows.replay import CatalogNames, Replay
    from engine.flows.spend_file import SpendFile

    with SpendFile(file) as rows, bar("rows", rows.size or None) as advance:
        names = CatalogNames(app.system.catalog, app.system.manage, app.actor)
        bring = _telling(app.system.publisher.publish_pending)
        totals = Replay(
            app.system.client,
            names,
            on_trouble=note,
            on_progress=lambda totals: advance(rows.bytes_read, totals.rows),
            on_wait=bring,
        ).run(rows)
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


def _telling(bring: Callable[[], object]) -> Callable[[], None]:
    """What is done while Redis gives no answer, which says once which server it waits for."""
    said: set[str] = set()

    def telling() -> None:
        try:
            bring()
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
