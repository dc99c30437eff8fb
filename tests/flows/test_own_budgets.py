"""A campaign's own budgets in a whole system: catalog, status, midnight, rebuild, verify, reconcile, watch, and a client of the release before."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from engine.domain.budget import OwnLimits
from engine.domain.ids import shard_of
from engine.domain.periods import DAY_MS
from engine.errors import InvalidBudget
from engine.flows.catalog.check import check_all
from engine.flows.verify.findings import Check
from engine.live.keys import keys_of_brand
from engine.wiring import System
from tests.flows.conftest import at
from tests.flows.test_persist import brand_with_campaigns, rows
from tests.flows.test_status_and_close import instant
from tests.patience import PATIENCE_S
from tests.processes.conftest import until

RELEASES = Path(__file__).parents[1] / "releases"


def capped(system: System, **limits: int) -> tuple[int, int, int]:
    """A brand without limits, a campaign with limits of its own, and one without."""
    brand_id, (one, two) = brand_with_campaigns(system, 2)
    system.persister.drain_all()
    budgets = {f"{name}_budget_micros": micros for name, micros in limits.items()}
    assert system.manage.update_campaign(one, "anna", **budgets).published
    return brand_id, one, two


def persisted(system: System) -> None:
    system.status.refresh(system.persister.drain_all().changed_brands)


def found(system: System, *ids: str) -> dict[str, Check]:
    return {check.id: check for check in system.verifier.verify() if check.id in ids or check.findings}


def test_the_spend_that_uses_up_a_campaign_s_own_day_pauses_it_alone_at_that_instant(ready: System) -> None:
    brand_id, one, _ = capped(ready, daily=2_000_000)
    assert ready.client.try_spend(one, "2.000001").reasons == ("campaign_daily_budget",)
    ready.client.record_spend(one, "2")
    persisted(ready)
    assert [(c.status, c.reasons) for c in ready.catalog.campaigns(brand_id)] == [
        ("paused", ("campaign_daily_budget",)),
        ("active", ()),
    ]
    ((at_row, recorded),) = rows(
        ready, "SELECT DISTINCT s.at, l.recorded_at FROM status_change s, spend_log l WHERE s.status = 'paused'"
    )
    assert at_row == recorded
    view = ready.overview.campaign(one)
    assert view.sentence.startswith("paused: its own daily budget used up, again at")
    assert [(kind.name, budget.spent, budget.limit) for kind, budget in view.meters] == [
        ("daily", 2_000_000, 2_000_000)
    ]
    summary = ready.overview.summary().brands[0]
    assert (summary.active_campaigns, summary.causes["campaign_daily_budget"]) == (1, 1)
    ready.manage.update_campaign(one, "anna", daily_budget_micros=None)
    assert ready.catalog.campaign(one).status == "active"
    first, _, lifted = (
        row[0] for row in rows(ready, "SELECT at FROM status_change WHERE campaign_id = :c ORDER BY id", c=one)
    )
    assert lifted > at_row > first
    assert not found(ready)


def test_a_campaign_that_its_own_budgets_stopped_runs_again_in_the_next_period_and_its_lifetime_ends_it(
    clock: System,
) -> None:
    start = instant(2037, 11, 30, 23)
    at(clock, start)
    _, one, _ = capped(clock, daily=3_000_000, monthly=4_000_000, lifetime=5_000_000)
    clock.client.record_spend(one, "4")
    persisted(clock)
    assert clock.catalog.campaign(one).reasons == ("campaign_daily_budget", "campaign_monthly_budget")
    at(clock, instant(2037, 12, 1))
    assert clock.closer.close_ended().drift == []
    check_all(clock.publisher, clock.status)
    assert clock.catalog.campaign(one).status == "active"
    assert rows(clock, "SELECT at FROM status_change ORDER BY id DESC LIMIT 1") == [
        (datetime(2037, 12, 1, tzinfo=UTC),)
    ]
    assert clock.client.try_spend(one, "1.5").reasons == ("flight_budget",)
    assert clock.client.try_spend(one, "1").outcome == "accepted"
    persisted(clock)
    at(clock, instant(2037, 12, 1) + 40 * DAY_MS)
    clock.closer.close_ended()
    check_all(clock.publisher, clock.status)
    assert clock.catalog.campaign(one).reasons == ("flight_budget",)
    assert not found(clock)


def test_a_lifetime_budget_counts_what_was_spent_before_it_was_set_in_closed_months_too(clock: System) -> None:
    at(clock, instant(2037, 11, 30, 23, 50))
    brand_id, (one,) = brand_with_campaigns(clock)
    clock.client.record_spend(one, "3", event_id="november")
    persisted(clock)
    at(clock, instant(2037, 12, 1, 0, 10))
    clock.closer.close_ended()
    clock.client.record_spend(one, "2")
    # Persist is behind: the limit is kept, and published when it has caught up.
    waiting = clock.manage.update_campaign(one, "anna", lifetime_budget_micros=6_000_000)
    assert not waiting.published and "persist has caught up" in waiting.why_not
    assert clock.client.try_spend(one, "0.1").outcome == "accepted"
    # A refund of the closed month: the log must have it before the counter begins.
    assert clock.client.refund(one, event_id="november", amount="1").outcome == "refunded"
    persisted(clock)
    assert clock.publisher.publish_pending() == {brand_id}
    key = keys_of_brand(brand_id).campaign(one)
    assert clock.hot_redis.hget(key, "f:0") == b"4100000"
    assert clock.client.try_spend(one, "2").reasons == ("flight_budget",)
    assert clock.client.refund(one, event_id="november", amount="1", refund_id="more").outcome == "refunded"
    assert clock.client.try_spend(one, "2.9").outcome == "accepted"
    persisted(clock)
    assert found(clock, "V13")["V13"].findings == []
    clock.rebuilder.rebuild([shard_of(brand_id)])
    assert clock.hot_redis.hget(key, "f:0") == b"6000000"
    assert clock.client.try_spend(one, "0.000001").reasons == ("flight_budget",)
    assert not found(clock)


def test_a_rebuild_keeps_a_campaign_s_limits_counters_and_what_it_has_on_hold(ready: System) -> None:
    brand_id, one, two = capped(ready, daily=10_000_000, lifetime=10_000_000)
    ready.client.record_spend(one, "4")
    ready.client.reserve(one, "3", hold_id="bid")
    ready.client.reserve(two, "8", hold_id="bid")
    ready.hot_redis.flushall()
    ready.persister.drain_all()
    ready.rebuilder.rebuild(range(64))
    brand = keys_of_brand(brand_id)
    assert ready.hot_redis.hget(brand.shard, "layout") == b"2"
    # What was not persisted is gone with Redis.
    assert ready.hot_redis.hmget(brand.campaign(one), "x", "f:0") == [b"10000000::10000000", b"0"]
    ready.client.record_spend(one, "4")
    ready.client.reserve(one, "3", hold_id="bid-2")
    ready.client.reserve(two, "8", hold_id="bid-2")
    ready.persister.drain_all()
    ready.rebuilder.rebuild([shard_of(brand_id)])
    held = [b"11000000", b"3000000", b"8000000"]
    assert ready.hot_redis.hmget(brand.brand(brand_id), "held", f"h:{one}", f"h:{two}") == held
    assert ready.client.try_spend(one, "3.000001").reasons == ("campaign_daily_budget", "flight_budget")
    assert ready.client.try_spend(one, "3").outcome == "accepted"
    ready.persister.drain_all()
    assert not found(ready)


def test_verify_names_a_lifetime_counter_and_a_sum_on_hold_that_are_wrong_and_reconcile_repairs_the_counter(
    ready: System,
) -> None:
    brand_id, one, _ = capped(ready, lifetime=10_000_000)
    ready.client.record_spend(one, "4")
    ready.client.reserve(one, "1", hold_id="bid")
    persisted(ready)
    keys = keys_of_brand(brand_id)
    ready.hot_redis.hincrby(keys.campaign(one), "f:0", 7)
    ready.hot_redis.hincrby(keys.brand(brand_id), f"h:{one}", 5)
    wrong = found(ready)
    assert {id_: check.difference_micros for id_, check in wrong.items()} == {"V10": 5, "V13": 7}
    done = ready.reconciler.reconcile()
    assert [repair.difference.field for repair in done.repairs] == ["f:0"]
    assert ready.hot_redis.hget(keys.campaign(one), "f:0") == b"4000000"
    ready.persister.drain_all()
    assert list(found(ready)) == ["V10"]


def test_verify_finds_what_asked_past_a_campaign_s_own_budget(ready: System) -> None:
    _, one, two = capped(ready, daily=2_000_000)
    ready.client.record_spend(one, "5")
    assert ready.client.try_spend(two, "3").outcome == "accepted"
    persisted(ready)
    assert not found(ready), "facts may pass it"
    ready.manage.update_campaign(one, "anna", daily_budget_micros=None)
    assert ready.client.try_spend(one, "1").outcome == "accepted"
    with ready.db.begin() as conn:
        # As if the limit had stood all the while.
        conn.execute(text("UPDATE catalog_change SET at = at - interval '3 days' WHERE field = 'daily_budget'"))
        conn.execute(
            text("UPDATE campaign SET daily_budget_micros = 2000000, published_version = NULL WHERE id = :c"),
            {"c": one},
        )
    ready.publisher.publish_pending()
    persisted(ready)
    ready.publisher.mend()
    ready.publisher.publish_pending()
    assert found(ready)["V3"].difference_micros == 1_000_000


def test_a_watch_stops_a_campaign_at_its_own_budgets_and_no_other_of_its_brand(ready: System) -> None:
    _, one, two = capped(ready, daily=2_000_000, lifetime=3_000_000)
    with ready.client.watch() as watch:
        assert watch.wait_ready(PATIENCE_S)
        assert watch.may_bid(one) and watch.may_bid(two)
        ready.client.record_spend(one, "2")
        until(lambda: not watch.may_bid(one))
        assert watch.may_bid(two)
        assert watch.status(one).reasons == ("campaign_daily_budget",)
        ready.manage.update_campaign(one, "anna", daily_budget_micros=None)
        until(lambda: watch.may_bid(one))
        ready.client.record_spend(one, "1")
        until(lambda: not watch.may_bid(one))
        assert watch.status(one).reasons == ("flight_budget",)
        ready.manage.update_campaign(one, "anna", lifetime_budget_micros=9_000_000)
        until(lambda: watch.may_bid(one))
        ready.manage.update_campaign(two, "anna", daily_budget_micros=0)
        until(lambda: not watch.may_bid(two))
    with ready.client.watch() as watch:
        assert watch.wait_ready(PATIENCE_S)
        assert watch.may_bid(one) and not watch.may_bid(two)


def test_a_client_of_the_release_before_is_refused_where_limits_are_and_works_everywhere_else(
    ready: System, environment: dict[str, str], tmp_path: Path
) -> None:
    (archive,) = RELEASES.glob("client-*.zip")
    zipfile.ZipFile(archive).extractall(tmp_path)
    _, (plain,) = brand_with_campaigns(ready, name="plain")
    _, one, _ = capped(ready, daily=2_000_000)
    script = (
        "import sys\nfrom engine import BudgetClient\nfrom engine.errors import WrongVersion\n"
        "client = BudgetClient.from_url(sys.argv[1], timeout_ms=20_000)\n"
        "print(client.try_spend(int(sys.argv[2]), '5').outcome)\n"
        "for call in (client.record_spend, client.try_spend, client.reserve):\n"
        "    try:\n        print(call(int(sys.argv[3]), '1').outcome)\n"
        "    except WrongVersion as error:\n        print(error)\n"
    )
    words = [sys.executable, "-P", "-c", script, environment["REDIS_URL"], str(plain), str(one)]
    done = subprocess.run(
        words, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    first, *refused = done.stdout.splitlines()
    assert first == "accepted"
    assert len(refused) == 3
    assert all("holds layout 2, this program speaks 1: upgrade this program" in line for line in refused)
    assert ready.client.try_spend(one, "2").outcome == "accepted"
    ready.persister.drain_all()
    assert not found(ready)


def test_a_watch_of_the_release_before_stops_where_limits_come_and_one_that_does_not_cover_them_goes_on(
    ready: System, environment: dict[str, str], tmp_path: Path
) -> None:
    (archive,) = RELEASES.glob("client-*.zip")
    zipfile.ZipFile(archive).extractall(tmp_path)
    _, (plain,) = brand_with_campaigns(ready, name="plain")
    brand_id, (one, _) = brand_with_campaigns(ready, 2)
    script = (
        "import sys, time\nfrom engine import BudgetClient\n"
        "client = BudgetClient.from_url(sys.argv[1], timeout_ms=20_000)\n"
        "plain, one = int(sys.argv[2]), int(sys.argv[3])\n"
        "with client.watch(brands=[plain >> 16]) as narrow, client.watch() as wide:\n"
        "    assert narrow.wait_ready(60) and wide.wait_ready(60)\n"
        "    print(narrow.may_bid(plain), wide.may_bid(one), flush=True)\n"
        "    sys.stdin.readline()\n"
        "    ends = time.monotonic() + 20\n"
        "    while wide.may_bid(one) and time.monotonic() < ends:\n        time.sleep(0.01)\n"
        "    print(narrow.may_bid(plain), wide.may_bid(one), wide.why, flush=True)\n"
    )
    words = [sys.executable, "-P", "-c", script, environment["REDIS_URL"], str(plain), str(one)]
    with subprocess.Popen(
        words, env={**os.environ, "PYTHONPATH": str(tmp_path)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as bidder:
        assert bidder.stdin is not None and bidder.stdout is not None
        assert bidder.stdout.readline() == "True True\n"
        assert ready.manage.update_campaign(one, "anna", daily_budget_micros=2_000_000).published
        bidder.stdin.write("\n")
        bidder.stdin.flush()
        assert bidder.stdout.readline().startswith("True False ")
    assert brand_id != plain >> 16


def test_a_campaign_that_the_catalog_lost_comes_back_with_its_limits(ready: System) -> None:
    _, one, two = capped(ready, daily=2_000_000)
    ready.manage.update_campaign(two, "anna", monthly_budget_micros=7_000_000)
    with ready.db.begin() as conn:
        conn.execute(text("DELETE FROM status_change"))
        conn.execute(text("DELETE FROM campaign WHERE id = :c"), {"c": two})
        conn.execute(text("UPDATE brand SET next_ordinal = 2"))
    ready.restored.take_back()
    assert ready.catalog.campaign(two).limits == OwnLimits(None, 7_000_000, None)
    assert ready.catalog.campaign(one).limits == OwnLimits(2_000_000, None, None)


@pytest.mark.parametrize("amount", [-1, 9_000_000_000_000_001])
def test_a_budget_that_is_none_is_refused_by_name_and_nothing_changes(ready: System, amount: int) -> None:
    _, one, _ = capped(ready, daily=2_000_000)
    with pytest.raises(InvalidBudget, match="lifetime_budget"):
        ready.manage.update_campaign(one, "anna", daily_budget_micros=1, lifetime_budget_micros=amount)
    with pytest.raises(InvalidBudget, match="monthly_budget"):
        ready.manage.create_campaign(1, "x", None, None, "anna", OwnLimits(None, amount, None))
    assert ready.catalog.campaign(one).limits == OwnLimits(2_000_000, None, None)
