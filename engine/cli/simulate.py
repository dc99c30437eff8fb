"""The command `simulate`: past days of a campaign through the gate of another pacing."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.app import DAY, App, pass_app
from engine.cli.group import Command
from engine.cli.output import LINES_SHOWN, money, note, print_json, print_table
from engine.domain.money import format_micros
from engine.errors import InvalidInput, shown

if TYPE_CHECKING:
    from engine.domain.pacing import Pacing
    from engine.domain.simulation import Course
    from engine.views.simulations import Offered, Simulation

_COLUMNS = ("day", "", "used", "most off plan", "dark hours", "busiest 5 min", "refused", "spent")


@click.command(cls=Command)
@click.argument("campaign_id", metavar="CAMPAIGN")
@click.option(
    "--from",
    "first",
    type=DAY,
    required=True,
    metavar="D",
    help="The first day by the brand's clock, such as 2026-11-01.",
)
@click.option("--to", "last", type=DAY, required=True, metavar="D", help="The last day, included.")
@click.option(
    "--pacing",
    default="even",
    show_default=True,
    metavar="asap|even|ahead|traffic|custom:NAME",
    help="traffic is the curve that the 28 days before each day teach.",
)
@click.option(
    "--catch-up",
    default="300",
    show_default=True,
    metavar="PERCENT|asap|spread",
    help="How fast a budget that is behind is made good: a minute's most, in percent of its plan.",
)
@click.option("--daily", metavar="AMOUNT", help="Another daily budget than the campaign's, or else its brand's.")
@click.option(
    "--csv", "file", metavar="FILE.csv|-", help="The tries, in the columns of `replay`; else what the log has."
)
@click.option("--svg", "picture", metavar="FILE", help="Also draw plan, spent and refused of each day.")
@pass_app
def simulate(
    app: App,
    campaign_id: str,
    first: datetime,
    last: datetime,
    pacing: str,
    catch_up: str,
    daily: str | None,
    file: str | None,
    picture: str | None,
) -> None:
    """Replay past days of CAMPAIGN through the gate of a pacing, beside what really happened.

    The log has what was counted then, and not what was refused: to see more traffic, give the tries with --csv. Nothing is changed.
    """
    from engine.domain.money import parse_budget
    from engine.domain.pacing import Pacing, check_catch_up, check_pacing
    from engine.views.simulations import Simulations, Wanted

    limit = None if daily is None else parse_budget(daily, "daily")
    if daily is not None and not limit:
        raise InvalidInput(f"daily {shown(daily)} is no budget to spend: give an amount above 0", "daily")
    mode = Pacing(check_pacing(pacing), check_catch_up(catch_up))
    campaign = app.campaign_id(campaign_id)
    offered = None if file is None else _offered(app, campaign, file)
    done = Simulations(app.system.db, app.system.catalog).run(
        campaign, Wanted(first.date(), last.date(), mode, limit), offered
    )
    if picture is not None:
        _draw(done, picture, mode)
    if app.json:
        print_json(_document(campaign, mode, done))
        return
    days = f", days of {done.zones.name}" if done.zones.name else ""
    click.echo(f"daily budget {money(done.limit)} of {done.owner}, {mode.mode}, catch-up {mode.catch_up}{days}")
    rows = [
        row for each in done.days for row in (
            (each.day.isoformat(), "simulated", *_cells(each.gate, refused=True)),
            ("", "as it was", *_cells(each.actual, refused=False)),
        )
    ]  # fmt: skip
    print_table(_COLUMNS, rows, right=_COLUMNS[2:])


def _offered(app: App, campaign_id: int, file: str) -> Offered:
    """The lines of a file that are of a campaign, by name. Raises InvalidInput where none is."""
    from engine.domain.periods import ms_of
    from engine.feeds.spend_file import Malformed, SpendFile

    campaign = app.system.catalog.campaign(campaign_id)
    brand = app.system.catalog.brand(campaign.brand_id)
    names, clock = (brand.name, campaign.name), brand.zones.clock
    found: dict[int, list[tuple[int, int]]] = {}
    wrong = 0
    with SpendFile(file) as rows:
        for row in rows.rows():
            if isinstance(row, Malformed) or row.at is None:
                wrong += 1
                if wrong <= LINES_SHOWN:
                    note(str(row) if isinstance(row, Malformed) else f"line {row.line}: it has no instant in `at`")
            elif (row.brand, row.campaign) == names:
                day = clock.day_of(ms_of(row.at))
                found.setdefault(day, []).append((ms_of(row.at) - clock.midnight_ms(day), row.amount_micros))
    if wrong > LINES_SHOWN:
        note(f"... and {wrong - LINES_SHOWN:,} more lines")
    if not found:
        raise InvalidInput(
            f"no line of {shown(file)} is of brand {shown(names[0])} and campaign {shown(names[1])}", "csv"
        )
    return {day: sorted(spends, key=lambda spend: spend[0]) for day, spends in found.items()}


def _draw(done: Simulation, file: str, pacing: Pacing) -> None:
    from engine.domain.periods import day_number
    from engine.views.course_picture import Plot, clock_hours, svg

    plots = [
        Plot(
            f"{each.day}, {pacing.mode}, catch-up {pacing.catch_up}",
            each.gate,
            each.actual,
            "as it was",
            clock_hours(done.zones.clock, day_number(each.day)),
        )
        for each in done.days
    ]
    try:
        Path(file).write_text(svg(plots), encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InvalidInput(
            f"svg {shown(file)} cannot be written ({reason}): give a path in a folder that exists", "svg"
        ) from None


def _cells(course: Course, *, refused: bool) -> tuple[str, ...]:
    part = f"{course.tries - course.passed:,} ({course.refused_ppm / 10_000:.1f} %)" if refused else ""
    return (
        f"{course.used_ppm / 10_000:.2f} %", f"{course.most_off_ppm / 10_000:.2f} %", str(course.dark_hours),
        f"{course.busiest_ppm / 1_000_000:.2f} x", part, money(course.total),
    )  # fmt: skip


def _document(campaign: int, pacing: Pacing, done: Simulation) -> dict[str, Any]:
    from engine.domain.zone_text import UTC_NAME

    return {
        "campaign_id": campaign,
        "budget_of": done.owner.kind,
        "daily_budget": format_micros(done.limit),
        "pacing": pacing.mode,
        "catch_up": pacing.catch_up,
        "time_zone": done.zones.name or UTC_NAME,
        "days": [
            {"day": each.day.isoformat(), "simulated": _course(each.gate), "actual": _course(each.actual)}
            for each in done.days
        ],
    }


def _course(course: Course) -> dict[str, Any]:
    """A day's figures; parts of the budget, of the plan and of the tries are decimal strings."""
    return {
        "spend": format_micros(course.total),
        "overspent": format_micros(course.overspent),
        "used": _part(course.used_ppm),
        "most_off_plan": _part(course.most_off_ppm),
        "dark_hours": course.dark_hours,
        "busiest_five_minutes": _part(course.busiest_ppm),
        "tries": course.tries,
        "refused": course.tries - course.passed,
    }


def _part(ppm: int) -> str:
    return f"{ppm // 1_000_000}.{ppm % 1_000_000:06d}"
