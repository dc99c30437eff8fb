"""Spends by event, request and campaign over HTTP: every row of the log is found once, in either form, and of no other brand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import event, text

from engine.client.batches import PACKED_FROM
from engine.client.sync import Spend
from engine.flows.persist.persister import Persister
from engine.ledger import find_spends
from engine.wiring import System
from tests.api.conftest import Caller, Calls
from tests.web.conftest import brand_with

BOTH = pytest.mark.parametrize("packed", [True, False], ids=["packed", "rows"])


def logged(system: System, packed: bool) -> None:
    Persister(system.db, system.live, system.journal, system.instance, packed).drain_all()


def pages(caller: Caller, address: str) -> list[dict[str, Any]]:
    """All rows of a search, page by page."""
    found: list[dict[str, Any]] = []
    cursor = ""
    for _ in range(500):
        told = caller.get(f"{address}{cursor}")
        assert told.status == 200, told.document
        found += told.document["items"]
        if told.document["next"] is None:
            return found
        cursor = f"&cursor={told.document['next']}"
    raise AssertionError("the search has no end")


@BOTH
def test_an_event_is_found_with_what_was_given_back_of_it(ready: System, calls: Calls, packed: bool) -> None:
    _, (campaign, other) = brand_with(ready, campaigns=2)
    batch = [Spend(campaign, "0.5", f"win-{n}") for n in range(PACKED_FROM + 3)]
    assert all(ready.client.record_spends(batch, request_id="batch-1"))
    for n in range(3):
        ready.client.record_spend(other, "1.5", event_id=f"single-{n}", request_id=f"call-{n}")
    ready.client.refund(campaign, "0.2", "win-1")
    logged(ready, packed)
    reader = calls("read")
    rows = pages(reader, "/spends?event_id=win-1&limit=1")
    assert [(row["amount"], row["kind"]) for row in rows] == [("-0.200000", "refund"), ("0.500000", "spend")]
    assert rows[1]["campaign_id"] == campaign and rows[1]["request_id"].startswith("batch-1")
    (single,) = pages(reader, "/spends?event_id=single-1")
    assert (single["amount"], single["campaign_id"], single["request_id"]) == ("1.500000", other, "call-1")
    # An id that only begins so is another event.
    assert pages(reader, "/spends?event_id=win-") == [] == pages(reader, "/spends?event_id=single")
    assert [row["event_id"] for row in pages(reader, "/spends?request_id=call-2")] == ["single-2"]
    assert len(pages(reader, f"/spends?request_id={rows[1]['request_id']}&limit=2")) == PACKED_FROM + 3
    assert pages(reader, f"/spends?event_id=win-1&campaign_id={other}") == []


@BOTH
def test_the_spends_of_a_campaign_come_in_pages_without_one_twice_or_missing(
    ready: System, calls: Calls, packed: bool
) -> None:
    _, (campaign, other) = brand_with(ready, campaigns=2)
    batch = [Spend((campaign, other)[n % 2], "0.5", f"win-{n}") for n in range(PACKED_FROM + 2)]
    ready.client.record_spends(batch)
    ready.client.record_spend(campaign, "2", event_id="last")
    logged(ready, packed)
    found = [row["event_id"] for row in pages(calls("read"), f"/spends?campaign_id={campaign}&limit=2")]
    assert found[0] == "last" and sorted(found[1:]) == sorted(each.event_id for each in batch[::2])


def test_a_search_that_takes_too_long_says_where_it_goes_on(
    ready: System, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, (campaign,) = brand_with(ready)
    ready.client.record_spend(campaign, "1", event_id="win")
    logged(ready, False)
    reader = calls("read")
    monkeypatch.setattr(find_spends, "LONGEST_S", -1.0)
    first = reader.get("/spends?event_id=win").document
    assert first["items"] == [] and first["next"] is not None
    monkeypatch.undo()
    (row,) = reader.get(f"/spends?event_id=win&cursor={first['next']}").document["items"]
    assert row["amount"] == "1.000000"


def test_a_search_in_slices_of_packed_rows_finds_each_spend_once(
    ready: System, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the day is cut, and wherever time is up in it."""
    _, (campaign, other) = brand_with(ready, campaigns=2)
    for call in range(5):
        ready.client.record_spends([Spend(campaign, "0.5", f"win-{call}-{n}") for n in range(PACKED_FROM)])
        ready.client.record_spend(other, "1", event_id=f"plain-{call}")
        ready.client.refund(campaign, "0.1", f"win-{call}-0")
    logged(ready, True)
    with ready.db.connect() as conn:
        assert conn.execute(text("SELECT count(*) FROM spend_pack")).scalar_one() >= 5
    wanted = [row["event_id"] for row in pages(calls("read"), f"/spends?campaign_id={campaign}")]
    assert len(wanted) == 5 * (PACKED_FROM + 1)
    monkeypatch.setattr(find_spends, "AT_ONCE", 1)
    reader = calls("read")
    assert [row["event_id"] for row in pages(reader, f"/spends?campaign_id={campaign}&limit=7")] == wanted
    times = iter(range(10**6))
    # Each look at the clock is a second later, so that time is up within the day.
    monkeypatch.setattr(find_spends, "time", SimpleNamespace(monotonic=lambda: float(next(times))))
    assert [row["event_id"] for row in pages(reader, f"/spends?campaign_id={campaign}&limit=9")] == wanted
    assert len(pages(reader, "/spends?event_id=win-3-0")) == 2


def test_a_token_of_one_brand_finds_no_spend_of_another(ready: System, calls: Calls) -> None:
    mine, (own,) = brand_with(ready, "Mine")
    _, (other,) = brand_with(ready, "Theirs")
    for campaign in (own, other):
        ready.client.record_spend(campaign, "1", event_id="win")
    logged(ready, False)
    caller = calls("read", brands=[mine])
    assert [row["campaign_id"] for row in pages(caller, "/spends?event_id=win")] == [own]
    seen, nothing = (caller.get(f"/spends?campaign_id={id_}") for id_ in (other, other + 65536))
    assert seen.status == nothing.status == 404
    assert seen.document["detail"].replace(str(other), "N") == nothing.document["detail"].replace(str(other + 65536), "N")  # fmt: skip
    assert len(pages(calls("read"), "/spends?event_id=win")) == 2


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "event_id"),
        ("event_id=a%20b", "event_id"),
        ("event_id=e&from=now", "from"),
        ("event_id=e&from=2026-11-29T10:00", "from"),
        ("event_id=e&from=2026-11-29T10:00Z&to=2026-11-29T09:00Z", "from"),
        ("event_id=e&cursor=W10", "cursor"),
        ("event_id=e&limit=1000", "limit"),
        ("campaign_id=1", "campaign_id"),
    ],
)
def test_a_search_for_nothing_is_told_what_is_missing(calls: Calls, query: str, field: str) -> None:
    told = calls("read").get(f"/spends?{query}")
    assert (told.status, told.document["field"]) == (422, field), told.document


def test_a_day_that_is_over_has_all_its_filters_after_the_close(ready: System, calls: Calls) -> None:
    """By then no row is searched that no filter stands for."""
    brand, (campaign,) = brand_with(ready)
    ready.client.record_spend(campaign, "1", event_id="win")
    logged(ready, False)
    with ready.db.begin() as conn:
        # Rows enough for several filters.
        conn.execute(
            text(
                "INSERT INTO spend_log (recorded_at, day, brand_id, campaign_id, amount_micros, event_id, request_id, shard, generation, n, position)"
                " SELECT recorded_at, day, brand_id, campaign_id, 1, 'win-' || i, 'call', shard, generation, n + i, 0"
                " FROM spend_log, generate_series(1, 6000) AS g(i)"
            )
        )
        (day,) = conn.execute(text("SELECT DISTINCT day FROM spend_log")).scalars()
    assert ready.log_days.summarise() >= 2
    with ready.db.begin() as conn:
        assert find_spends.summarise(conn, day) == 0
    for caller in (calls("read"), calls("read", brands=[brand])):
        (row,) = pages(caller, "/spends?event_id=win-5999")
        assert row["brand_id"] == brand
        assert len(pages(caller, "/spends?request_id=call&event_id=win-4")) == 1


def test_a_search_reads_the_index_of_its_id_and_no_whole_day(ready: System, calls: Calls) -> None:
    brand, (campaign,) = brand_with(ready)
    ready.client.record_spend(campaign, "1", event_id="win", request_id="call")
    logged(ready, False)
    with ready.db.begin() as conn:
        conn.execute(text("ANALYZE spend_log"))
    plans: list[str] = []

    def explain(conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        if "FROM spend_log WHERE" in statement:
            cursor.execute("EXPLAIN " + statement, parameters)
            plans.append(" ".join(row[0] for row in cursor.fetchall()))

    event.listen(ready.db, "before_cursor_execute", explain)
    try:
        for query, index in (("event_id=win", "event_id"), ("request_id=call", "request_id"), (f"campaign_id={campaign}", "campaign_id_recorded_at")):  # fmt: skip
            for caller in (calls("read"), calls("read", brands=[brand])):
                assert len(pages(caller, f"/spends?{query}")) == 1
                assert f"_{index}_idx" in plans[-1] and "Seq Scan" not in plans[-1], plans[-1]
    finally:
        event.remove(ready.db, "before_cursor_execute", explain)
