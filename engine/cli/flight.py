"""Commands on flights of campaigns: spans of time with a budget each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from engine.cli.app import App, pass_app
from engine.cli.group import Group
from engine.cli.output import money, note, note_if_not_live, print_json, print_table
from engine.domain.ids import brand_of
from engine.views.documents import flight_document

if TYPE_CHECKING:
    from engine.flows.catalog.manage import Changed
    from engine.ledger.records import CampaignRecord
    from engine.views.models import FlightView

_NO = click.IntRange(1, 65535)
_SPREAD = click.Choice(["even", "asap", "none"])
_INSTANT = "An instant by the clock of its brand, as 2026-12-01T10:00, or with a zone, as 2026-12-01T09:00Z"


@click.group(cls=Group)
def flight() -> None:
    """Flights: from when to when a campaign runs, and with how much. A campaign with flights runs inside them only."""


@flight.command()
@click.argument("campaign_id", metavar="CAMPAIGN")
@click.option("--from", "starts", default="now", metavar="T", help=f"{_INSTANT}, or now. Included.")
@click.option("--to", "ends", required=True, metavar="T", help=f"{_INSTANT}. Not included.")
@click.option("--budget", required=True, metavar="AMOUNT", help="What the flight may spend; none is no limit.")
@click.option("--carry", is_flag=True, help="What is left at its end goes on into the next flight.")
@click.option(
    "--spread",
    type=_SPREAD,
    default="asap",
    help="even: each day has a part, what is left by the day's share of the time left.",
)
@pass_app
def add(app: App, campaign_id: str, starts: str, ends: str, budget: str, carry: bool, spread: str) -> None:
    """Add a flight to CAMPAIGN."""
    from engine.domain.flights import parse_instant
    from engine.domain.money import parse_budget

    campaign = app.campaign_id(campaign_id)
    local = app.system.overview.local(brand_of(campaign))
    from_ms = None if starts == "now" else parse_instant(starts, "starts_at", local)
    to_ms, micros = parse_instant(ends, "ends_at", local), parse_budget(budget, "budget")
    had = {known.no for known in app.system.catalog.flights.of([campaign])[campaign]}
    changed = app.system.manage.add_flight(campaign, app.actor, from_ms, to_ms, micros, carry, spread)
    made = next(known.no for known in app.system.catalog.flights.of([campaign])[campaign] if known.no not in had)
    _answer(app, "added", changed, made)
    if not had and not app.json:
        click.echo("a campaign with flights runs inside them only: outside this one it stops")


@flight.command("list")
@click.argument("campaign_id", metavar="CAMPAIGN")
@pass_app
def list_(app: App, campaign_id: str) -> None:
    """List the flights of CAMPAIGN, with what each may still spend."""
    views = app.system.overview.flights(app.campaign_id(campaign_id))
    note_if_not_live(app.system.overview)
    if app.json:
        print_json([flight_document(view) for view in views])
        return
    columns = ("flight", "state", "from", "to", "budget", "spent", "left", "today", "goes on")
    print_table(columns, [_cells(view) for view in views], right=("flight", "budget", "spent", "left", "today"))


@flight.command()
@click.argument("campaign_id", metavar="CAMPAIGN")
@click.argument("no", type=_NO)
@click.option("--from", "starts", metavar="T", help=f"{_INSTANT}. Of one that is running the start is past.")
@click.option("--to", "ends", metavar="T", help=f"{_INSTANT}, or now, which ends it at once.")
@click.option("--budget", metavar="AMOUNT", help="What the flight may spend; none is no limit.")
@click.option("--carry/--no-carry", default=None, help="Whether what is left at its end goes on into the next flight.")
@click.option("--spread", type=_SPREAD, help="As of `flight add`.")
@click.option("--yes", is_flag=True, help="Change a flight that is running without asking.")
@pass_app
def update(
    app: App,
    campaign_id: str,
    no: int,
    starts: str | None,
    ends: str | None,
    budget: str | None,
    carry: bool | None,
    spread: str | None,
    yes: bool,
) -> None:
    """Change what is given of flight NO of CAMPAIGN. Of one that is running, say first what will happen, and ask."""
    from engine.domain.flights import parse_instant
    from engine.domain.money import parse_budget

    changes: dict[str, Any] = {}
    campaign = app.campaign_id(campaign_id)
    local = app.system.overview.local(brand_of(campaign))
    if starts is not None:
        changes["starts_ms"] = parse_instant(starts, "starts_at", local)
    if ends is not None:
        changes["ends_ms"] = None if ends == "now" else parse_instant(ends, "ends_at", local)
    if budget is not None:
        changes["budget_micros"] = parse_budget(budget, "budget")
    if carry is not None:
        changes["carries"] = carry
    if spread is not None:
        changes["spread"] = spread
    if not changes:
        raise click.UsageError("Nothing to change: give --from, --to, --budget, --carry, --no-carry or --spread.")
    said = app.system.overview.flight_effects(campaign, no, changes)
    for sentence in said:
        note(sentence)
    if said and not yes:
        click.confirm("Change it?", abort=True, err=True)
    _answer(app, "changed", app.system.manage.change_flight(campaign, no, app.actor, **changes), no)


@flight.command()
@click.argument("campaign_id", metavar="CAMPAIGN")
@click.argument("no", type=_NO)
@pass_app
def remove(app: App, campaign_id: str, no: int) -> None:
    """Remove flight NO of CAMPAIGN, which has not begun. One that is running is ended: `flight update CAMPAIGN NO --to now`."""
    campaign = app.campaign_id(campaign_id)
    changed = app.system.manage.remove_flight(campaign, no, app.actor)
    _answer(app, "removed", changed, no)
    if not app.system.catalog.flights.of([campaign])[campaign] and not app.json:
        click.echo("the campaign has no flights now: it runs whenever budgets and schedule permit")


def _cells(view: FlightView) -> tuple[str, ...]:
    from engine.domain.flights import instant_text

    left = "" if view.left is None else money(view.left)
    today = "" if view.today is None else money(view.today)
    return (
        str(view.no), view.state, instant_text(view.starts_ms), instant_text(view.ends_ms), money(view.budget), money(view.spend),
        left, today, "yes" if view.carries else "",
    )  # fmt: skip


def _answer(app: App, done: str, changed: Changed[CampaignRecord], no: int) -> None:
    if not changed.published:
        note(changed.why_not)
    views = app.system.overview.flights(changed.row.id)
    view = next((view for view in views if view.no == no), None)
    if app.json:
        print_json(None if view is None else flight_document(view))
        return
    words = "" if view is None else f": {view.state}, {_cells(view)[2]} to {_cells(view)[3]}"
    click.echo(f"{done} flight {no} of campaign {changed.row.id}{words}")
