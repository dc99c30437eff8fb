"""`budget-engine brand`: brands and their budgets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from engine.cli.app import DAY, App, own_id, pass_app
from engine.cli.campaign import print_campaigns
from engine.cli.forecast import forecast_of
from engine.cli.group import Group
from engine.cli.output import (
    SUM_COLUMNS,
    day_cells,
    day_columns,
    money,
    note,
    note_if_not_live,
    print_fields,
    print_json,
    print_table,
    sum_cells,
)
from engine.cli.pacing import paced, pacing_changes, say_pacing
from engine.domain.names import seen
from engine.domain.pacing import ASAP, CATCH_UP
from engine.domain.zone_text import UTC_NAME
from engine.views.documents import brand_document, day_document, sum_document

if TYPE_CHECKING:
    from datetime import datetime

    from engine.flows.catalog.manage import Changed
    from engine.ledger.records import BrandRecord
    from engine.views.models import BrandView

_ROLLOVER: Final = "What a day leaves of its daily budget is carried into the next, at most CAP"
_ZONE: Final = "Time zone of its days, months and schedules, such as Europe/Berlin"


@click.group(cls=Group)
def brand() -> None:
    """Brands and their budgets."""


@brand.command("create")
@click.argument("name")
@click.option("--daily", default="none", metavar="AMOUNT", help="Daily budget, such as 100.00; none is no limit.")
@click.option("--monthly", default="none", metavar="AMOUNT", help="Monthly budget; none is no limit.")
@click.option("--external-id", metavar="X", help="Your own id, usable as ext:X wherever an ID is asked for.")
@click.option("--zone", metavar="ZONE", help=f"{_ZONE}; UTC when none is given.")
@click.option("--rollover", default="none", metavar="CAP", help=f"{_ROLLOVER}; none is no rollover.")
@paced(ASAP, str(CATCH_UP))
@pass_app
def create(
    app: App,
    name: str,
    daily: str,
    monthly: str,
    external_id: str | None,
    zone: str | None,
    rollover: str,
    pacing: str,
    catch_up: str,
) -> None:
    """Create the brand NAME."""
    from engine.domain.money import parse_budget
    from engine.domain.pacing import Pacing

    own = None if external_id is None else own_id(external_id)
    daily_micros, monthly_micros = parse_budget(daily, "daily_budget"), parse_budget(monthly, "monthly_budget")
    budgets = (daily_micros, monthly_micros)
    cap = parse_budget(rollover, "rollover_cap")
    made = app.system.manage.create_brand(name, *budgets, own, app.actor, Pacing(pacing, catch_up), zone, cap)
    _answer(app, "created", made)


@brand.command("list")
@click.option("--archived", is_flag=True, help="Archived ones too.")
@pass_app
def list_(app: App, archived: bool) -> None:
    """List brands with what is spent and left."""
    found = app.system.overview.snapshot(include_archived=archived)
    views = found.brands
    if found.note:
        note(found.note)
    if app.json:
        print_json([brand_document(view) for view in views])
        return
    columns = ("id", "external id", "name", "today", "of", "this month", "of month", "active")
    rows = (
        (
            str(view.id),
            view.external_id or "",
            view.name,
            money(view.daily_spend),
            money(view.daily_budget),
            money(view.monthly_spend),
            money(view.monthly_budget),
            f"{view.active_campaigns} of {len(view.campaign_views)}",
        )
        for view in views
    )
    print_table(columns, rows, right=("id", "today", "of", "this month", "of month", "active"))


@brand.command("show")
@click.argument("brand_id", metavar="ID")
@pass_app
def show(app: App, brand_id: str) -> None:
    """Show one brand and its campaigns."""
    view = app.system.overview.brand(app.brand_id(brand_id))
    note_if_not_live(app.system.overview)
    if app.json:
        print_json({**brand_document(view), "forecast": forecast_of(app, view.id)})
        return
    if not view.ready and not app.system.overview.why_not_live:
        note("Redis does not speak for this brand now: spend is the log's")
    print_fields(_fields(view))
    if view.campaign_views:
        print_campaigns(view.campaign_views)


@brand.command("days")
@click.argument("brand_id", metavar="ID")
@click.option(
    "--days", "days", type=int, default=31, show_default=True, metavar="N", help="How many days back, today among them."
)
@pass_app
def days(app: App, brand_id: str, days: int) -> None:
    """What a brand spent on each of its last days, as the log has it."""
    lines = app.system.overview.brand_days(app.brand_id(brand_id), days)
    if app.json:
        print_json([day_document(line) for line in lines])
        return
    columns = day_columns(lines)
    rows = ((line.day.isoformat(), *sum_cells(line), *day_cells(line, columns)) for line in lines)
    print_table(("day", *SUM_COLUMNS, *columns), rows, right=(*SUM_COLUMNS, *columns))


@brand.command("hours")
@click.argument("brand_id", metavar="ID")
@click.option(
    "--day", type=DAY, metavar="DATE", help="A day of the brand, such as 2026-11-23; today when none is given."
)
@pass_app
def hours(app: App, brand_id: str, day: datetime | None) -> None:
    """What a brand spent in each hour of a day by its clock, as the log has it. An hour that comes twice is one line."""
    lines = app.system.overview.brand_hours(app.brand_id(brand_id), day.date() if day else None)
    if app.json:
        print_json([{"hour": line.hour, **sum_document(line)} for line in lines])
        return
    print_table(("hour", *SUM_COLUMNS), ((f"{line.hour:02}:00", *sum_cells(line)) for line in lines), right=SUM_COLUMNS)


@brand.command("update")
@click.argument("brand_id", metavar="ID")
@click.option("--name", help="Another name.")
@click.option("--daily", metavar="AMOUNT", help="Daily budget; none is no limit.")
@click.option("--monthly", metavar="AMOUNT", help="Monthly budget; none is no limit.")
@click.option("--external-id", metavar="X", help="Your own id; none takes it away.")
@click.option("--zone", metavar="ZONE", help=f"{_ZONE}, or UTC. It takes effect at the brand's next midnight.")
@click.option("--rollover", metavar="CAP", help=f"{_ROLLOVER}; none is no rollover. It takes effect at once.")
@paced(None, None)
@pass_app
def update(
    app: App,
    brand_id: str,
    name: str | None,
    daily: str | None,
    monthly: str | None,
    external_id: str | None,
    zone: str | None,
    rollover: str | None,
    pacing: str | None,
    catch_up: str | None,
) -> None:
    """Change what is given of a brand; of an archived one its name and external id only."""
    from engine.domain.money import parse_budget

    changes: dict[str, Any] = {}
    if name is not None:
        changes["name"] = name
    if daily is not None:
        changes["daily_budget_micros"] = parse_budget(daily, "daily_budget")
    if monthly is not None:
        changes["monthly_budget_micros"] = parse_budget(monthly, "monthly_budget")
    if external_id is not None:
        changes["external_id"] = own_id(external_id)
    changes |= pacing_changes(pacing, catch_up)
    if zone is not None:
        changes["time_zone"] = zone
    if rollover is not None:
        changes["rollover_cap_micros"] = parse_budget(rollover, "rollover_cap")
    if not changes:
        raise click.UsageError(
            "Nothing to change: give --name, --daily, --monthly, --pacing, --catch-up, --zone, --rollover or --external-id."
        )
    brand = app.brand_id(brand_id)
    if zone is not None and (said := app.system.overview.zone_effect(brand, zone)):
        note(said)
    say_pacing(app, "brand", brand, changes)
    _answer(app, "changed", app.system.manage.update_brand(brand, app.actor, **changes))


@brand.command("pause")
@click.argument("brand_id", metavar="ID")
@click.option("--reason", metavar="TEXT", help="Why, for its history.")
@pass_app
def pause(app: App, brand_id: str, reason: str | None) -> None:
    """Stop a whole brand at once. Its campaigns keep their own switches; no job resumes it, `resume` does."""
    _answer(app, "paused", app.system.manage.pause_brand(app.brand_id(brand_id), app.actor, reason))


@brand.command("resume")
@click.argument("brand_id", metavar="ID")
@click.option("--reason", metavar="TEXT", help="Why, for its history.")
@pass_app
def resume(app: App, brand_id: str, reason: str | None) -> None:
    """Let a paused brand spend again: each campaign runs as its own switch, budget and schedule permit."""
    _answer(app, "resumed", app.system.manage.resume_brand(app.brand_id(brand_id), app.actor, reason))


@brand.command("archive")
@click.argument("brand_id", metavar="ID")
@pass_app
def archive(app: App, brand_id: str) -> None:
    """Take a brand and all its campaigns out of use. Nothing is deleted; `unarchive` brings it back, its name is free meanwhile."""
    _answer(app, "archived", app.system.manage.archive_brand(app.brand_id(brand_id), app.actor))


@brand.command("unarchive")
@click.argument("brand_id", metavar="ID")
@pass_app
def unarchive(app: App, brand_id: str) -> None:
    """Bring an archived brand back, with its campaigns as they were. Refused while another brand has its name."""
    _answer(app, "unarchived", app.system.manage.unarchive_brand(app.brand_id(brand_id), app.actor))


def _answer(app: App, done: str, changed: Changed[BrandRecord]) -> None:
    from engine.domain.budget import daily_above_monthly
    from engine.views.rollover import told

    if daily_above_monthly(changed.row.daily_budget_micros, changed.row.monthly_budget_micros):
        note("the daily budget is above the monthly one, which is used up first: is one of them a slip?")
    if not changed.published:
        note(changed.why_not)
    elif changed.row.rollover_cap_micros is not None or (
        changed.before is not None and changed.before.rollover_cap_micros is not None
    ):
        note(told(app.system.overview.brand(changed.row.id, alone=True)))
    if app.json:
        print_json(brand_document(app.system.overview.brand(changed.row.id)))
        return
    row = changed.row
    budgets = f"daily {money(row.daily_budget_micros)}, monthly {money(row.monthly_budget_micros)}"
    click.echo(f"{done} brand {row.id} {seen(row.name)} ({budgets})")


def _fields(view: BrandView) -> list[tuple[str, str]]:
    from engine.views.rollover import told

    return [
        ("brand", f"{view.id}" + (f" (ext:{view.external_id})" if view.external_id else "")),
        ("name", view.name + (" (archived)" if view.archived else "")),
        ("today", _of(view.daily_spend, view.daily_budget, view.daily_remaining)),
        *([("rollover", told(view))] if view.rollover_cap is not None else []),
        ("this month", _of(view.monthly_spend, view.monthly_budget, view.monthly_remaining)),
        *([("time zone", view.local.label)] if view.local.label != UTC_NAME or view.new_zone else []),
        *([("new zone", view.new_zone)] if view.new_zone else []),
        *([("pacing", view.pacing.words)] if view.pacing and view.pacing.due is not None else []),
        *([("pass rate", view.pacing.rate_words)] if view.pacing and view.pacing.rate_words else []),
        ("campaigns", f"{view.active_campaigns} of {len(view.campaign_views)} active"),
    ]


def _of(spend: int, budget: int | None, remaining: int | None) -> str:
    if budget is None:
        return f"{money(spend)} spent, no limit"
    return f"{money(spend)} of {money(budget)} spent, {money(remaining)} left"
