"""`budget-engine catalog`: all brands and campaigns as CSV, and a changed table back."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from engine.cli.app import App, pass_app
from engine.cli.group import Group
from engine.cli.operation import show_operation
from engine.cli.output import note as remark
from engine.cli.output import print_json
from engine.views.control_documents import operation_document, row_document

if TYPE_CHECKING:
    from engine.ledger.operations import OperationRecord

_FILE: Final = click.Path(dir_okay=False, path_type=Path, allow_dash=True)
_SHOWN: Final = 50


@click.group(cls=Group)
def catalog() -> None:
    """Brands and campaigns as a table of CSV: export it, change it, import it."""


@catalog.command()
@click.argument("file", metavar="FILE.csv", type=_FILE)
@pass_app
def export(app: App, file: Path) -> None:
    """Write all brands and campaigns in use to FILE.csv, `-` for standard output."""
    from engine.domain.catalog_csv import COLUMNS
    from engine.flows.operations import imports

    rows = 0
    to_stdout = str(file) == "-"
    if app.json and to_stdout:
        raise click.UsageError("--json and a table do not both go to standard output: name a file")
    with sys.stdout if to_stdout else file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\r\n")
        writer.writerow(COLUMNS)
        for row in imports.table(app.system.db):
            writer.writerow(row)
            rows += 1
    if app.json:
        print_json({"file": str(file), "rows": rows})
    else:
        remark(f"{rows:,} rows written")


@catalog.command("import")
@click.argument("file", metavar="FILE.csv", type=_FILE)
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option("--yes", is_flag=True, help="Apply without asking.")
@click.option("--note", metavar="TEXT", help="The reason, which stands beside each change.")
@pass_app
def import_(app: App, file: Path, dry_run: bool, yes: bool, note: str | None) -> int:
    """Apply FILE.csv, a table such as `catalog export` writes. Exit 1 where a line is wrong or left out."""
    from engine.domain.catalog_csv import MOST_BYTES
    from engine.ledger import operations

    try:
        with sys.stdin.buffer if str(file) == "-" else file.open("rb") as given:
            data = given.read(MOST_BYTES + 1)
    except OSError as error:
        raise click.BadParameter(f"{file} cannot be read: {error.strerror}", param_hint="FILE.csv") from None
    made = app.system.operations.draft_import(data, app.actor, note)
    if not app.json:
        _say(app, made)
    applies = made.ready and not dry_run and (yes or _asked(made))
    if not applies:
        if app.json:
            print_json(_document(app, made))
        operations.discard(app.system.db, made.id)
        return int(bool(made.wrong or made.skipped))
    app.system.operations.begin(made.id, app.actor)
    app.system.operations.apply(made.id)
    made = app.system.operations.one(made.id)
    if lacking := operations.behind(app.system.db, made.id):
        remark(f"bidders do not have {lacking} of the rows yet: they are published when Redis is back")
    if app.json:
        print_json(_document(app, made))
    else:
        click.echo(f"operation {made.id}: {made.counted}")
    return int(bool(made.wrong or made.skipped))


def _asked(made: OperationRecord) -> bool:
    """Asks a person at a terminal. Raises UsageError where there is none."""
    if not sys.stdin.isatty():
        raise click.UsageError("nothing was changed: give --yes to apply it, or --dry-run to look only")
    return click.confirm(f"Change {made.ready:,} rows?", err=True)


def _say(app: App, made: OperationRecord) -> None:
    from engine.ledger import import_rows

    remark(made.counted)
    lines = import_rows.wrong_lines(app.system.db, made.id, _SHOWN)
    for line in lines:
        remark(f"line {line.line}, {line.field} {line.value!r}: {line.why}")
    if made.wrong > len(lines):
        remark(f"{made.wrong - len(lines)} more wrong lines: `--json` shows all")
    if made.rows:
        show_operation(app, made)


def _document(app: App, made: OperationRecord) -> dict[str, object]:
    from engine.ledger import import_rows, operations

    db, most = app.system.db, 1_000_000
    rows = (*operations.items(db, made.id, limit=most), *operations.items(db, made.id, skipped=True, limit=most))
    wrong = import_rows.wrong_lines(db, made.id, most)
    return operation_document(made) | {
        "same": made.same,
        "wrong": [{"line": line.line, "column": line.field, "value": line.value, "why": line.why} for line in wrong],
        "rows": [row_document(item) | {"line": item.line} for item in rows],
    }
