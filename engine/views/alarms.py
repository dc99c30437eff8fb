"""Alarms about money, for the pages: the last verify and its age, entries in quarantine, counters that drifted."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, Literal

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from engine.domain.money import format_micros
from engine.domain.periods import MINUTE_MS, at_ms, ms_of
from engine.errors import ServerAway
from engine.flows.verify.findings import failed_in
from engine.job_table import BY_NAME
from engine.ledger import corrections, quarantine, runs

State = Literal["ok", "wait", "down"]
Alarm = tuple[str, str, State, str]
"""key, name, state, one line that says what, and what to do."""

_VERIFY: Final = BY_NAME["verify"]
COUNTERS: Final = ("V1", "V2", "V13")
"""The checks of counters."""


def money_alarms(db: Engine, now_ms: int) -> tuple[Alarm, ...]:
    """Verify, quarantine and drift. Empty while PostgreSQL does not answer."""
    try:
        told = runs.last_ended(db, "verify")
        with db.connect() as conn:
            waiting = quarantine.rows(conn)
            recent = corrections.since(conn, at_ms(now_ms) - timedelta(days=1))
    except (ServerAway, SQLAlchemyError):
        return ()
    return _verify(told, now_ms), _quarantine(waiting), _drift(told, recent)


def _verify(last: runs.RunRecord | None, now_ms: int) -> Alarm:
    if last is None:
        return "verify", "Verify", "wait", f"not run yet: {_VERIFY.due}, or `budget-engine verify`"
    minutes = max(0, now_ms - ms_of(last.started_at)) // MINUTE_MS
    age = f"{minutes} min ago" if minutes else "just now"
    if last.outcome == "failed":
        return "verify", "Verify", "down", f"{age}: {last.detail}"
    if now_ms - ms_of(last.started_at) > _VERIFY.late_ms:
        return "verify", "Verify", "wait", f"last run {age}, which is too long: {last.detail}"
    return "verify", "Verify", "ok", f"{age}: {last.detail}"


def _quarantine(waiting: list[quarantine.QuarantineRow]) -> Alarm:
    if not waiting:
        return "quarantine", "Quarantine", "ok", "empty"
    first, micros = waiting[0], sum(row.micros for row in waiting)
    said = "entry waits" if len(waiting) == 1 else "entries wait"
    detail = f"{len(waiting)} {said} ({format_micros(micros)}), since {first.created_at:%Y-%m-%d %H:%M} UTC: {first.reason}; see `budget-engine quarantine list`"
    return "quarantine", "Quarantine", "down", detail


def _drift(last: runs.RunRecord | None, recent: list[corrections.CorrectionRow]) -> Alarm:
    off = [name for name in failed_in(last.detail) if name in COUNTERS] if last is not None else []
    if off:
        return (
            "drift",
            "Drift",
            "down",
            f"counters and log are apart ({', '.join(off)}): `budget-engine reconcile` says where and repairs it",
        )
    if recent:
        newest = recent[0]
        of = f"brand {newest.brand_id}" if newest.campaign_id is None else f"campaign {newest.campaign_id}"
        detail = f"{len(recent)} counters corrected in the last day, the latest of {of} by {newest.difference_micros:+d} micros at {newest.recorded_at:%H:%M} UTC"
        return "drift", "Drift", "wait", detail
    return "drift", "Drift", "ok", "none" if last is not None else "not known before the first verify"
