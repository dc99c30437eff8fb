"""Brands, campaigns, flights and days as JSON documents, in the shapes of the contract. The command line and the API both answer with
them. Amounts are decimal strings of six places, or None for no limit; instants are ISO 8601 in UTC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.domain.budget import CAMPAIGN_BUDGETS
from engine.domain.flights import instant_text
from engine.domain.money import format_micros, format_optional
from engine.domain.periods import at_ms

if TYPE_CHECKING:
    from engine.domain.forecast import Band, Forecast
    from engine.ledger.hourly import Owner
    from engine.ledger.reports import BrandDay, BrandHour
    from engine.views.models import BrandView, CampaignView, FlightView
    from engine.views.pacing import PacingView


def brand_document(view: BrandView) -> dict[str, Any]:
    """The JSON document of a brand, with those of its campaigns."""
    return {
        "id": view.id,
        "external_id": view.external_id,
        "name": view.name,
        "daily_budget": format_optional(view.planned_budget),
        "monthly_budget": format_optional(view.monthly_budget),
        "rollover_cap": format_optional(view.rollover_cap),
        "carried": format_micros(view.carried),
        "daily_spend": format_micros(view.daily_spend),
        "monthly_spend": format_micros(view.monthly_spend),
        "daily_remaining": format_optional(view.daily_remaining),
        "monthly_remaining": format_optional(view.monthly_remaining),
        "time_zone": view.time_zone,
        **_pacing_document(view.pacing),
        "active_campaigns": view.active_campaigns,
        "campaigns": [campaign_document(campaign) for campaign in view.campaign_views],
    }


def campaign_document(view: CampaignView) -> dict[str, Any]:
    """The JSON document of a campaign."""
    return {
        "id": view.id,
        "external_id": view.external_id,
        "brand_id": view.brand_id,
        "name": view.name,
        "status": view.status,
        "reasons": list(view.reasons),
        "schedule": view.schedule.to_json(),
        "daily_spend": format_micros(view.daily_spend),
        "monthly_spend": format_micros(view.monthly_spend),
        **{
            f"{kind.name}_budget": format_optional(budget.limit)
            for kind, budget in zip(CAMPAIGN_BUDGETS, view.budgets, strict=True)
        },
        **_pacing_document(view.pacing),
        "lifetime_spend": format_micros(view.budgets[-1].spent) if view.budgets[-1].limit is not None else None,
        "flight": None if view.flight is None else flight_document(view.flight),
        "rate_limit": format_optional(view.brake.limit),
        "breaker": _breaker_document(view),
    }


def flight_document(flight: FlightView) -> dict[str, Any]:
    """A flight as the contract shapes it."""
    return {
        "no": flight.no,
        "starts_at": instant_text(flight.starts_ms),
        "ends_at": instant_text(flight.ends_ms),
        "budget": format_optional(flight.budget),
        "spend": format_micros(flight.spend),
        "left": format_optional(flight.left),
        "carries_on": flight.carries,
        "spread": flight.spread,
        "today_budget": format_optional(flight.today),
        "state": flight.state,
    }


def sum_document(line: BrandDay | BrandHour) -> dict[str, Any]:
    """The JSON document of the spend of a day or an hour."""
    return {"spend": format_micros(line.spend_micros), "spends": line.spends}


def day_document(line: BrandDay) -> dict[str, Any]:
    """The JSON document of a day: its spend; late, what of it occurred on an earlier day than it was reported; and what was backfilled
    beside it.
    """
    return {
        "day": line.day.isoformat(),
        **sum_document(line),
        "late": format_micros(line.late_micros),
        "late_spends": line.late_spends,
        "backfilled": format_micros(line.backfilled_micros),
        "backfilled_spends": line.backfilled_spends,
    }


def _breaker_document(view: CampaignView) -> dict[str, Any] | None:
    """A campaign's breaker; None where it has none and none is open. limit: an amount a minute."""
    if view.brake.breaker is None and not view.broken:
        return None
    return {
        "limit": format_optional(view.brake.breaker),
        "open": view.broken,
        "open_since": None if view.broken_ms is None else instant_text(view.broken_ms),
        "spend": format_micros(view.minute_spend),
    }


def _pacing_document(view: PacingView | None) -> dict[str, Any]:
    """The pacing of a brand's daily budget, or of a campaign's own, and what is due of it by now."""
    return {
        "pacing": view.pacing.mode if view else None,
        "catch_up": view.pacing.catch_up if view else None,
        "due_now": format_optional(view.due) if view else None,
        "pass_rate": view.pass_rate if view else 1.0,
    }


def forecast_document(owner: Owner, found: Forecast) -> dict[str, Any]:
    """A forecast as JSON; amounts are decimal strings, instants UTC."""
    return {
        f"{owner.kind}_id": owner.id,
        "at": at_ms(found.now_ms).isoformat().replace("+00:00", "Z"),
        "day": _band_document(found.day),
        "month": _band_document(found.month),
        "runs_out_at": None
        if found.runs_out_ms is None
        else at_ms(found.runs_out_ms).isoformat().replace("+00:00", "Z"),
        "usual_part_by_now": f"{found.part / 1_000_000:.6f}",
        "rule": found.rule,
        "days": found.days,
    }


def _band_document(band: Band) -> dict[str, str]:
    return {name: format_micros(getattr(band, name)) for name in ("expected", "low", "high")}
