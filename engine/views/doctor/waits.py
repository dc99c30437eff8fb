"""Who waits for a lock in PostgreSQL, and who holds it: while persist waits, the journal grows, and no other check
shows why.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import Engine, text

from engine.ledger.locks import HELD_BY, PREFIX, Lock
from engine.ledger.models import LOG_TABLES
from engine.logs import visible
from engine.views.doctor.finding import Finding

WAITED_S: Final = 2
"""Our own transactions hold locks for less."""
_WAITS: Final = """
SELECT w.pid, w.application_name, extract(epoch FROM clock_timestamp() - w.query_start)::float AS waited_s, w.query,
       b.pid AS holder, coalesce(b.application_name, '') AS holder_name, coalesce(b.usename, '') AS holder_role,
       extract(epoch FROM clock_timestamp() - b.xact_start)::float AS held_s
FROM pg_stat_activity AS w
LEFT JOIN LATERAL (SELECT * FROM pg_stat_activity WHERE pid = ANY (pg_blocking_pids(w.pid)) ORDER BY xact_start NULLS LAST LIMIT 1) AS b ON true
WHERE w.datname = current_database() AND w.usename = current_user AND w.wait_event_type = 'Lock' AND w.pid <> pg_backend_pid()
ORDER BY w.query_start
"""

_LONG: Final = {Lock.MIGRATE, Lock.REBUILD, Lock.EXPORT, Lock.BACKFILL}
"""Locks that are held for as long as the work takes."""
_OURS_S: Final = 60
"""Our own sessions hold the other locks for less."""
_KINDS: Final = {int(kind): kind for kind in Lock}
_STOPS: Final = {
    Lock.MIGRATE: "no migration begins",
    Lock.PARTITION: "a new day of the spend log cannot begin",
    Lock.BRAND: "the statuses of these brands are not written",
    Lock.REBUILD: "these shards are not rebuilt",
    Lock.RETENTION: "no old day is dropped",
    Lock.REFUND: "pending refunds are not decided",
    Lock.EXPORT: "these days are not exported",
    Lock.BACKFILL: "no spends are backfilled",
}


def look_at_held(db: Engine) -> Iterator[Finding]:
    """A finding for each session that keeps advisory locks of ours and should not: our jobs pass these parts by, so
    nobody waits for it.
    """
    with db.connect() as conn:
        rows = conn.execute(text(HELD_BY), {"prefix": PREFIX}).mappings().all()
    held: dict[tuple[int, Lock], list[Any]] = {}
    for row in rows:
        kind = _KINDS.get(row["kind"])
        if kind is not None and not (row["is_ours"] and (kind in _LONG or row["held_s"] < _OURS_S)):
            held.setdefault((row["pid"], kind), []).append(row)
    for (pid, lock), of in held.items():
        named = ", ".join(part for part in (visible(of[0]["holder_name"]), visible(of[0]["holder_role"])) if part)
        numbers = ", ".join(str(row["number"]) for row in of[:5]) + (", ..." if len(of) > 5 else "")
        detail = f"process {pid} ({named}) keeps the lock {lock.name} of {numbers}: {_STOPS[lock]}"
        yield Finding("held locks", "fail", detail, f"let it end, or: SELECT pg_terminate_backend({pid})")
    if not held:
        yield Finding("held locks", "ok", "no other program keeps a lock of ours")


def look_at_waits(db: Engine) -> Iterator[Finding]:
    """A finding for each session of this role that waits for a lock. It reads none of our tables, so no lock on them
    can block it.
    """
    with db.connect() as conn:
        rows = [row for row in conn.execute(text(_WAITS)).mappings() if row["waited_s"] >= WAITED_S]
    if not rows:
        yield Finding("locks", "ok", f"nobody has waited for a lock for {WAITED_S} s")
        return
    for row in rows:
        statement = " ".join(visible(row["query"]).split())
        persist = any(table in statement for table in ("journal_cursor", *LOG_TABLES))
        who = "persist, or another that writes the spend log," if persist else "a session of ours"
        holder, held_s = row["holder"], row["held_s"]
        held = f"held by process {holder}" if holder is not None else "held by a process that this role may not see"
        if holder is not None:
            named = ", ".join(part for part in (visible(row["holder_name"]), visible(row["holder_role"])) if part)
            held += f" ({named})" if named else ""
            held += f", whose transaction is {held_s:.0f} s old" if held_s is not None else ""
        detail = (
            f"{who} (process {row['pid']}) has waited for {row['waited_s']:.0f} s for a lock {held}: {statement[:120]}"
        )
        todo = f"let it end; if nobody needs it: SELECT pg_terminate_backend({holder})" if holder is not None else ""
        yield Finding(
            "locks", "fail" if persist else "warn", detail, todo or "look at pg_locks as PostgreSQL's superuser"
        )
