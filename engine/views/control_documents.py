"""Operations, limits, curves, webhooks, tokens and users as JSON documents. The command line and the API both answer with them.
Amounts are decimal strings of six places, instants are ISO 8601 in UTC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.domain.curves import clock
from engine.domain.flights import instant_text
from engine.domain.limit_changes import change_text
from engine.domain.money import format_optional
from engine.domain.schedule import DAYS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.domain.curves import Points
    from engine.domain.operations import Change
    from engine.ledger.curve_catalog import CurveCatalog
    from engine.ledger.limit_catalog import LimitCatalog
    from engine.ledger.limit_changes import Scheduled
    from engine.ledger.operations import Item, OperationRecord
    from engine.ledger.tokens import Token
    from engine.ledger.users import User
    from engine.ledger.webhooks import Webhook


def operation_document(found: OperationRecord) -> dict[str, Any]:
    """The JSON document of an operation. starts, stops: campaigns, null where the live figures were not there."""
    return {
        "id": found.id,
        "kind": found.kind,
        "words": found.words,
        "note": found.note,
        "actor": found.actor,
        "state": found.state,
        "begun_at": found.begun_at.isoformat() if found.begun_at else None,
        "ended_at": found.ended_at.isoformat() if found.ended_at else None,
        "undo_of": found.undo_of,
        "undone_by": found.undone_by,
        "starts": found.starts,
        "stops": found.stops,
        "ready": found.ready,
        "done": found.done,
        "skipped": found.skipped,
    }


def row_document(item: Item) -> dict[str, Any]:
    """The JSON document of one row of an operation; amounts are decimal strings."""
    return {
        "entity": item.entity,
        "id": item.entity_id,
        "name": item.name,
        "state": item.state,
        "why": item.why,
        "changes": changes_document(item.changes),
    }


def changes_document(changes: Change) -> dict[str, Any]:
    """{field: [old, new]} of a row; amounts are decimal strings."""
    return {_plain(field): [value_of(field, old), value_of(field, new)] for field, (old, new) in changes.items()}


def _plain(field: str) -> str:
    return field.removesuffix("_micros")


def value_of(field: str, value: Any) -> Any:
    return format_optional(value) if field.endswith("_micros") else value


def limit_document(limits: LimitCatalog, one: Scheduled) -> dict[str, Any]:
    """The JSON document of a change. becomes, then: the limit from its begin, and from its end; null where that is past, or no limit."""

    change = one.change
    turns = [] if one.over else [turn for turn in limits.turns(one.entity, one.owner_id) if turn.change.id == change.id]
    begin = next((turn for turn in turns if not change.begun), None)
    end = next((turn for turn in turns[::-1] if change.ends_ms is not None and turn.at_ms == change.ends_ms), None)
    return {
        "id": change.id,
        "brand_id": one.brand_id,
        "campaign_id": one.owner_id if one.entity == "campaign" else None,
        "period": change.period,
        "change": change_text(change),
        "starts_at": instant_text(change.starts_ms),
        "ends_at": None if change.ends_ms is None else instant_text(change.ends_ms),
        "state": state_of(one),
        "becomes": format_optional(begin.after) if begin else None,
        "then": format_optional(end.after) if end else None,
    }


def state_of(one: Scheduled) -> str:
    """`ahead`, `in force`, `over` or `cancelled`."""
    if one.cancelled:
        return "cancelled"
    if one.over:
        return "over"
    return "in force" if one.change.begun else "ahead"


def curve_document(curves: CurveCatalog, name: str, found: Mapping[int, Points]) -> dict[str, Any]:
    """The JSON document of a curve. share: in ppm of the budget; day: None is every day."""
    return {
        "name": name,
        "curves": [
            {
                "day": DAYS[weekday - 1] if weekday else None,
                "points": [{"time": clock(second), "share": ppm} for second, ppm in points],
            }
            for weekday, points in found.items()
        ],
        "used_by": [f"{user.entity} {user.id}" for user in curves.users(name)],
    }


def webhook_document(found: Webhook) -> dict[str, Any]:
    """The JSON document of a webhook, without what is secret."""
    return {
        "id": found.id,
        "name": found.name,
        "url": found.url,
        "least": found.least,
        "created_at": found.created_at.isoformat(),
        "created_by": found.created_by,
        "disabled": found.disabled_at is not None,
        "waiting": found.waiting,
    }


def token_document(token: Token) -> dict[str, Any]:
    """The JSON document of a token, without what is secret."""
    return {
        "id": token.id,
        "name": token.name,
        "scopes": list(token.scopes),
        "brands": None if token.brands is None else list(token.brands),
        "created_at": token.created_at.isoformat(),
        "created_by": token.created_by,
        "last_use": None if token.used_at is None else token.used_at.isoformat(),
        "revoked": token.revoked_at is not None,
    }


def user_document(user: User) -> dict[str, Any]:
    """The JSON document of a user, without what is secret."""
    return {
        "id": user.id,
        "name": user.name,
        "role": user.role,
        "brands": None if user.brands is None else list(user.brands),
        "disabled": user.disabled_at is not None,
        "last_login": None if user.last_login is None else user.last_login.isoformat(),
    }
