"""Packed calls in the log: every spend a row, a log that does not add up its sums, and each call remembered over a rebuild."""

from __future__ import annotations

import itertools

import pytest
from sqlalchemy import text

from engine.client.batches import PACKED_FROM, pieces_of
from engine.client.spends import Spend
from engine.domain.ids import shard_of
from engine.errors import BudgetError
from engine.flows.persist import persister
from engine.ledger import quarantine
from engine.live.scripts import script
from engine.wiring import System
from tests.flows.conftest import rows_only
from tests.flows.test_persist import brand_with_campaigns, rows
from tests.flows.test_verify import failed


def batch_of(campaigns: list[int], size: int = PACKED_FROM + 3, events: str | None = None) -> list[Spend]:
    return [
        Spend(campaigns[i % len(campaigns)], None, events and f"{events}.{i}", 10 ** (i % 10) + i) for i in range(size)
    ]


@pytest.mark.parametrize("events", [None, "win"])
def test_each_spend_of_a_packed_batch_is_a_row_with_its_place_price_and_event(
    ready: System, events: str | None
) -> None:
    _, campaigns = brand_with_campaigns(ready, 3)
    batch = batch_of(campaigns, events=events)
    ready.client.record_spends(batch, request_id="packed")
    ready.persister.drain_all()
    assert rows(
        ready,
        "SELECT position, campaign_id, amount_micros, event_id, request_id, occurred_at, kind FROM spend ORDER BY position",
    ) == [
        (i, spend.campaign_id, spend.amount_micros, spend.event_id, "packed", None, "spend")
        for i, spend in enumerate(batch)
    ]
    assert rows(ready, "SELECT sum(spend_micros), sum(spends) FROM campaign_day") == [
        (sum(spend.amount_micros or 0 for spend in batch), len(batch))
    ]
    assert failed(ready) == {}


@pytest.mark.parametrize("slip", ["an amount", "a campaign", "a spend of nothing", "an event of another brand"])
def test_a_log_that_does_not_add_up_is_written_down_as_its_sums_and_its_bytes_are_kept(
    ready: System, slip: str
) -> None:
    _, campaigns = brand_with_campaigns(ready, 2)
    batch = batch_of(campaigns, events="win" if slip == "an event of another brand" else None)
    (piece,), size = pieces_of(batch)
    sums, log, *events = piece.args()
    assert isinstance(log, bytes)
    bad = bytearray(log)
    if slip == "an amount":
        bad[2 + size] += 1
    elif slip == "a campaign":
        bad[2] = 7
    elif slip == "a spend of nothing":
        bad[2 + size : 2 + size + log[1]] = bytes(log[1])
    else:
        day, names, kept = events
        events = [day, f"7:win.0,{str(names).partition(',')[2]}", kept]
    piece.args = lambda: (sums, bytes(bad), *events)
    assert ready.live.call_all([piece.call(script("record_spends"), "bad")])[0][1] == f"k*{size}".encode()
    ready.client.record_spend(campaigns[0], "1")
    drained = ready.persister.drain_all()
    assert (drained.rows, drained.quarantined) == (3, 1)
    total = {campaign: sum(s.amount_micros or 0 for s in batch if s.campaign_id == campaign) for campaign in campaigns}
    assert rows(
        ready, "SELECT position, campaign_id, amount_micros FROM spend WHERE kind = 'unitemised' ORDER BY 1"
    ) == [(place, campaign, total[campaign]) for place, campaign in enumerate(sorted(campaigns))]
    with ready.db.connect() as conn:
        (aside,) = quarantine.rows(conn)
    assert (aside.micros, aside.raw()[b"l"]) == (0, bytes(bad))
    with pytest.raises(BudgetError, match="in the log as unitemised rows"):
        ready.quarantined.retry(aside.id, "test")
    assert failed(ready) == {"V5": 0}, "the bytes that wait are named, no money is missing"
    ready.quarantined.drop([aside.id], "test", "looked at")
    assert failed(ready) == {}


@pytest.mark.parametrize("events", [None, "win"])
@pytest.mark.parametrize("budget", [None, 50], ids=["all counted", "some refused"])
def test_a_packed_call_that_comes_again_after_a_rebuild_is_counted_once(
    ready: System, budget: int | None, events: str | None
) -> None:
    brand_id, campaigns = brand_with_campaigns(ready, 2, daily=budget)
    batch = [Spend(campaigns[i % 2], None, events and f"{events}.{i}", 7) for i in range(PACKED_FROM)]
    before = ready.client.try_spends(batch, request_id="again")
    assert {a.outcome for a in before} == ({"accepted"} if budget is None else {"accepted", "refused"})
    ready.persister.drain_all()
    ready.hot_redis.flushall()
    ready.rebuilder.rebuild([shard_of(brand_id)])
    again = ready.client.try_spends(batch, request_id="again")
    assert [(a.outcome, a.daily_spend) for a in again] == [(a.outcome, a.daily_spend) for a in before]
    other = ready.client.try_spends([*batch, batch[0]], request_id="again")
    assert {a.outcome for a in other} == {"conflict"}
    if events and budget is None:
        assert {a.outcome for a in ready.client.try_spends(batch)} == {"duplicate"}
    ready.rebuilder.rebuild_missing()
    ready.persister.drain_all()
    with ready.db.connect() as conn:
        counted = sum(a.outcome == "accepted" for a in before)
        assert conn.execute(text("SELECT count(*), sum(amount_micros) FROM spend")).one() == (counted, 7 * counted)
    assert failed(ready) == {}


@pytest.mark.parametrize("form", ["packed", "text"])
def test_a_backlog_of_large_batches_is_written_in_transactions_of_a_bounded_number_of_spends(
    ready: System, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    _, (campaign,) = brand_with_campaigns(ready)
    events = itertools.count()
    for _ in range(130):
        ready.client.record_spends(
            [Spend(campaign, None, f"e{next(events)}" if form == "text" else None, 1) for _ in range(20)]
        )
    monkeypatch.setattr(persister, "SPENDS_AT_ONCE", 1000)
    seen: list[int] = []
    assert ready.persister.drain_all(lambda so_far: seen.append(so_far.rows)).rows == 130 * 20
    written = sorted({0, *seen})
    assert [b - a for a, b in itertools.pairwise(written)] == [1980, 620], (
        "100 entries, one of them the mark, and the rest"
    )
    assert failed(ready) == {}


@rows_only
def test_a_packed_call_beside_a_row_that_is_refused_is_counted_once_in_what_persist_reports(ready: System) -> None:
    _, (campaign,) = brand_with_campaigns(ready)
    with ready.db.begin() as conn:
        conn.execute(text("ALTER TABLE spend_log ADD CONSTRAINT no_threes CHECK (amount_micros <> 3000000)"))
    ready.client.record_spends([Spend(campaign, None, None, 5) for _ in range(PACKED_FROM)])
    ready.client.record_spend(campaign, "3")
    drained = ready.persister.drain_all()
    assert (drained.rows, drained.micros, drained.quarantined) == (PACKED_FROM, 5 * PACKED_FROM, 1)


def test_sums_with_leading_zeros_read_as_the_script_read_them(ready: System) -> None:
    _, (campaign,) = brand_with_campaigns(ready)
    (piece,), size = pieces_of([Spend(campaign, None, None, 5) for _ in range(PACKED_FROM)])
    _, log = piece.args()
    piece.args = lambda: (f"{campaign},00{5 * size},0{size};", log)
    assert ready.live.call_all([piece.call(script("record_spends"), "zeros")])[0][0] == b"ok"
    drained = ready.persister.drain_all()
    assert (drained.rows, drained.quarantined) == (size, 0)
    assert failed(ready) == {}
