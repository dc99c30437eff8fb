"""The plan of each query that reads the spend log: how many rows PostgreSQL read, and by which index.

The queries are captured as the program sends them, so a new query appears in the table without a change here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, event, text

from engine.domain.periods import at_ms, date_of, day_of, day_start_ms
from engine.ledger import audit, refund_bounds, reports, retention, spend_read
from engine.wiring import System

HEAD: Final = "| query | rows of spend_log read | by | ms |\n| --- | ---: | --- | ---: |"
_LONGEST: Final = "120s"
_INSERTS: Final = re.compile(r"^INSERT INTO verify_sum AS kept \([^)]*\) | ON CONFLICT .*$", re.DOTALL)


class Statement(NamedTuple):
    """A captured statement. who: the part of the engine that sent it."""

    who: str
    statement: str
    values: Any


def table(conn: Connection, system: System, brand_id: int) -> Iterator[str]:
    """Yields the lines of the table."""
    yield HEAD
    for statement in _captured(system, brand_id):
        yield _line(conn, statement)


def _captured(system: System, brand_id: int) -> list[Statement]:
    """Runs every part of the engine that reads spend_log, and returns each statement once for each part."""
    ms = system.live.now_ms()
    now, today = at_ms(ms), date_of(day_of(ms))
    found: dict[tuple[str, str], Statement] = {}
    with system.db.connect() as conn, _capturing(system, found) as who:
        who.append("verify of what is new")
        system.verifier.verify(recent=True)
        who.append("verify of everything")
        system.verifier.verify()
        who.append("page and metrics")
        system.overview.snapshot()
        who.append("report: a brand's spends of a day")
        reports.latest_spends(system.db, 50, brand_id, today=today)
        who.append("close")
        spend_read.period_totals(conn, "day", today, [brand_id])
        spend_read.period_totals(conn, "month", today.replace(day=1), [brand_id])
        who.append("rebuild: last instant")
        spend_read.last_recorded_ms(conn, brand_id % 64)
        who.append("rebuild: corrections")
        yesterday = today - timedelta(days=1)
        spend_read.correction_totals(conn, [brand_id], yesterday, yesterday, at_ms(day_start_ms(day_of(ms))))
        who.append("refunds: what may be given back")
        refund_bounds.bounds_of(conn, brand_id, today, ["event-7"])
        who.append("repeated events of a day")
        audit.events_again(conn, today)
        who.append("retention: sums of a day")
        retention._check_sums(conn, today)
        who.append("rebuild: ids of the windows")
        list(spend_read.recent_spends(conn, brand_id % 64, now - timedelta(hours=1), now - timedelta(minutes=10)))
    return list(found.values())


@contextmanager
def _capturing(system: System, found: dict[tuple[str, str], Statement]) -> Iterator[list[str]]:
    who: list[str] = []

    def capture(_: Any, __: Any, statement: str, values: Any, *___: Any) -> None:
        if "spend_log" in statement and not statement.startswith(("CREATE", "ALTER", "LOCK")):
            # One line a statement, with the last values, which are of today.
            found[who[-1], statement] = Statement(who[-1], statement, values)

    event.listen(system.db, "before_cursor_execute", capture)
    try:
        yield who
    finally:
        event.remove(system.db, "before_cursor_execute", capture)


def _line(conn: Connection, statement: Statement) -> str:
    raw: Any = conn.connection.driver_connection
    conn.execute(text(f"SET LOCAL statement_timeout = '{_LONGEST}'"))
    with raw.cursor() as cursor:
        # EXPLAIN ANALYZE would execute an INSERT, so only its SELECT is explained.
        query = _INSERTS.sub("", statement.statement)
        cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {query}", statement.values)
        found = cursor.fetchone()[0]
    plan = json.loads(found)[0] if isinstance(found, str) else found[0]
    nodes = list(_nodes(plan["Plan"], ""))
    rows = sum(count for count, _ in nodes)
    by = ", ".join(sorted({index for _, index in nodes})) or "-"
    words = " ".join(statement.statement.split())
    return f"| {statement.who}: `{words[:70]}` | {rows:,} | {by} | {plan['Execution Time']:.0f} |"


def _nodes(node: dict[str, Any], index: str) -> Iterator[tuple[int, str]]:
    """Yields, for each scan of a partition, the rows that it read and its index."""
    index = node.get("Index Name", index)
    for child in node.get("Plans", ()):
        if node["Node Type"] == "Bitmap Heap Scan":
            index = child.get("Index Name", index)
        yield from _nodes(child, "")
    if str(node.get("Relation Name", "")).startswith("spend_log_p"):
        removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
        loops = node.get("Actual Loops", 0)
        read = int((node.get("Actual Rows", 0) + removed) * loops)
        name = re.sub(r"spend_log_p\d+", "", index).strip("_").removesuffix("_idx") or "all rows"
        yield read, name
