"""Commands on operations: what was changed, of one row or of many, and taking it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from engine.cli.app import App, pass_app
from engine.cli.group import Group
from engine.cli.output import note, print_fields, print_json, print_table
from engine.views.control_documents import operation_document, row_document, value_of

if TYPE_CHECKING:
    from engine.ledger.operations import OperationRecord

_ID: Final = click.IntRange(1, 2**62)
_ROWS_SHOWN: Final = 50


@click.group(cls=Group)
def operation() -> None:
    """Changes of brands and campaigns, each of one row or of many: list, show, take back."""


@operation.command("list")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many, the newest first."
)
@pass_app
def list_(app: App, limit: int) -> None:
    """List the newest operations."""
    from engine.ledger import operations

    documents = [operation_document(one) for one in operations.latest(app.system.db, limit)]
    if app.json:
        print_json(documents)
        return
    columns = ("id", "begun_at", "actor", "what", "state", "changed", "left out", "undone by")
    rows = [
        (str(one["id"]), one["begun_at"], one["actor"], one["words"], one["state"], str(one["done"]), str(one["skipped"]), str(one["undone_by"] or ""))
        for one in documents
    ]  # fmt: skip
    print_table(columns, rows, right=("id", "changed", "left out"))


@operation.command()
@click.argument("operation_id", metavar="ID", type=_ID)
@pass_app
def show(app: App, operation_id: int) -> None:
    """Show the operation ID: each row with its old and new values, and what was left out and why."""
    show_operation(app, app.system.operations.one(operation_id))


@operation.command()
@click.argument("operation_id", metavar="ID", type=_ID)
@click.option("--dry-run", is_flag=True, help="Show what would be taken back, and change nothing.")
@pass_app
def undo(app: App, operation_id: int, dry_run: bool) -> None:
    """Take the operation ID back. Rows that somebody changed since are left out, never overwritten."""
    apply_or_show(app, app.system.operations.undo(operation_id, app.actor), dry_run)


def apply_or_show(app: App, made: OperationRecord, dry_run: bool) -> None:
    """Applies a draft here, without a worker, and shows what it did; dry_run: shows what it would do, and drops it."""
    from engine.ledger import operations

    if dry_run:
        show_operation(app, made)
        operations.discard(app.system.db, made.id)
        return
    made = app.system.operations.begin(made.id, app.actor)
    if made.state == "applying":
        app.system.operations.apply(made.id)
        made = app.system.operations.one(made.id)
    if lacking := operations.behind(app.system.db, made.id):
        note(f"bidders do not have {lacking} of the rows yet: they are published when Redis is back")
    show_operation(app, made)


def show_operation(app: App, found: OperationRecord) -> None:
    """Prints an operation, with its rows."""
    from engine.ledger import operations

    limit = 100_000 if app.json else _ROWS_SHOWN
    rows = operations.items(app.system.db, found.id, limit=limit)
    skipped = operations.items(app.system.db, found.id, skipped=True, limit=limit)
    if app.json:
        print_json(operation_document(found) | {"rows": [row_document(item) for item in (*rows, *skipped)]})
        return
    print_fields([(name, "" if value is None else str(value)) for name, value in operation_document(found).items()])
    cells = [
        (f"{item.entity} {item.entity_id}", item.name or "", field, _text(field, old), _text(field, new), item.state)
        for item in rows
        for field, (old, new) in item.changes.items()
    ]
    if cells:
        print_table(("of", "name", "field", "from", "to", "state"), cells)
    if skipped:
        print_table(
            ("left out", "name", "why"), [(f"{i.entity} {i.entity_id}", i.name or "", i.why or "") for i in skipped]
        )
    if found.rows > len(rows) + len(skipped):
        note(f"{found.rows - len(rows) - len(skipped)} more rows: `--json` shows all")


def _text(field: str, value: Any) -> str:
    import json

    found = value_of(field, value)
    return "none" if found is None else found if isinstance(found, str) else json.dumps(found)
