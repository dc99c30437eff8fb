"""`python -m benchmarks.activity [CHANGES]`: what a page of the feed of activity takes at a million changes, by each of its filters.

Beside the time stand the processor time of the page's own thread and of PostgreSQL's session, which say more on a busy machine.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, Final

from flask.testing import FlaskClient
from sqlalchemy import event, text

from benchmarks import embedded, size
from benchmarks.catalog_of_size import fill
from engine.domain.passwords import digest_of
from engine.ledger import users
from engine.settings import LOGIN_ALWAYS
from engine.wiring import System
from web import create_app

CHANGES: Final = 1_000_000
BRANDS: Final = 1_000
LOOKS: Final = 21
HERE: Final = "http://localhost"
SECRET: Final = "a passphrase of the benchmark"
PATHS: Final = {
    "all": "/activity",
    "by person": "/activity?who=Person+7",
    "by somebody who did little": "/activity?who=Rare",
    "changes": "/activity?kind=change",
    "changes by person": "/activity?kind=change&who=Person+7",
    "starts and stops": "/activity?kind=status",
    "notes": "/activity?kind=note",
    "users and tokens": "/activity?kind=people",
    "logins": "/activity?kind=login",
    "one brand": "/activity?brand={brand}",
    "before a day": "/activity?to=2026-10-15",
    "by person, before a day": "/activity?who=Person+7&to=2026-10-15",
}
# Six of ten changes are operations of one row, as a form makes them; the others are operations of a hundred. They lie in the 60 days before a
# fixed day, so that the filters by time always find the middle.
_OPERATIONS: Final = (
    (
        "INSERT INTO operation (kind, actor, words, state, created_at, begun_at, ended_at) SELECT 'budget', CASE WHEN n % 200000 = 7 THEN 'Rare' ELSE 'Person ' || n % 20 END,"
        " 'Daily budget to 100.00', 'done', at, at, at FROM (SELECT n, timestamptz '2026-11-15' - n * interval '60 days' / :operations AS at"
        " FROM generate_series(1, :operations) AS n) AS o"
    ),
    (
        "INSERT INTO operation_item (operation_id, no, entity, entity_id, brand_id, version, changes, state, after_version)"
        " SELECT o.id, no, 'campaign', brand * 65536 + no, brand, 1, '{\"daily_budget_micros\": [1000000, 100000000]}', 'done', 2"
        " FROM operation AS o, LATERAL (SELECT CAST(:brands AS bigint[]) AS ids) AS b, LATERAL (SELECT b.ids[1 + o.id % cardinality(b.ids)] AS brand) AS c,"
        " generate_series(1, CASE WHEN o.id % 151 = 0 THEN 100 ELSE 1 END) AS no"
    ),
    (
        "INSERT INTO operation_brand (operation_id, brand_id, begun_at, rows) SELECT o.id, i.brand_id, o.begun_at, count(*) FROM operation AS o"
        " JOIN operation_item AS i ON i.operation_id = o.id GROUP BY o.id, i.brand_id"
    ),
    (
        "INSERT INTO catalog_change (at, actor, entity, entity_id, field, old, new, operation_id, brand_id)"
        " SELECT o.begun_at, o.actor, i.entity, i.entity_id, 'daily_budget', '1.000000', '100.000000', o.id, i.brand_id FROM operation AS o"
        " JOIN operation_item AS i ON i.operation_id = o.id"
    ),
    (
        "INSERT INTO status_change (campaign_id, at, status, reasons, actor) SELECT entity_id, at + interval '1 second', 'paused', '{daily_budget}', 'engine'"
        " FROM catalog_change WHERE operation_id IS NOT NULL AND id % 5 = 0"
    ),
    (
        "INSERT INTO login_event (at, name, address, outcome) SELECT timestamptz '2026-11-15' - n * interval '5 minutes', 'Person ' || n % 20, '192.0.2.1', 'in'"
        " FROM generate_series(1, 17000) AS n"
    ),
    (
        "INSERT INTO catalog_change (at, actor, entity, entity_id, field, new, note, brand_id) SELECT timestamptz '2026-11-15' - n * interval '1 hour', 'Person 7',"
        " 'brand', id, 'note', NULL, 'The client moved the launch', id FROM generate_series(1, 1400) AS n, LATERAL (SELECT (CAST(:brands AS bigint[]))[1 + n % 1000] AS id) AS b"
    ),
)
_RATIO: Final = 0.6
"""Operations a change: one of 151 has a hundred rows."""


def prepare(system: System, changes: int) -> tuple[int, ...]:
    """Fills an empty system; returns the brands."""
    brands = fill(system.db, BRANDS).brands
    with system.db.begin() as conn:
        for statement in _OPERATIONS:
            conn.execute(text(statement), {"operations": int(changes * _RATIO), "brands": list(brands)})
    with system.db.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(text("VACUUM ANALYZE"))
    return brands


@contextmanager
def _statements(system: System) -> Iterator[dict[str, float]]:
    """Counts statements, and the processor time of PostgreSQL's sessions, while they are this machine's own."""
    found = {"statements": 0.0, "ms": 0.0}
    before: list[float] = []

    def begin(conn: Any, *_: object) -> None:
        before.append(_session_ms(conn.connection.dbapi_connection.info.backend_pid))

    def end(conn: Any, *_: object) -> None:
        found["statements"] += 1
        found["ms"] += _session_ms(conn.connection.dbapi_connection.info.backend_pid) - before.pop()

    event.listen(system.db, "before_cursor_execute", begin)
    event.listen(system.db, "after_cursor_execute", end)
    try:
        yield found
    finally:
        event.remove(system.db, "before_cursor_execute", begin)
        event.remove(system.db, "after_cursor_execute", end)


def _session_ms(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e6
    except OSError:
        return 0.0


def measure(system: System, brands: tuple[int, ...], say: Callable[[str], None]) -> None:
    """One line for each filter, for an admin and for an operator of a tenth of the brands."""
    users.create(system.db, "bench", "Ada", "admin", None, digest_of(SECRET))
    users.create(system.db, "bench", "Olga", "operator", list(brands[: len(brands) // 10]), digest_of(SECRET))
    system.settings = replace(system.settings, login=LOGIN_ALWAYS)
    app = create_app(system)
    say(
        f"load {os.getloadavg()[0]:.1f}\n| who | filter | median ms | longest ms | its thread ms | PostgreSQL ms | statements |"
    )
    say("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for who in ("Ada", "Olga"):
        client = app.test_client()
        _enter(client, who)
        for what, path in PATHS.items():
            if who == "Olga" and what in ("users and tokens", "logins"):
                continue
            address = path.format(brand=brands[7])
            took, own, ledger, statements = [], [], [], 0.0
            for _ in range(LOOKS):
                with _statements(system) as found:
                    began, cpu = time.perf_counter(), time.thread_time()
                    answer = client.get(address, base_url=HERE)
                    took.append(1000 * (time.perf_counter() - began))
                    own.append(1000 * (time.thread_time() - cpu))
                assert answer.status_code == 200, answer.status
                ledger.append(found["ms"])
                statements = found["statements"]
            say(
                f"| {who} | {what} | {median(took):.0f} | {max(took):.0f} | {median(own):.1f} | {median(ledger):.1f} | {statements:.0f} |"
            )


def _enter(client: FlaskClient, name: str) -> None:
    page = client.get("/login", base_url=HERE).get_data(as_text=True)
    token = page.split('name="csrf_token"', 1)[1].split('value="', 1)[1].split('"', 1)[0]
    sent = {"csrf_token": token, "actor": name, "password": SECRET}
    answer = client.post("/login", base_url=HERE, data=sent, headers={"Origin": HERE})
    assert answer.status_code == 302, answer.status


def main() -> None:
    """Runs it on embedded servers."""
    with embedded.servers() as servers, size.fresh(servers) as system:
        brands = prepare(system, int(sys.argv[1]) if len(sys.argv) > 1 else CHANGES)
        measure(system, brands, print)


if __name__ == "__main__":
    main()
