"""The spend log of one brand or campaign over some days as CSV, sent while it is read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import Final

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from engine.domain.ids import brand_of
from engine.errors import InvalidInput, shown
from engine.ledger import spend_table
from engine.ledger.hourly import Owner
from engine.ledger.spend_table import SpendRow
from web import csv_text
from web.services import services

MOST_DAYS: Final = 366
_DAYS: Final = 7
_COLUMNS: Final = (
    "recorded_at", "day", "campaign_id", "campaign", "amount", "kind", "event_id", "request_id", "occurred_at", "hold_id",
)  # fmt: skip

blueprint = Blueprint("spend_log", __name__)


@blueprint.get("/brands/<int:brand_id>/spend.csv")
def brand(brand_id: int) -> ResponseReturnValue:
    """All spends of a brand."""
    services().catalog.brand(brand_id)
    return _table(Owner("brand", brand_id), brand_id, f"spend-brand-{brand_id}")


@blueprint.get("/campaigns/<int:campaign_id>/spend.csv")
def campaign(campaign_id: int) -> ResponseReturnValue:
    """All spends of a campaign."""
    services().catalog.campaign(campaign_id)
    return _table(Owner("campaign", campaign_id), brand_of(campaign_id), f"spend-campaign-{campaign_id}")


def _table(owner: Owner, brand_id: int, name: str) -> ResponseReturnValue:
    today = services().overview.today(brand_id)
    last = _day("to", today)
    first = _day("from", last - timedelta(days=_DAYS - 1))
    if not first <= last < first + timedelta(days=MOST_DAYS):
        raise InvalidInput(f"from {first} to {last} is not from 1 to {MOST_DAYS} days: choose others", "from")
    clock = services().catalog.brand(brand_id).zones.clock
    rows = _cells(spend_table.rows(services().db, owner, first, last, clock))
    return csv_text.streamed(_COLUMNS, rows, f"{name}-{first}-{last}.csv")


def _cells(rows: Iterator[SpendRow]) -> Iterator[list[str]]:
    cell = csv_text.cell
    for row in rows:
        yield [
            _instant(row.recorded_at), row.day.isoformat(), cell(row.campaign_id), cell(row.campaign), csv_text.exact(row.amount_micros),
            row.kind, cell(row.event_id), cell(row.request_id), "" if row.occurred_at is None else _instant(row.occurred_at),
            cell(row.hold_id),
        ]  # fmt: skip


def _instant(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


def _day(name: str, unless: date) -> date:
    text = request.args.get(name, "")
    if not text:
        return unless
    with suppress(ValueError):
        if (day := date.fromisoformat(text)).isoformat() == text and 2000 <= day.year < 2100:
            return day
    raise InvalidInput(f"{name} {shown(text)} is not a day: write it as {unless}", name)
