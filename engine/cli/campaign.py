"""`budget-engine campaign`: campaigns, their hours and their switch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from engine.cli.app import App, own_id, pass_app
from engine.cli.group import Group
from engine.cli.output import money, note, note_if_not_live, print_fields, print_json, print_table
from engine.cli.pacing import paced, pacing_changes, say_pacing
from engine.domain.brake import Brake, parse_per_minute, per_minute_text
from engine.domain.budget import CAMPAIGN_BUDGETS, Budget, OwnLimits
from engine.domain.names import seen
from engine.domain.pacing import ASAP, CATCH_UP
from engine.views.documents import campaign_document

if TYPE_CHECKING:
    from engine.flows.catalog.manage import Changed
    from engine.ledger.records import CampaignRecord
    from engine.views.models import CampaignView

_SCHEDULE_HELP = (
    "When it may run, by the clock of its brand:"
    ' {"days": ["mon"], "start_time": "09:00", "end_time": "17:00"}, a list of such, or always.'
)

_PER_MINUTE = {
    "breaker": "A minute that spends more, recorded spends included, switches it off until `resume`; none is no breaker.",
    "rate-limit": "What tries may spend in a minute; more is refused until the next. None is no limit.",
}

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _own_budgets(default: str | None) -> Callable[[_Command], _Command]:
    """The options for a campaign's own budgets."""

    def options(command: _Command) -> _Command:
        for kind in reversed(CAMPAIGN_BUDGETS):
            text = f"{kind.words.capitalize()}, beside the brand's; none is no limit."
            command = click.option(f"--{kind.name}", default=default, metavar="AMOUNT", help=text)(command)
        return command

    return options


def _per_minute(default: str | None) -> Callable[[_Command], _Command]:
    """The options for a campaign's brake."""

    def options(command: _Command) -> _Command:
        for name, text in _PER_MINUTE.items():
            command = click.option(f"--{name}", default=default, metavar="A/min", help=text)(command)
        return command

    return options


@click.group(cls=Group)
def campaign() -> None:
    """Campaigns of brands."""


@campaign.command("create")
@click.argument("brand_id")
@click.argument("name")
@click.option("--schedule", metavar="JSON", help=_SCHEDULE_HELP)
@click.option("--external-id", metavar="X", help="Your own id, usable as ext:X wherever an ID is asked for.")
@_own_budgets("none")
@_per_minute("none")
@paced(ASAP, str(CATCH_UP))
@pass_app
def create(
    app: App,
    /,
    brand_id: str,
    name: str,
    schedule: str | None,
    external_id: str | None,
    pacing: str,
    catch_up: str,
    **amounts: str,
) -> None:
    """Create the campaign NAME of a brand."""
    from engine.domain.money import parse_budget
    from engine.domain.pacing import Pacing
    from engine.domain.schedule import Schedule

    hours = Schedule.parse(schedule)
    own = None if external_id is None else own_id(external_id)
    limits = OwnLimits(*(parse_budget(amounts[kind.name], f"{kind.name}_budget") for kind in CAMPAIGN_BUDGETS))
    brake = Brake(
        parse_per_minute(amounts["rate_limit"], "rate_limit"), parse_per_minute(amounts["breaker"], "breaker")
    )
    brand, wanted = app.brand_id(brand_id), Pacing(pacing, catch_up)
    made = app.system.manage.create_campaign(brand, name, hours, own, app.actor, limits, wanted, brake)
    _answer(app, "created", made)


@campaign.command("list")
@click.option("--brand", "brand_id", metavar="ID", help="Only those of one brand.")
@click.option("--archived", is_flag=True, help="Archived ones too.")
@pass_app
def list_(app: App, brand_id: str | None, archived: bool) -> None:
    """List campaigns with their status."""
    wanted = None if brand_id is None else app.brand_id(brand_id)
    views = app.system.overview.campaigns(wanted, include_archived=archived)
    note_if_not_live(app.system.overview)
    if app.json:
        print_json([campaign_document(view) for view in views])
    else:
        print_campaigns(views)


@campaign.command("show")
@click.argument("campaign_id", metavar="ID")
@pass_app
def show(app: App, campaign_id: str) -> None:
    """Show one campaign."""
    view = app.system.overview.campaign(app.campaign_id(campaign_id))
    note_if_not_live(app.system.overview)
    if app.json:
        print_json(campaign_document(view))
        return
    print_fields(
        [
            ("campaign", f"{view.id}" + (f" (ext:{view.external_id})" if view.external_id else "")),
            ("name", view.name),
            ("brand", str(view.brand_id)),
            ("status", view.sentence),
            ("schedule", view.hours),
            ("today", money(view.daily_spend)),
            ("this month", money(view.monthly_spend)),
            *((kind.words, _of(budget)) for kind, budget in view.meters),
            *([("pacing", view.pacing.words)] if view.pacing and view.pacing.due is not None else []),
            *([("pass rate", view.pacing.rate_words)] if view.pacing and view.pacing.rate_words else []),
            *_brake_fields(view),
        ]
    )


@campaign.command("update")
@click.argument("campaign_id", metavar="ID")
@click.option("--name", help="Another name.")
@click.option("--schedule", metavar="JSON", help=_SCHEDULE_HELP)
@click.option("--external-id", metavar="X", help="Your own id; none takes it away.")
@_own_budgets(None)
@_per_minute(None)
@paced(None, None)
@pass_app
def update(
    app: App,
    /,
    campaign_id: str,
    name: str | None,
    schedule: str | None,
    external_id: str | None,
    pacing: str | None,
    catch_up: str | None,
    **amounts: str | None,
) -> None:
    """Change what is given of a campaign; of an archived one its name and external id only."""
    from engine.domain.money import parse_budget
    from engine.domain.schedule import Schedule

    changes: dict[str, Any] = {}
    if name is not None:
        changes["name"] = name
    if schedule is not None:
        changes["schedule"] = Schedule.parse(schedule)
    if external_id is not None:
        changes["external_id"] = own_id(external_id)
    for kind in CAMPAIGN_BUDGETS:
        written = amounts[kind.name]
        if written is not None:
            changes[kind.column] = parse_budget(written, f"{kind.name}_budget")
    for field in ("rate_limit", "breaker"):
        written = amounts[field]
        if written is not None:
            changes[f"{field}_micros"] = parse_per_minute(written, field)
    changes |= pacing_changes(pacing, catch_up)
    if not changes:
        options = ", ".join(f"--{name}" for name in (*(kind.name for kind in CAMPAIGN_BUDGETS), *reversed(_PER_MINUTE)))
        raise click.UsageError(
            f"Nothing to change: give --name, --schedule, {options}, --pacing, --catch-up or --external-id."
        )
    campaign = app.campaign_id(campaign_id)
    say_pacing(app, "campaign", campaign, changes)
    _answer(app, "changed", app.system.manage.update_campaign(campaign, app.actor, **changes))


@campaign.command("pause")
@click.argument("campaign_id", metavar="ID")
@pass_app
def pause(app: App, campaign_id: str) -> None:
    """Switch a campaign off. No job switches it on again; `resume` does."""
    _answer(app, "paused", app.system.manage.pause_campaign(app.campaign_id(campaign_id), app.actor))


@campaign.command("resume")
@click.argument("campaign_id", metavar="ID")
@pass_app
def resume(app: App, campaign_id: str) -> None:
    """Switch a campaign on again, and close its breaker where that is open: it runs when budget and schedule permit."""
    changed = app.system.manage.resume_campaign(app.campaign_id(campaign_id), app.actor)
    _answer(app, "resumed and closed the breaker of" if changed.closed_breaker else "resumed", changed)


@campaign.command("archive")
@click.argument("campaign_id", metavar="ID")
@pass_app
def archive(app: App, campaign_id: str) -> None:
    """Take a campaign out of use. Nothing is deleted; `unarchive` brings it back, its name is free meanwhile."""
    _answer(app, "archived", app.system.manage.archive_campaign(app.campaign_id(campaign_id), app.actor))


@campaign.command("unarchive")
@click.argument("campaign_id", metavar="ID")
@pass_app
def unarchive(app: App, campaign_id: str) -> None:
    """Bring an archived campaign back, switched as it was. Refused while another campaign of the brand has its name."""
    _answer(app, "unarchived", app.system.manage.unarchive_campaign(app.campaign_id(campaign_id), app.actor))


def print_campaigns(views: Iterable[CampaignView]) -> None:
    """Campaigns as a table."""
    columns = ("id", "external id", "brand", "name", "today", "this month", "schedule", "status")
    rows = (
        (
            str(view.id),
            view.external_id or "",
            str(view.brand_id),
            view.name,
            money(view.daily_spend),
            money(view.monthly_spend),
            view.hours,
            view.sentence,
        )
        for view in views
    )
    print_table(columns, rows, right=("id", "brand", "today", "this month"))


def _brake_fields(view: CampaignView) -> Iterable[tuple[str, str]]:
    """A campaign's limit for a minute and its breaker, where it has them."""
    if view.brake.limit is not None:
        yield "rate limit", f"{per_minute_text(view.brake.limit)}, {money(view.minute_spend)} in this minute"
    if view.brake.breaker is not None or view.broken:
        state = f"open: `campaign resume {view.id}` closes it" if view.broken else "closed"
        yield "breaker", f"{per_minute_text(view.brake.breaker)}, {state}"


def _of(budget: Budget) -> str:
    return f"{money(budget.spent)} of {money(budget.limit)} spent, {money(budget.remaining)} left"


def _answer(app: App, done: str, changed: Changed[CampaignRecord]) -> None:
    from engine.domain.budget import daily_above_monthly

    if daily_above_monthly(changed.row.daily_budget_micros, changed.row.monthly_budget_micros):
        note("the daily budget is above the monthly one, which is used up first: is one of them a slip?")
    if not changed.published:
        note(changed.why_not)
    view = app.system.overview.campaign(changed.row.id)
    if app.json:
        print_json(campaign_document(view))
    else:
        click.echo(f"{done} campaign {view.id} {seen(view.name)}: {view.sentence}")
