"""`budget-engine curve`: curves of pacing, by name."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from engine.cli.app import App, pass_app
from engine.cli.group import Group
from engine.cli.output import note, print_json, print_table
from engine.domain.curves import DAY_S, PPM, Points
from engine.domain.schedule import DAYS
from engine.views.control_documents import curve_document

if TYPE_CHECKING:
    from collections.abc import Mapping


_HOURS: Final = 24
_BAR: Final = 60
"""Characters of the longest bar."""


@click.group(cls=Group)
def curve() -> None:
    """Curves of pacing: which part of a daily budget is due by a time of the day. `--pacing custom:NAME` uses one."""


@curve.command()
@click.argument("name")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--yes", is_flag=True, help="Replace a curve that paces something without asking.")
@pass_app
def create(app: App, name: str, file: Path, yes: bool) -> None:
    """Make the curve NAME from FILE, lines time,share: 09:00,250000 is a quarter of the budget by nine. Or replace it."""
    from engine.domain.curves import InvalidCurve, read_csv
    from engine.domain.pacing import check_curve_name

    check_curve_name(name)
    try:
        points = read_csv(file.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError:
        raise InvalidCurve(f"{file} is not text in UTF-8: save it as CSV with the columns time,share", "file") from None
    _put(app, name, {0: points}, yes)
    if not app.json:
        click.echo(f"curve {name} has {len(points)} points")


@curve.command()
@click.argument("brand_id", metavar="BRAND")
@click.option("--yes", is_flag=True, help="Replace the curve that paces the brand without asking.")
@pass_app
def learn(app: App, brand_id: str, yes: bool) -> None:
    """Learn the curve of BRAND for --pacing traffic: a curve for each weekday, from the hours of its last 28 days.

    Days on which a budget ran out are left out, because they show when the money ended. A brand that is paced already
    teaches its own curve back.
    """
    from engine.domain.pacing import ASAP
    from engine.ledger.curves import traffic_name

    brand = app.system.catalog.brand(app.brand_id(brand_id))
    points, days = app.system.forecasts.learned(brand.id)
    if brand.pacing != ASAP:
        note(f"brand {brand.id} is paced ({brand.pacing}), so its hours show that curve as much as its traffic")
    _put(app, traffic_name(brand.id), points, yes)
    if not app.json:
        click.echo(f"curve {traffic_name(brand.id)} has a curve for each weekday, by {days} days")


@curve.command("list")
@pass_app
def list_(app: App) -> None:
    """List the curves, with what each paces."""
    names = app.system.catalog.curves.names()
    used = {name: [f"{user.entity} {user.id}" for user in app.system.catalog.curves.users(name)] for name in names}
    if app.json:
        print_json([{"name": name, "used_by": used[name]} for name in names])
        return
    print_table(("curve", "paces"), [(name, ", ".join(used[name])) for name in names])


@curve.command()
@click.argument("name")
@pass_app
def show(app: App, name: str) -> None:
    """Draw the curve NAME: what each hour of the day may spend, in percent of the budget."""
    found = app.system.catalog.curves.points(name)
    if app.json:
        print_json(curve_document(app.system.catalog.curves, name, found))
        return
    for weekday, points in found.items():
        click.echo(f"{name}, {'every day' if not weekday else DAYS[weekday - 1]}")
        for line in _drawn(points):
            click.echo(line)


def _put(app: App, name: str, points: Mapping[int, Points], yes: bool) -> None:
    """Makes a curve, or another in its place, after what that changes was said and agreed to; with --json prints it."""
    said = app.system.overview.paced.of_curve(name, points)
    for sentence in said:
        note(sentence)
    if said and not yes:
        click.confirm("Replace it?", abort=True, err=True)
    for why_not in app.system.manage.put_curve(name, points, app.actor):
        note(why_not)
    if app.json:
        print_json(curve_document(app.system.catalog.curves, name, points))


def _drawn(points: Points) -> list[str]:
    """A line an hour: its part of the budget, and the sum until its end."""
    from engine.domain.curves import Curve

    known = Curve(tuple(points))
    ends = [known.due(min(hour * 3600, DAY_S) * 1000) for hour in range(_HOURS + 1)]
    parts = [after - before for before, after in itertools.pairwise(ends)]
    most = max(parts) or 1
    return [
        f"{hour:02d}:00 {part / PPM:7.2%} {end / PPM:8.2%} {'#' * (part * _BAR // most)}"
        for hour, (part, end) in enumerate(zip(parts, ends[1:], strict=True))
    ]
