"""Brands paused by the dozen, or all of them: bidders stop at once, and an undo starts what ran before and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from engine.domain.operations import wanted_of
from engine.ledger import operations
from engine.wiring import System
from tests.flows.test_operations import brand, trail
from tests.patience import PATIENCE_S

EVIL = "<script>alert(1)</script>"


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.002)


def test_brands_that_are_paused_together_keep_the_switches_of_their_campaigns_and_an_undo_gives_them_back(
    ready: System,
) -> None:
    first, (one, other) = brand(ready, EVIL)
    second, (third, _) = brand(ready, "Borealis")
    ready.manage.pause_campaign(other, "anna")
    ready.manage.pause_brand(second, "anna")
    made = ready.operations.preview(wanted_of("pause"), [first, second], [], "boris")
    assert (made.ready, made.skipped, made.brands, made.starts, made.stops) == (1, 1, 1, 0, 1)
    assert operations.items(ready.db, made.id, skipped=True)[0].why == "it is paused already"
    ready.operations.begin(made.id, "boris")
    assert trail(ready, made.id) == [("boris", first, "paused", "false", "true")]
    assert [ready.client.status(c).reasons for c in (one, other)] == [("brand_paused",), ("manual", "brand_paused")]
    back = ready.operations.undo(made.id, "boris")
    assert (back.starts, back.stops) == (1, 0)
    ready.operations.begin(back.id, "boris")
    assert [ready.client.status(c).reasons for c in (one, other, third)] == [(), ("manual",), ("brand_paused",)]


def test_everything_pauses_in_one_operation_and_its_undo_resumes_the_brands_that_it_paused_alone(
    ready: System,
) -> None:
    first, (one, _) = brand(ready, "Aurora")
    second, (other, _) = brand(ready, "Borealis")
    third, (last, _) = brand(ready, "Cirrus")
    ready.manage.pause_brand(third, "anna")
    made = ready.operations.preview_everything("pause", "boris", "wrong prices")
    assert (made.words, made.ready, made.skipped, made.stops) == ("Pause everything", 2, 0, 4)
    assert not ready.catalog.brand(first).paused, "a look changes nothing"
    ready.operations.begin(made.id, "boris")
    assert [ready.client.try_spend(c, "1").reasons for c in (one, other, last)] == [("brand_paused",)] * 3
    assert ready.operations.preview_everything("pause", "boris").rows == 0
    ready.operations.begin(ready.operations.undo(made.id, "boris").id, "boris")
    assert [ready.client.try_spend(c, "1").outcome for c in (one, other, last)] == ["accepted", "accepted", "refused"]
    resumed = ready.operations.preview_everything("resume", "boris")
    assert (resumed.ready, resumed.starts) == (1, 2)
    ready.operations.begin(resumed.id, "boris")
    assert ready.client.try_spend(last, "1").outcome == "accepted"
    assert second


def test_during_a_pause_of_everything_a_won_bid_is_settled_a_lease_gives_its_money_back_and_nothing_new_is_held(
    ready: System,
) -> None:
    _, (one, other) = brand(ready, "Aurora", daily=100_000_000)
    won = ready.client.reserve(one, "2", 60, "bid-1")
    with ready.client.lease(other, "4", 60, largest="4") as lease:
        assert lease.try_spend("1")
        ready.operations.begin(ready.operations.preview_everything("pause", "anna").id, "anna")
        until(lambda: not lease.try_spend("0.000001") and lease.why == ("brand_paused",))
        refused = ready.client.reserve(one, "1", 60, "bid-2")
        assert (refused.outcome, refused.reasons) == ("refused", ("brand_paused",))
        assert ready.client.settle(won.hold_id, "1.5").outcome == "settled"
        spent = lease.spent
    brand_now = ready.overview.brands()[0]
    assert brand_now.daily_spend == 1_500_000 + int(spent * 1_000_000), "what was won or spent before counts"
    assert ready.client.try_spend(one, "1").outcome == "refused"
    ready.operations.begin(ready.operations.preview_everything("resume", "anna").id, "anna")
    assert ready.client.try_spend(one, "96").outcome == "accepted", "nothing is left on hold"


@pytest.mark.parametrize("kind", ["pause", "resume"])
def test_a_chunk_of_an_operation_reads_the_catalog_as_often_as_one_row_does(
    ready: System, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    _, campaigns = brand(ready, "Aurora", campaigns=40)
    if kind == "resume":
        ready.operations.begin(ready.operations.preview(wanted_of("pause"), [], campaigns, "anna").id, "anna")
    made = ready.operations.preview(wanted_of(kind), [], campaigns, "anna")
    monkeypatch.setattr(ready.catalog, "campaign", lambda _: pytest.fail("the catalog was read once a row"))
    assert ready.operations.begin(made.id, "anna").done == 40
