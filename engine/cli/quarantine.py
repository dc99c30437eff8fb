"""The commands of `quarantine`: list, retry or drop journal entries that could not be persisted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from engine.cli.app import App, pass_app
from engine.cli.group import Group
from engine.cli.output import note, print_json, print_table

if TYPE_CHECKING:
    from engine.ledger.quarantine import QuarantineRow


@click.group(cls=Group)
def quarantine() -> None:
    """Journal entries that could not be persisted, kept with their bytes until somebody decides."""


@quarantine.command("list")
@click.option("--all", "every", is_flag=True, help="Also those that were booked or dropped.")
@pass_app
def list_(app: App, every: bool) -> int:
    """List what waits."""
    from engine.domain.money import format_micros

    rows = app.system.quarantined.rows(waiting_only=not every)
    if app.json:
        print_json([_document(row) for row in rows])
        return 0
    columns = ("id", "state", "since", "shard", "n", "entry", "counted", "reason", "by")
    print_table(
        columns,
        (
            (str(row.id), row.state, f"{row.created_at:%Y-%m-%d %H:%M:%S}", str(row.shard), str(row.n or ""), row.entry_id, format_micros(row.micros), row.reason, row.actor or "")
            for row in rows
        ),
        right=("counted",),
    )  # fmt: skip
    return 0


@quarantine.command("retry")
@click.argument("entry_id", metavar="[ID]", type=int, required=False)
@click.option("--all", "every", is_flag=True, help="Every entry that waits.")
@pass_app
def retry(app: App, entry_id: int | None, every: bool) -> int:
    """Book the entry ID, or all, now that what was in the way is gone. Exit 1 when one stays."""
    if (entry_id is None) is not every:
        raise click.UsageError("give an ID, or --all")
    stayed: dict[int, str] = {}
    if entry_id is not None:
        booked = {entry_id: app.system.quarantined.retry(entry_id, app.actor)}
    else:
        booked, stayed = app.system.quarantined.retry_all(app.actor)
    if app.json:
        persisted = [{"id": row_id, "rows": rows} for row_id, rows in booked.items()]
        print_json(
            {"persisted": persisted, "waiting": [{"id": row_id, "reason": why} for row_id, why in stayed.items()]}
        )
    else:
        for row_id, rows in booked.items():
            click.echo(f"entry {row_id}: {rows} spends booked")
        for why in stayed.values():
            click.echo(why)
    if stayed:
        note(f"{len(stayed)} entries stay in quarantine")
    return 1 if stayed else 0


@quarantine.command("drop")
@click.argument("entry_id", metavar="ID", type=int)
@click.option("--reason", required=True, help="Why; kept with the entry and your name.")
@pass_app
def drop(app: App, entry_id: int, reason: str) -> int:
    """Give the entry ID up: it never becomes rows. What the script counted for it stays counted."""
    app.system.quarantined.drop([entry_id], app.actor, reason)
    if app.json:
        print_json({"dropped": entry_id})
    else:
        click.echo(f"entry {entry_id} dropped")
    return 0


def _document(row: QuarantineRow) -> dict[str, Any]:
    from engine.domain.money import format_micros

    return {
        "id": row.id,
        "state": row.state,
        "shard": row.shard,
        "generation": row.generation,
        "n": row.n,
        "entry_id": row.entry_id,
        "fields": row.fields,
        "amount": format_micros(row.micros),
        "brands": {str(brand_id): format_micros(micros) for brand_id, micros in row.brands.items()},
        "reason": row.reason,
        "created_at": row.created_at.isoformat(),
        "ended_at": None if row.ended_at is None else row.ended_at.isoformat(),
        "actor": row.actor,
    }
