"""Reports: the newest first, with names, and sums that are those of the log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from engine.ledger import reports, statuses
from engine.ledger.catalog import Catalog
from engine.ledger.statuses import StatusWrite
from tests.ledger.spends import NOON, TODAY, ago, row, write


@pytest.fixture
def campaigns(catalog: Catalog) -> tuple[int, int, int]:
    acme = catalog.create_brand("Acme", None, None, None, "ann").id
    bolt = catalog.create_brand("Bolt", None, None, None, "ann").id
    a, b = catalog.create_campaigns(acme, ["a", "b"], "ann")
    return a.id, b.id, catalog.create_campaign(bolt, "c", None, None, "ann").id


def test_the_latest_spends_of_all_brands_come_newest_first_over_days(
    engine: Engine, campaigns: tuple[int, int, int]
) -> None:
    a, b, c = campaigns
    rows = [
        row(a, 1, 1, at=ago(days=40)),
        row(a, 2, 2, at=ago(days=2)),
        row(b, 3, 3, at=ago(hours=1)),
        row(c, 4, 4, at=ago(minutes=1), event_id="e"),
        row(a, 5, 5, at=NOON),
        row(a, 6, 5, 1, at=NOON),
    ]
    write(engine, rows)

    def amounts(**given: int) -> list[int]:
        return [line.amount_micros for line in reports.latest_spends(engine, today=TODAY, **given)]

    assert amounts() == [6, 5, 4, 3, 2]
    assert amounts(limit=3) == [6, 5, 4]
    assert amounts(brand_id=a // 65536) == [6, 5, 3, 2]
    assert amounts(campaign_id=b) == [3]
    assert amounts(brand_id=99) == []
    first = reports.latest_spends(engine, 1, c // 65536, today=TODAY)[0]
    assert (first.brand_name, first.campaign_name, first.event_id) == ("Bolt", "c", "e")


def test_status_changes_are_read_by_brand_and_by_campaign(engine: Engine, campaigns: tuple[int, int, int]) -> None:
    a, b, c = campaigns
    with engine.begin() as connection:
        for at, campaign in enumerate((a, c, b)):
            write_ = StatusWrite(campaign, NOON + timedelta(seconds=at), "paused", ("manual",), "bob")
            statuses.apply(connection, [write_])
    assert [line.campaign_name for line in reports.latest_status_changes(engine)] == ["b", "c", "a"]
    assert [line.campaign_name for line in reports.latest_status_changes(engine, brand_id=a // 65536)] == ["b", "a"]
    only = reports.latest_status_changes(engine, 1, campaign_id=c)[0]
    assert (only.brand_name, only.reasons, only.actor, only.at) == (
        "Bolt",
        ("manual",),
        "bob",
        NOON + timedelta(seconds=1),
    )


def test_the_trail_names_what_was_changed(engine: Engine, catalog: Catalog, campaigns: tuple[int, int, int]) -> None:
    a, _, c = campaigns
    catalog.update_brand(a // 65536, "bob", daily_budget_micros=5_000_000, note="spring sale")
    catalog.pause_campaign(c, "bob")
    newest, before = reports.catalog_changes(engine, 2)
    assert (newest.entity, newest.name, newest.field, newest.old, newest.new) == (
        "campaign",
        "c",
        "enabled",
        "true",
        "false",
    )
    assert (before.name, before.field, before.old, before.new, before.note) == (
        "Acme",
        "daily_budget",
        None,
        "5.000000",
        "spring sale",
    )
    assert reports.catalog_changes(engine, 1, before_id=newest.id) == [before]
    assert len(reports.catalog_changes(engine, entity="brand")) == 3
    assert [line.field for line in reports.catalog_changes(engine, entity="campaign", entity_id=c)] == [
        "enabled",
        "created",
    ]


def test_days_and_open_sums_are_those_of_the_log(engine: Engine, campaigns: tuple[int, int, int]) -> None:
    a, b, c = campaigns
    first = datetime(2026, 11, 1, tzinfo=UTC)
    write(
        engine,
        [
            row(a, 5, 1),
            row(b, 6, 1, 1),
            row(a, 7, 2, at=first),
            row(a, 8, 3, at=first - timedelta(hours=1)),
            row(c, 9, 4, at=first),
        ],
    )
    days = reports.brand_days(engine, a // 65536, first.date(), TODAY)
    assert [(d.day, d.spend_micros, d.spends) for d in days] == [(first.date(), 7, 1), (TODAY, 11, 2)]
    spends = reports.open_spends(engine, TODAY)
    assert {i: (s.daily_spend_micros, s.monthly_spend_micros) for i, s in spends.items()} == {
        a: (5, 12),
        b: (6, 6),
        c: (0, 9),
    }
    assert set(reports.open_spends(engine, TODAY, [c // 65536])) == {c}
