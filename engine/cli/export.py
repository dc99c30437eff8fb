"""The command `export`: writes a closed day of the spend log as Parquet, or checks exported days."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import click

from engine.cli.app import DAY, App, pass_app
from engine.cli.group import Command
from engine.cli.output import print_json
from engine.domain.money import format_micros

if TYPE_CHECKING:
    from engine.flows.export.exporter import Exported


@click.command(cls=Command)
@click.option(
    "--day",
    type=DAY,
    metavar="D",
    help="The day (UTC), as 2026-11-28. Without it, --check takes every day that is there.",
)
@click.option(
    "--to", required=True, metavar="DIR|URL", help="A folder, or s3://bucket/prefix; the day gets a folder in it."
)
@click.option("--again", is_flag=True, help="Write it also where it is there already and the same.")
@click.option("--check", is_flag=True, help="Only read back what is there and compare it with its manifest.")
@pass_app
def export(app: App, day: datetime | None, to: str, again: bool, check: bool) -> int:
    """Write a closed day of the spend log as Parquet, with a manifest of its sums. Exit 1 where it does not add up."""
    from engine.ledger import runs

    if not to.strip():
        raise click.BadParameter("it is empty: name a folder or s3://bucket/prefix", param_hint="--to")
    if day is None and not check:
        raise click.UsageError("name the day: --day 2026-11-28")
    if again and check:
        raise click.UsageError("--check writes nothing: leave --again out")
    with runs.run(app.system.db, "export") as run:
        if check:
            done = _check(app, None if day is None else day.date(), to)
        else:
            assert day is not None
            done = [app.system.exporter.export(day.date(), to, again=again)]
        run.detail = "; ".join(map(_line, done[:5])) or f"nothing is exported in {to}"
    if app.json:
        print_json(_document(done[0]) if day is not None else [_document(one) for one in done])
    else:
        for one in done or ():
            click.echo(_line(one))
        if not done:
            click.echo(run.detail)
    return 0


def _check(app: App, day: date | None, to: str) -> list[Exported]:
    """Checks one exported day, or all where `day` is None. Raises NotWhole for all wrong days together, at the end."""
    from engine.flows.export.manifest import NotWhole

    exporter = app.system.exporter
    done: list[Exported] = []
    wrong: list[NotWhole] = []
    for each in exporter.days(to) if day is None else (day,):
        try:
            done.append(exporter.check(each, to))
        except NotWhole as error:
            wrong.append(error)
    if len(wrong) > 1:
        raise NotWhole(f"{len(wrong)} of {len(wrong) + len(done)} days do not add up; the first: {wrong[0]}")
    if wrong:
        raise wrong[0]
    return done


def _document(one: Exported) -> dict[str, Any]:
    made = one.manifest
    return {
        "day": one.day.isoformat(),
        "to": one.place,
        "state": one.state,
        "rows": made.rows,
        "amount": format_micros(made.micros),
        "files": len(made.files),
        "bytes": made.bytes,
        "manifest_sha256": one.manifest_sha256,
    }


def _line(one: Exported) -> str:
    made = one.manifest
    why = f" ({one.why})" if one.why else ""
    size = f"{len(made.files)} files, {made.bytes:,} bytes"
    return f"{one.day}: {made.rows:,} rows, {format_micros(made.micros)}, in {size}: {one.state} in {one.place}{why}"
