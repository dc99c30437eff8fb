"""The command `forecast`: where a brand or campaign will be at the end of its day and month."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from engine.cli.app import App, pass_app
from engine.cli.group import Command
from engine.cli.output import money, note_if_not_live, print_fields, print_json
from engine.cli.owner import owner_of

if TYPE_CHECKING:
    from engine.domain.forecast import Band


@click.command(cls=Command)
@click.argument("owner", metavar="BRAND|CAMPAIGN")
@pass_app
def forecast(app: App, owner: str) -> None:
    """Forecast the spend of BRAND or CAMPAIGN at the end of its day and month, with a band.

    By the hours of the last 28 days; 7 with spend are needed. On about eight of ten days the sum is within the band.
    """
    from engine.views.documents import forecast_document

    wanted = owner_of(app, owner)
    found = app.system.forecasts.of(wanted)
    local = app.system.catalog.brand(wanted.brand_id).zones.local(found.now_ms)
    note_if_not_live(app.system.overview)
    if app.json:
        print_json(forecast_document(wanted, found))
        return
    fields = [
        (wanted.kind, str(wanted.id)),
        ("end of day", _band(found.day)),
        ("end of month", _band(found.month)),
        ("usually by now", f"{found.part / 10_000:.1f} % of a day"),
        ("by", f"{found.days} past days, {found.rule}"),
    ]
    if found.runs_out_ms is not None:
        fields.insert(2, ("budget gone", f"about {local.words(found.runs_out_ms)}"))
    print_fields(fields)


def forecast_of(app: App, brand_id: int) -> dict[str, Any] | None:
    """The forecast of a brand as JSON; None where it has too little history."""
    from engine.errors import TooLittleHistory
    from engine.ledger.hourly import Owner
    from engine.views.documents import forecast_document

    owner = Owner("brand", brand_id)
    try:
        return forecast_document(owner, app.system.forecasts.of(owner))
    except TooLittleHistory:
        return None


def _band(band: Band) -> str:
    return f"{money(band.expected)} ({money(band.low)} to {money(band.high)})"
