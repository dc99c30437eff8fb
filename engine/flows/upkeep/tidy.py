"""Drops what the ledger keeps for a while only: old runs, remembered requests, minutes of brands, alerts that ended, and messages about them."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy import Engine

from engine.ledger import alerts, carries, minutes, runs, spend_log, webhooks
from engine.ledger.database import writing

KEEP_MIXED: Final = timedelta(days=1)
"""How long remembered requests are kept beyond every configured window."""
_KEEP_CARRIES: Final = timedelta(days=62)


class Tidied(NamedTuple):
    """How many of each are gone."""

    runs: int
    requests: int
    minutes: int
    alerts: int
    messages: int


def tidy(db: Engine, now: datetime, windows: timedelta) -> Tidied:
    """Drops what is past its time, in small transactions. windows: the longest dedup window."""
    dropped = runs.prune(db)
    with writing(db) as conn:
        mixed = spend_log.prune_mixed_requests(conn, now - windows - KEEP_MIXED)
        carries.drop(conn, now - _KEEP_CARRIES)
    old = _prune_minutes(db, now.date() - timedelta(days=minutes.KEEP_DAYS))
    return Tidied(dropped, mixed, old, alerts.prune(db), webhooks.prune(db))


def _prune_minutes(db: Engine, before: date) -> int:
    gone = 0
    while True:
        with writing(db) as conn:
            part = minutes.prune(conn, before)
        if not part:
            return gone
        gone += part
