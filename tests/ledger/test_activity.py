"""The feed at many changes (TEST_ACTIVITY_CHANGES=1000000 for a million): the first page, a late one, and each filter come off an index."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, text

from engine.ledger import activity
from engine.ledger.activity import Cursor, Wanted

CHANGES = int(os.environ.get("TEST_ACTIVITY_CHANGES", "100000"))
LONGEST_MS = 500
"""Fifty are wanted on a quiet machine. A page that comes off no index reads all rows, and takes far longer."""
_CHANGES = (
    "INSERT INTO catalog_change (at, actor, entity, entity_id, field, old, new, brand_id)"
    " SELECT timestamptz '2026-01-01' + n * interval '10 s', 'person ' || n % 50, 'campaign', (n % 1000 + 1) * 65536 + 1,"
    " CASE WHEN n % 5000 = 0 THEN 'note' ELSE 'daily_budget' END, '1', '2', n % 1000 + 1 FROM generate_series(1, :n) AS s(n)"
)
_OPERATIONS = (
    "INSERT INTO operation (kind, actor, words, state, begun_at, ended_at) SELECT 'change', 'person ' || n % 50, 'Change', 'done',"
    " timestamptz '2026-01-01' + n * interval '10 s', now() FROM generate_series(1, :n) AS s(n)"
)
_ITEMS = (
    "INSERT INTO operation_item (operation_id, no, entity, entity_id, brand_id, version, changes, state, after_version)"
    " SELECT id, 1, 'campaign', (id % 1000 + 1) * 65536 + 1, id % 1000 + 1, 1, '{}', 'done', 2 FROM operation"
)
_OF_BRANDS = (
    "INSERT INTO operation_brand (operation_id, brand_id, begun_at, rows) SELECT o.id, i.brand_id, o.begun_at, 1"
    " FROM operation AS o JOIN operation_item AS i ON i.operation_id = o.id"
)
_BRANDS = "INSERT INTO brand (name) SELECT 'Brand ' || n FROM generate_series(1, 1000) AS s(n)"
_CAMPAIGNS = "INSERT INTO campaign (id, brand_id, ordinal, name) SELECT id * 65536 + 1, id, 1, 'One' FROM brand"
_STATUSES = (
    "INSERT INTO status_change (campaign_id, at, status, reasons, actor) SELECT (n % 1000 + 1) * 65536 + 1,"
    " timestamptz '2026-01-01' + n / 1000 * interval '1 hour', 'active', '{}', 'person ' || n % 50 FROM generate_series(1, :n) AS s(n)"
)


@pytest.mark.long
def test_a_page_of_many_changes_is_there_before_a_person_notices(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL synchronous_commit = off"))
        for query in (_BRANDS, _CAMPAIGNS, _CHANGES, _OPERATIONS, _ITEMS, _OF_BRANDS, _STATUSES):
            connection.execute(text(query), {"n": CHANGES} if ":n" in query else {})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
    late = Cursor(datetime(2026, 1, 2, tzinfo=UTC), 1, 5)
    march, april = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)
    cases = {
        "all": Wanted(), "who": Wanted(actor="person 7"), "nobody": Wanted(actor="nobody"), "brand": Wanted(brand_id=77),
        "who on a brand": Wanted(brand_id=78, actor="person 27"), "a day": Wanted(since=march, until=april),
        "notes": Wanted(sources=("change",), only="note"), "people": Wanted(sources=("change",), only="people"),
        "three brands": Wanted(within=[5, 6, 7], people=False), "status": Wanted(sources=("status",)),
    }  # fmt: skip
    took: dict[str, float] = {}
    with engine.connect() as connection:
        for name, wanted in cases.items():
            for when, after in (("first", None), ("late", late)):
                best = 1e9
                for _ in range(3):
                    began = time.monotonic()
                    lines = activity.page(connection, wanted, 100, after)
                    activity.items(connection, [x.id for x in lines if x.source == "operation"], wanted.brands, 3)
                    best = min(best, (time.monotonic() - began) * 1000)
                took[f"{name}, {when}"] = round(best, 1)
    assert all(ms < LONGEST_MS for ms in took.values()), took
    print(took)
