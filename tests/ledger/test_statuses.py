"""Status: a row in status_change where, and only where, the set of causes changed, and one writer a brand at a time."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, Engine, text

from engine.ledger import statuses
from engine.ledger.catalog import Catalog
from engine.ledger.locks import Lock, key_of
from engine.ledger.statuses import StatusWrite
from tests.ledger.spends import NOON, ago


@pytest.fixture
def campaigns(catalog: Catalog) -> list[int]:
    brand = catalog.create_brand("Acme", None, None, None, "ann").id
    return [campaign.id for campaign in catalog.create_campaigns(brand, ["a", "b", "c"], "ann")]


def paused(campaign_id: int, *reasons: str) -> StatusWrite:
    return StatusWrite(campaign_id, NOON, "paused", reasons, "engine")


def active(campaign_id: int) -> StatusWrite:
    return StatusWrite(campaign_id, NOON, "active", (), "engine")


def written(engine: Engine) -> list[tuple[object, ...]]:
    with engine.connect() as connection:
        query = "SELECT campaign_id, status, reasons, actor FROM status_change ORDER BY id"
        return [tuple(row) for row in connection.execute(text(query))]


def apply(engine: Engine, *changes: StatusWrite) -> int:
    with engine.begin() as connection:
        return statuses.apply(connection, changes)


def test_a_first_status_and_each_new_set_of_causes_is_one_row(
    engine: Engine, catalog: Catalog, campaigns: list[int]
) -> None:
    a, b, c = campaigns
    assert apply(engine, active(a), paused(b, "daily_budget", "manual")) == 2
    assert apply(engine, active(a), paused(b, "manual", "daily_budget"), active(c)) == 1
    assert apply(engine, paused(b, "daily_budget"), active(c)) == 1
    assert apply(engine) == 0
    assert written(engine) == [
        (a, "active", [], "engine"),
        (b, "paused", ["manual", "daily_budget"], "engine"),
        (c, "active", [], "engine"),
        (b, "paused", ["daily_budget"], "engine"),
    ]
    seen = catalog.campaign(b)
    assert (seen.status, seen.reasons, seen.version) == ("paused", ("daily_budget",), 1)
    with engine.connect() as connection:
        assert [s.status for s in statuses.written(connection, [seen.brand_id])[seen.brand_id]] == [
            "active",
            "paused",
            "active",
        ]


def test_a_row_stands_at_the_instant_its_cause_began(engine: Engine, campaigns: list[int]) -> None:
    apply(engine, active(campaigns[0])._replace(at=ago(minutes=3)))
    with engine.connect() as connection:
        assert connection.execute(text("SELECT at FROM status_change")).scalar_one() == ago(minutes=3)


def test_a_status_that_does_not_follow_from_its_causes_is_not_written(engine: Engine, campaigns: list[int]) -> None:
    for wrong in (active(campaigns[0])._replace(reasons=("manual",)), paused(campaigns[0])):
        with pytest.raises(ValueError, match="cannot be"):
            apply(engine, wrong)
    assert written(engine) == []


def locked(connection: Connection, brand_id: int) -> bool:
    query = text("SELECT NOT pg_try_advisory_xact_lock(:key)")
    return connection.execute(query, {"key": key_of(Lock.BRAND, brand_id)}).scalar_one() is True


def test_a_brands_statuses_have_one_writer_at_a_time(engine: Engine) -> None:
    with engine.begin() as other:
        with engine.begin() as connection:
            statuses.lock_brands(connection, [7])
            statuses.lock_brands(connection, [9, 2**37 - 1, 8, 9])
            assert [locked(other, b) for b in (7, 8, 9, 2**37 - 1, 10)] == [True, True, True, True, False]
        assert not locked(other, 7)
