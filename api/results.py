"""Results of the bidder's client as JSON. Amounts are decimal strings with six places, instants are ISO 8601 in UTC."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from flask import Response

from engine.client.holds import HoldResult, RefundResult
from engine.errors import UnreadableReply
from engine.live.replies import Answered, SpendResult

_FIGURES = ("daily_spend", "monthly_spend", "daily_remaining", "monthly_remaining")


def answer(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(json.dumps(document), status, headers, content_type="application/json")


def instant(at: datetime | None) -> str | None:
    """An instant as text."""
    return None if at is None else at.isoformat().replace("+00:00", "Z")


def amount(value: Decimal | None) -> str | None:
    """An amount as text."""
    return None if value is None else format(value, "f")


def of_spend(result: SpendResult) -> dict[str, Any]:
    """The document of a spend's result."""
    return {
        **_common(result),
        "retry_at": instant(result.retry_at),
        "pass_rate": result.pass_rate,
    }


def of_hold(result: HoldResult) -> dict[str, Any]:
    """The document of what became of a hold."""
    return {**_common(result), "hold_id": result.hold_id, "mark": result.mark or None}


def of_refund(result: RefundResult) -> dict[str, Any]:
    """The document of what became of a refund."""
    return {**_common(result), "detail": result.detail or None}


def of_spends(results: Sequence[SpendResult | None]) -> str:
    """The JSON array of many results, null where one is not known. Equal results are mostly one object, written once."""
    texts = {id(result): json.dumps(None if result is None else of_spend(result)) for result in set(results)}
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
