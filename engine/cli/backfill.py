"""The command `spend import`: adds spends of closed days to the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from engine.cli.app import App, pass_app
from engine.cli.group import Command
from engine.cli.output import note, print_json
from engine.domain.money import format_micros

if TYPE_CHECKING:
    from engine.feeds.backfill import Backfilled


@click.command("import", cls=Command)
@click.option("--backfill", "file", required=True, metavar="FILE.csv|-", help="A file of spends of closed days.")
@click.option("--dry-run", is_flag=True, help="Check the file, and write nothing.")
@pass_app
def import_spends(app: App, file: str, dry_run: bool) -> int:
    """Add the spends of FILE.csv to closed days in the ledger: reports show them beside the closed totals, which stay.

    Columns: at, event_id, brand, campaign, amount_micros; more are ignored. The day is that of `at` by the brand's clock. A file
    is written whole or, where any line is bad, not at all. The same file again, or an event id that was counted
    before, writes nothing twice. Exit 1 when nothing was written for a bad line.
    """
    from engine.feeds.backfill import backfill_file
    from engine.feeds.spend_file import SpendFile

    with SpendFile(file) as rows:
        done = backfill_file(app.system.db, rows, file, app.actor, dry_run=dry_run)
    for line in done.bad:
        note(f"line {line.line}: {line.why}")
    if done.bad_count > len(done.bad):
        note(f"... and {done.bad_count - len(done.bad):,} more bad lines")
    if app.json:
        print_json(_document(done, dry_run))
    else:
        click.echo(_in_words(done, dry_run))
    return 1 if done.bad else 0


def _in_words(done: Backfilled, dry_run: bool) -> str:
    if done.bad:
        return f"{done.rows} rows, {done.bad_count} of them bad: nothing was written; correct them and run it again"
    if done.again:
        return f"{done.rows} rows: a file with the same spends was written before, so nothing was written"
    verb = "would be backfilled" if dry_run else "backfilled"
    return f"{done.rows} rows: {done.recorded} {verb}, {done.duplicate} duplicate; {format_micros(done.micros)}"


def _document(done: Backfilled, dry_run: bool) -> dict[str, Any]:
    return {
        "rows": done.rows,
        "backfilled": done.recorded,
        "duplicate": done.duplicate,
        "failed": done.bad_count,
        "amount": format_micros(done.micros),
        "written": done.written,
        "dry_run": dry_run,
        "bad_lines": [{"line": line.line, "field": line.field, "error": line.why} for line in done.bad],
    }
