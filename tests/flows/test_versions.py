"""Versions beside each other: a client, a worker or a journal entry of another layout works or is refused by name, and nothing is corrupted."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from engine import BudgetClient, Spend, WrongVersion
from engine.domain.ids import shard_of
from engine.errors import BudgetError
from engine.flows.rebuild.rebuilder import NotAllRebuilt
from engine.ledger import quarantine
from engine.live import journal
from engine.live.keys import shard_keys
from engine.live.scripts import LAYOUT, lua_folder, swapping
from engine.wiring import System
from tests.flows.test_persist import brand_with_campaigns

PREVIOUS, NEXT = "0", "3"
NEXT_FORMAT = b"4"


@contextmanager
def speaking(layout: str) -> Iterator[None]:
    """This process is a release of another layout: its scripts are of it, and so is what it says in each call."""
    text = (lua_folder() / "lib" / "constants.lua").read_text(encoding="utf-8")
    assert f"local LAYOUT = '{LAYOUT}'" in text
    with pytest.MonkeyPatch.context() as patch:
        for name, module in list(sys.modules.items()):
            if name.startswith("engine.") and getattr(module, "LAYOUT", None) == LAYOUT:
                patch.setattr(module, "LAYOUT", layout)
        with swapping({"lib/constants.lua": text.replace(f"local LAYOUT = '{LAYOUT}'", f"local LAYOUT = '{layout}'")}):
            yield


def everything(system: System) -> dict[Any, Any]:
    """Every key with its bytes."""
    return {key: system.hot_redis.dump(key) for key in system.hot_redis.keys("budget:*")}


def calls(client: BudgetClient, campaign: int) -> list[Any]:
    """Every way in which a bidder can ask for or move money."""
    return [
        lambda: client.record_spend(campaign, "1"),
        lambda: client.try_spend(campaign, "1"),
        lambda: client.record_spends([Spend(campaign, "1"), Spend(campaign, "2")]),
        lambda: client.reserve(campaign, "1", hold_id="h"),
        lambda: client.settle(f"{campaign}:h", "1"),
        lambda: client.release(f"{campaign}:h"),
        lambda: client.refund(campaign, "1", event_id="e"),
        lambda: client.status(campaign),
    ]


@pytest.mark.parametrize("layout", [PREVIOUS, NEXT])
def test_a_client_of_another_layout_is_refused_by_name_and_writes_nothing(ready: System, layout: str) -> None:
    _, (campaign,) = brand_with_campaigns(ready, daily=100_000_000)
    ready.client.record_spend(campaign, "5", event_id="e")
    ready.client.reserve(campaign, "1", hold_id="h")
    before = everything(ready)
    with speaking(layout):
        for call in calls(ready.client, campaign):
            with pytest.raises(WrongVersion, match=f"holds layout {LAYOUT}, this program speaks {layout}"):
                call()
    assert everything(ready) == before


def test_both_beside_each_other_the_present_one_counts_every_spend_and_the_other_none(ready: System) -> None:
    _, (campaign,) = brand_with_campaigns(ready)
    other = BudgetClient.from_url(ready.settings.redis_url, timeout_ms=5000)
    with speaking(PREVIOUS):
        stale = _stale(other, campaign)
        other.close()
    refused: list[str] = []
    stop = threading.Event()

    def previous() -> None:
        while not stop.is_set():
            refused.append(stale())

    thread = threading.Thread(target=previous)
    thread.start()
    try:
        outcomes = [ready.client.record_spend(campaign, "1").outcome for _ in range(200)]
    finally:
        stop.set()
        thread.join()
    assert outcomes == ["recorded"] * 200
    assert refused
    assert set(refused) == {"wrong_version"}
    assert ready.persister.drain_all().rows == 200
    assert ready.overview.campaign(campaign).daily_spend == 200_000_000
    assert all(check.result == "PASS" for check in ready.verifier.verify())


def _stale(client: BudgetClient, campaign: int) -> Any:
    """A call of the previous release, made now and sent as often as it is called: the first word of each reply."""
    from engine.live.keys import keys_of_campaign
    from engine.live.scripts import script
    from engine.live.transport.pool import Call, ConnectionPool

    keys, wire = keys_of_campaign(campaign), client._wire
    assert isinstance(wire, ConnectionPool)
    call = Call(
        script("record_spends"),
        (*keys.fixed, keys.brand(campaign >> 16), keys.campaign(campaign)),
        (PREVIOUS, "same", f"{campaign},1000000,,;"),
    )

    def send() -> str:
        word: bytes = wire.call(call, 5.0)[0]
        return word.decode()

    return send


def test_a_worker_of_another_layout_reads_publishes_and_trims_nothing(ready: System) -> None:
    brand, (campaign,) = brand_with_campaigns(ready, daily=100_000_000)
    ready.client.record_spend(campaign, "5")
    ready.persister.drain_all()
    ready.client.record_spend(campaign, "6")
    with speaking(NEXT):
        before = everything(ready)
        assert ready.persister.drain_all().rows == 0
        changed = ready.manage.update_brand(brand, "test", daily_budget_micros=7_000_000)
        assert not changed.published
        assert "layout" in changed.why_not
        with pytest.raises(WrongVersion):
            ready.live.trim(ready.instance, shard_of(brand), "9-0")
        assert ready.rebuilder.rebuild_missing() == []
        assert everything(ready) == before
    assert ready.publisher.publish_pending() == {brand}
    assert ready.persister.drain_all().rows == 1
    assert ready.overview.brand(brand).daily_remaining == -4_000_000
    assert all(check.result == "PASS" for check in ready.verifier.verify())


def test_an_upgrade_of_the_layout_is_a_rebuild_and_so_is_the_way_back(ready: System) -> None:
    _, (campaign,) = brand_with_campaigns(ready, daily=100_000_000)
    ready.client.record_spend(campaign, "5", event_id="e")
    ready.persister.drain_all()
    with speaking(NEXT):
        with pytest.raises(WrongVersion):
            ready.client.record_spend(campaign, "1")
        _rebuild_all(ready)
        assert ready.client.record_spend(campaign, "1").daily_spend == 6
        assert ready.client.record_spend(campaign, "5", event_id="e").outcome == "duplicate"
        ready.persister.drain_all()
    with pytest.raises(WrongVersion, match="upgrade this program"):
        ready.client.record_spend(campaign, "1")
    _rebuild_all(ready)
    assert ready.client.record_spend(campaign, "1").daily_spend == 7
    ready.persister.drain_all()
    assert all(check.result == "PASS" for check in ready.verifier.verify())


def _rebuild_all(system: System) -> None:
    try:
        system.rebuilder.rebuild()
    except NotAllRebuilt as error:  # the message says which
        raise AssertionError(str(error)) from None


def test_an_entry_of_the_next_format_is_set_aside_whole_and_booked_by_the_release_that_reads_it(
    ready: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    brand, (campaign,) = brand_with_campaigns(ready)
    keys = shard_keys(shard_of(brand))
    ready.client.record_spend(campaign, "1")
    ready.client.record_spend(campaign, "2", request_id="of-the-next")
    found: Any = ready.hot_redis.xrevrange(keys.journal, count=1)
    ((last, fields),) = found
    ready.hot_redis.xdel(keys.journal, last)
    ready.hot_redis.xadd(keys.journal, {**fields, b"f": NEXT_FORMAT}, id=last.split(b"-")[0] + b"-9")
    ready.client.record_spend(campaign, "4")
    drained = ready.persister.drain_all()
    assert (drained.rows, drained.quarantined) == (2, 1)
    with ready.db.connect() as conn:
        (row,) = quarantine.rows(conn)
    assert ("upgrade it" in row.reason, row.micros) == (True, 2_000_000)
    assert all(check.result == "PASS" for check in ready.verifier.verify() if check.id in ("V1", "V2", "V9"))
    with pytest.raises(BudgetError, match="upgrade it"):
        ready.quarantined.retry(row.id, "test")
    monkeypatch.setattr(journal, "FORMATS", (*journal.FORMATS, NEXT_FORMAT))
    assert ready.quarantined.retry(row.id, "test") == 1
    assert ready.overview.campaign(campaign).daily_spend == 7_000_000
