"""Commands on scheduled changes of limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from engine.cli.app import App, pass_app
from engine.cli.group import Group
from engine.cli.output import note, print_json, print_table
from engine.cli.owner import owner_of
from engine.views.control_documents import limit_document

if TYPE_CHECKING:
    from engine.domain.limit_changes import Period

_INSTANT: Final = "An instant with its zone, as 2026-12-01T18:00Z or 2026-12-01T19:00+01:00"
_CHANGE: Final = "set:200.00, set:none, add:50.00, add:-50.00 or percent:150"


@click.group(cls=Group)
def limit() -> None:
    """Scheduled changes of daily and monthly budgets: at an instant, and where wanted until another."""


@limit.command()
@click.argument("owner", metavar="BRAND|CAMPAIGN")
@click.option("--at", "starts", required=True, metavar="T", help=f"{_INSTANT}, or now. Included.")
@click.option(
    "--until",
    "ends",
    metavar="T",
    help="When the limit is again what it was. Not included; without it the change stays.",
)
@click.option("--daily", metavar="CHANGE", help=f"What becomes of the daily budget: {_CHANGE}.")
@click.option("--monthly", metavar="CHANGE", help="The same of the monthly budget.")
@pass_app
def schedule(app: App, owner: str, starts: str, ends: str | None, daily: str | None, monthly: str | None) -> None:
    """Change a budget of BRAND, or an own budget of CAMPAIGN, at an instant. It happens on the millisecond, whatever job runs."""
    from engine.domain.flights import parse_instant
    from engine.domain.ids import brand_of
    from engine.domain.limit_changes import parse_change

    if (daily is None) == (monthly is None):
        raise click.UsageError("Give either --daily or --monthly: each is a change of its own.")
    period: Period = "daily" if daily is not None else "monthly"
    change = parse_change(daily if daily is not None else monthly or "")
    found = owner_of(app, owner)
    local = app.system.overview.local(found.id if found.kind == "brand" else brand_of(found.id))
    from_ms = None if starts == "now" else parse_instant(starts, "at", local)
    to_ms = None if ends is None else parse_instant(ends, "until", local)
    changed = app.system.manage.schedule_limit(found.kind, found.id, app.actor, period, change, from_ms, to_ms)
    _answer(app, "scheduled", changed.change_id, changed.why_not)


@limit.command("list")
@click.argument("owner", metavar="[BRAND|CAMPAIGN]", required=False)
@click.option("--over", is_flag=True, help="Those too of which nothing follows.")
@pass_app
def list_(app: App, owner: str | None, over: bool) -> None:
    """List scheduled changes: of a brand and its campaigns, of a campaign, or all."""
    limits = app.system.catalog.limits
    found = None if owner is None else owner_of(app, owner)
    every = limits.every(over=over) if found is None else limits.every(found.kind, found.id, over=over)
    documents = [limit_document(limits, one) for one in every]
    if app.json:
        print_json(documents)
        return
    columns = ("id", "of", "budget", "change", "at", "until", "state", "becomes", "then")
    rows = [
        (
            str(one["id"]), f"campaign {one['campaign_id']}" if one["campaign_id"] else f"brand {one['brand_id']}",
            one["period"], one["change"], one["starts_at"], one["ends_at"] or "", one["state"], one["becomes"] or "", one["then"] or "",
        )
        for one in documents
    ]  # fmt: skip
    print_table(columns, rows, right=("id", "becomes", "then"))


@limit.command()
@click.argument("change_id", metavar="ID", type=click.IntRange(1, 2**62))
@pass_app
def cancel(app: App, change_id: int) -> None:
    """Take the change ID back. One that is in force ends now; one that was taken stays."""
    changed = app.system.manage.cancel_limit(change_id, app.actor)
    _answer(app, "cancelled", change_id, changed.why_not)


def _answer(app: App, done: str, change_id: int, why_not: str) -> None:
    if why_not:
        note(why_not)
    one = app.system.catalog.limits.one(change_id)
    if app.json:
        print_json(limit_document(app.system.catalog.limits, one))
        return
    from engine.domain.limit_changes import sentences, told

    click.echo(f"{done} change {told(one.change)}")
    if not one.over:
        turns = app.system.catalog.limits.turns(one.entity, one.owner_id)
        for sentence in sentences(one.change, turns, f"{one.entity} {one.owner_id}"):
            click.echo(sentence)
