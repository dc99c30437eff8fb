"""Reports of brands and campaigns: what was spent a day, an hour and a minute, and where it is heading."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from flask import Response
from pydantic import Field

from api import access
from api.catalog_models import BrandPath, CampaignPath
from api.reading import Answer, Query, reads
from api.results import answer, instant
from api.routes import routes
from api.when import DayText, InstantText, day_of, instant_of
from engine.domain.money import format_micros
from engine.errors import InvalidInput
from engine.ledger import campaign_sums, minutes
from engine.ledger.hourly import Owner
from engine.ledger.reports import BrandDay, BrandHour
from engine.views.documents import day_document, forecast_document, sum_document
from engine.views.overview import DAYS, MOST_DAYS
from web.services import services

blueprint = routes("reports", __name__)


class DaysQuery(Query):
    """How many days back, today among them."""

    days: Annotated[int, Field(ge=1, le=MOST_DAYS)] = DAYS


class DayQuery(Query):
    """A day by the clock of the brand; today without it."""

    day: DayText = None


class HourQuery(Query):
    """The hour that begins at an instant; the present one without it."""

    hour: InstantText = None


class DayOut(Answer):
    """A day of a brand or campaign. Amounts are decimal strings; what was late or backfilled is told beside it."""

    day: str
    spend: str
    spends: int
    late: str
    late_spends: int
    backfilled: str
    backfilled_spends: int


class DaysOut(Answer):
    """Days, oldest first, those without spend too."""

    items: list[DayOut]


class HourOut(Answer):
    """An hour of a day, from 0 to 23. An hour that the clock has twice is one."""

    hour: int
    spend: str
    spends: int


class HoursOut(Answer):
    """Hours in order; those without spend are left out."""

    day: str
    items: list[HourOut]


class MinuteOut(Answer):
    """A minute, by its begin. spends: only of a campaign."""

    at: str
    spend: str
    spends: int | None = None


class MinutesOut(Answer):
    """Minutes in order; those without spend are left out."""

    items: list[MinuteOut]


class BandOut(Answer):
    """An amount, and from where to where it is on about eight of ten days."""

    expected: str
    low: str
    high: str


class ForecastOut(Answer):
    """Where the spend of a brand or campaign is heading."""

    brand_id: int | None = None
    campaign_id: int | None = None
    at: str
    day: BandOut
    month: BandOut
    runs_out_at: str | None
    usual_part_by_now: str
    rule: str
    days: int


@blueprint.get("/brands/<int:brand_id>/days", responses={200: DaysOut})
@reads
def brand_days(path: BrandPath, query: DaysQuery) -> Response:
    """What a brand spent on each of its last days."""
    found = services().overview.brand_days(access.check_brand(path.brand_id), query.days)
    return answer({"items": [day_document(line) for line in found]})


@blueprint.get("/brands/<int:brand_id>/hours", responses={200: HoursOut})
@reads
def brand_hours(path: BrandPath, query: DayQuery) -> Response:
    """What a brand spent in each hour of a day by its clock."""
    brand_id = access.check_brand(path.brand_id)
    day = services().overview.today(brand_id) if query.day is None else day_of(query.day, "day")
    return answer({"day": day.isoformat(), "items": _hours(services().overview.brand_hours(brand_id, day))})


@blueprint.get("/brands/<int:brand_id>/minutes", responses={200: MinutesOut})
@reads
def brand_minutes(path: BrandPath, query: DayQuery) -> Response:
    """What a brand spent in each minute of a day by its clock. They are kept for some days."""
    brand_id = access.check_brand(path.brand_id)
    today = services().overview.today(brand_id)
    day = today if query.day is None else day_of(query.day, "day")
    if day < today - timedelta(days=minutes.KEEP_DAYS):
        raise InvalidInput(f"day {day} is further back than the {minutes.KEEP_DAYS} days whose minutes are kept: read its hours", "day")  # fmt: skip
    with services().db.connect() as connection:
        found = minutes.of_day(connection, brand_id, day)
    return answer({"items": [{"at": instant(at), "spend": format_micros(micros)} for at, micros in found]})


@blueprint.get("/brands/<int:brand_id>/forecast", responses={200: ForecastOut})
@reads
def brand_forecast(path: BrandPath) -> Response:
    """Where a brand will be at the end of its day and month. 409 while it has too little history."""
    return _forecast(Owner("brand", access.check_brand(path.brand_id)))


@blueprint.get("/campaigns/<int:campaign_id>/days", responses={200: DaysOut})
@reads
def campaign_days(path: CampaignPath, query: DaysQuery) -> Response:
    """What a campaign spent on each of its last days. Late spends are told of a brand only."""
    campaign_id, brand_id = _campaign(path)
    today = services().overview.today(brand_id)
    each = [today - timedelta(days=back) for back in reversed(range(query.days))]
    found = {line.day: line for line in campaign_sums.days(services().db, campaign_id, each[0], today)}
    return answer({"items": [day_document(found.get(day) or BrandDay(day, 0, 0)) for day in each]})


@blueprint.get("/campaigns/<int:campaign_id>/hours", responses={200: HoursOut})
@reads
def campaign_hours(path: CampaignPath, query: DayQuery) -> Response:
    """What a campaign spent in each hour of a day by the clock of its brand."""
    campaign_id, brand_id = _campaign(path)
    day = services().overview.today(brand_id) if query.day is None else day_of(query.day, "day")
    return answer({"day": day.isoformat(), "items": _hours(campaign_sums.hours(services().db, campaign_id, day))})


@blueprint.get("/campaigns/<int:campaign_id>/minutes", responses={200: MinutesOut})
@reads
def campaign_minutes(path: CampaignPath, query: HourQuery) -> Response:
    """What a campaign spent in each minute of an hour, from the rows of the spend log."""
    campaign_id, _ = _campaign(path)
    given = query.hour
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) if given is None else instant_of(given, "hour")
    found = campaign_sums.minutes(services().db, campaign_id, hour)
    return answer({"items": [{"at": instant(line.at), **_sum(line)} for line in found]})


@blueprint.get("/campaigns/<int:campaign_id>/forecast", responses={200: ForecastOut})
@reads
def campaign_forecast(path: CampaignPath) -> Response:
    """Where a campaign will be at the end of its day and month. 409 while it has too little history."""
    return _forecast(Owner("campaign", _campaign(path)[0]))


def _campaign(path: CampaignPath) -> tuple[int, int]:
    """A campaign that there is, and its brand. Raises NotFound."""
    row = services().catalog.campaign(access.check_campaign(path.campaign_id))
    return row.id, row.brand_id


def _forecast(owner: Owner) -> Response:
    return answer(forecast_document(owner, services().forecasts.of(owner)))


def _hours(found: list[BrandHour]) -> list[dict[str, Any]]:
    return [{"hour": line.hour, **sum_document(line)} for line in found]


def _sum(line: campaign_sums.Minute) -> dict[str, Any]:
    return {"spend": format_micros(line.spend_micros), "spends": line.spends}
