"""Results of the bidder's client as JSON. Amounts are decimal strings with six places, instants are ISO 8601 in UTC."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from flask import Response

from engine.client.holds import HoldResult, RefundResult
from engine.domain.money import format_micros
from engine.errors import UnreadableReply
from engine.live.replies import Answered, SpendResult

_FIGURES: Final = ("daily_spend", "monthly_spend", "daily_remaining", "monthly_remaining")
_UNKNOWN: Final = (None,) * 4


def answer(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(json.dumps(document), status, headers, content_type="application/json")


def instant(at: datetime | None) -> str | None:
    """An instant as text."""
    return None if at is None else at.isoformat().replace("+00:00", "Z")


def amount(value: Decimal | None) -> str | None:
    """An amount as text."""
    return None if value is None else format(value, "f")


def of_spend(result: SpendResult) -> str:
    """The JSON of a spend's result. It is written from whole micros: by way of a document of Decimals it would cost as much as the spend."""
    try:
        figures = _figures(result)
    except UnreadableReply:  # the outcome stands
        figures = _UNKNOWN
    day, month, day_left, month_left = ["null" if one is None else f'"{format_micros(one)}"' for one in figures]
    known = "" if result.replicated is None else f', "replicated": {json.dumps(result.replicated)}'
    return (
        f'{{"campaign_id": {result.campaign_id}, "outcome": "{result.outcome}", "reasons": {json.dumps(result.reasons)},'
        f' "daily_spend": {day}, "monthly_spend": {month}, "daily_remaining": {day_left}, "monthly_remaining": {month_left},'
        f' "retry_at": {json.dumps(instant(result.retry_at))}, "pass_rate": {result.pass_rate}'
        f"{known}}}"
    )


def _figures(result: SpendResult) -> Sequence[int | None]:
    """Spent and left of the day and of the month, in micros. Raises UnreadableReply."""
    figures = result.figures
    if figures is None:
        return _UNKNOWN
    day, month, day_limit, month_limit = (
        figures.daily_spend,
        figures.monthly_spend,
        figures.daily_limit,
        figures.monthly_limit,
    )
    return (
        day,
        month,
        None if day_limit is None else day_limit - day,
        None if month_limit is None else month_limit - month,
    )


def of_hold(result: HoldResult) -> dict[str, Any]:
    """The document of what became of a hold."""
    return {**_common(result), "hold_id": result.hold_id, "mark": result.mark or None}


def of_refund(result: RefundResult) -> dict[str, Any]:
    """The document of what became of a refund."""
    return {**_common(result), "detail": result.detail or None}


def of_spends(results: Sequence[SpendResult | None]) -> str:
    """The JSON array of many results, null where one is not known. Equal results are mostly one object, written once."""
    texts = {id(result): "null" if result is None else of_spend(result) for result in set(results)}
    return "[" + ",".join([texts[id(result)] for result in results]) + "]"


def _common(result: Answered) -> dict[str, Any]:
    try:
        figures = {name: amount(getattr(result, name)) for name in _FIGURES}
    except UnreadableReply:  # the outcome stands
        figures = dict.fromkeys(_FIGURES)
    document = {
        "campaign_id": result.campaign_id,
        "outcome": result.outcome,
        "reasons": list(result.reasons),
        **figures,
    }
    return document if result.replicated is None else {**document, "replicated": result.replicated}
