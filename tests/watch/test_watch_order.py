"""An older word never overwrites a newer state, whatever comes late; and what does not read makes the watcher look again."""

from __future__ import annotations

import pytest

from engine import BudgetClient, Watch
from engine.client.watch.eligibility import EligibilityView
from engine.client.watch.messages import (
    BrandSnapshot,
    BudgetMoved,
    CampaignSnapshot,
    Change,
    PlanPublished,
    ShardChanged,
    read_message,
)
from engine.client.watch.wanted import WatchFilter
from engine.domain.periods import DAY_MS
from engine.domain.schedule import Schedule
from engine.live.admin import LiveRedis
from engine.live.keys import keys_of_brand
from tests.live.plant import BRAND, CAMPAIGN, Plant, mark
from tests.patience import PATIENCE_S
from tests.watch.conftest import until

NOON = 20_780 * DAY_MS + DAY_MS // 2
SHARD = 17


def brand(n: int, *, version: int = 1, used: bool = False, zero: bool = False, archived: bool = False) -> BrandSnapshot:
    daily = frozenset({"daily_budget"})
    return BrandSnapshot(n, NOON, version, archived, daily if zero else frozenset(), daily if used else frozenset())


def campaign(version: int, *, enabled: bool = True, schedule: str = "", ordinal: int = 0) -> CampaignSnapshot:
    return CampaignSnapshot(CAMPAIGN + ordinal, version, enabled, False, schedule)


@pytest.fixture
def picture() -> EligibilityView:
    """Brand 81 at n = 10 and version 3, its campaign at version 5, running."""
    made = EligibilityView(False, WatchFilter(None, None))
    made.restart(NOON)
    made.load(SHARD, [(BRAND, brand(10, version=3), [campaign(5)])])
    assert CAMPAIGN in made.running
    return made


def test_a_pause_that_is_older_than_the_snapshot_changes_nothing(picture: EligibilityView) -> None:
    picture.apply_plan(
        PlanPublished(BRAND, brand(9, version=2, archived=True, used=True), (campaign(4, enabled=False),))
    )
    assert CAMPAIGN in picture.running
    picture.apply_plan(PlanPublished(BRAND, brand(10, version=3), (campaign(6, enabled=False),)))
    assert CAMPAIGN not in picture.running
    picture.apply_plan(PlanPublished(BRAND, brand(10, version=3), (campaign(5),)))
    assert CAMPAIGN not in picture.running


def test_money_is_ordered_by_the_journal_and_limits_by_their_version(picture: EligibilityView) -> None:
    picture.apply_budget(BudgetMoved(BRAND, "daily_budget", True, NOON, 9))
    assert CAMPAIGN in picture.running
    picture.apply_budget(BudgetMoved(BRAND, "daily_budget", True, NOON, 12))
    assert CAMPAIGN not in picture.running
    picture.apply_budget(BudgetMoved(BRAND, "daily_budget", False, NOON, 11))
    assert CAMPAIGN not in picture.running
    # A plan whose version is new and whose money is old: its "not used up" does not count.
    picture.apply_plan(PlanPublished(BRAND, brand(11, version=4), ()))
    assert picture.mask(CAMPAIGN) == 8
    picture.apply_budget(BudgetMoved(BRAND, "daily_budget", False, NOON, 13))
    assert CAMPAIGN in picture.running
    # One whose money is new and whose version is old: its budget counts, its archive does not.
    picture.apply_plan(PlanPublished(BRAND, brand(14, version=3, used=True, archived=True), ()))
    assert picture.mask(CAMPAIGN) == 8


def test_two_budgets_of_one_entry_are_both_heard(picture: EligibilityView) -> None:
    picture.apply_budget(BudgetMoved(BRAND, "daily_budget", True, NOON, 11))
    picture.apply_budget(BudgetMoved(BRAND, "monthly_budget", True, NOON, 11))
    assert picture.mask(CAMPAIGN) == 8 | 16


def test_a_budget_used_up_after_midnight_is_not_freed_by_a_midnight_that_we_reach_later(
    picture: EligibilityView,
) -> None:
    midnight = 20_781 * DAY_MS
    picture.apply_budget(BudgetMoved(BRAND, "daily_budget", True, midnight + 3, 11))
    assert CAMPAIGN not in picture.running
    picture.advance(midnight)
    assert CAMPAIGN not in picture.running
    picture.advance(midnight + DAY_MS)
    assert CAMPAIGN in picture.running


def test_time_does_not_let_a_stale_campaign_run_when_failing_closed() -> None:
    for fail_open in (False, True):
        picture = EligibilityView(fail_open, WatchFilter(None, None))
        picture.restart(NOON)
        seen = [campaign(1, schedule="1234567@780-800"), campaign(1, ordinal=1), campaign(1, ordinal=2)]
        picture.load(SHARD, [(BRAND, brand(1), seen[:1]), (BRAND + 64, brand(1, used=True), [])])
        picture.apply_plan(
            PlanPublished(
                BRAND + 64, brand(1, used=True), (CampaignSnapshot((BRAND + 64) * 65536 + 1, 1, True, False, ""),)
            )
        )
        picture.mark_stale(SHARD)
        picture.advance(NOON + 60 * 60_000)
        assert (CAMPAIGN in picture.running) is fail_open
        picture.advance(NOON + DAY_MS)
        assert ((BRAND + 64) * 65536 + 1 in picture.running) is fail_open
        # Of a shard that is not fresh nothing is heard, since its snapshot follows.
        picture.apply_plan(PlanPublished(BRAND, brand(5, version=9), (campaign(9, ordinal=5),)))
        assert picture.mask(CAMPAIGN + 5) is None


def test_a_snapshot_replaces_what_was_known_and_lets_go_of_what_is_gone(picture: EligibilityView) -> None:
    picture.apply_plan(PlanPublished(BRAND, brand(10, version=3), (campaign(7, ordinal=1, schedule="1@0-1440"),)))
    picture.apply_plan(
        PlanPublished(BRAND + 64, brand(10), (CampaignSnapshot((BRAND + 64) * 65536 + 1, 1, True, False, ""),))
    )
    assert len(picture) == 3
    picture.load(SHARD, [(BRAND, brand(2, version=1), [campaign(1)])])
    assert picture.running == {CAMPAIGN}
    assert len(picture) == 1
    picture.apply_budget(BudgetMoved(BRAND, "daily_budget", True, NOON, 3))
    assert picture.running == set()


def test_the_messages_read_as_the_scripts_write_them() -> None:
    assert read_message(b"81 daily_budget exhausted 1795420800000 7") == BudgetMoved(
        81, "daily_budget", True, 1795420800000, 7
    )
    assert read_message(b"0 shard ready 1795420800000") == ShardChanged(True)
    assert read_message(b"0 shard lost") == ShardChanged(False)
    told = read_message(
        b"81 plan published 1795420800000 7 3:0:0::1:0 5308417:2:1:0:12345@540-1020;6@0-360 5308418:1:0:1:"
    )
    assert told == PlanPublished(
        81,
        BrandSnapshot(7, 1795420800000, 3, False, frozenset({"daily_budget"}), frozenset({"daily_budget"})),
        (
            CampaignSnapshot(5308417, 2, True, False, "12345@540-1020;6@0-360"),
            CampaignSnapshot(5308418, 1, False, True, ""),
        ),
    )
    for strange in (
        b"81 plan published 1795420800000",
        b"81 daily_budget exhausted 1",
        b"",
        b"81 flight ended 1 2",
        b"81 plan published",
        b"\xff",
    ):
        with pytest.raises(ValueError):
            read_message(strange)


def test_every_change_is_told_in_words_that_order_it(plant: Plant, client: BudgetClient, live: LiveRedis) -> None:
    keys = keys_of_brand(BRAND)
    with plant.plain.pubsub() as channel:
        channel.subscribe(keys.changes)

        def heard() -> list[Change]:
            # What was told before arrives before this.
            plant.plain.publish(keys.changes, "that was all")
            words = []
            while (message := channel.get_message(timeout=PATIENCE_S))["data"] != b"that was all":
                if message["type"] == "message":
                    words.append(read_message(message["data"]))
            return words

        assert heard() == []
        plant.brand(daily="10", schedule=Schedule.parse({"days": ["mon"]}))
        (told,) = heard()
        assert isinstance(told, PlanPublished)
        assert told.brand._replace(at_ms=0) == BrandSnapshot(1, 0, 1, False, frozenset(), frozenset())
        assert told.campaigns == (CampaignSnapshot(CAMPAIGN, 1, True, False, "1@0-1440"),)
        client.record_spend(CAMPAIGN, "10", event_id="win")
        client.refund(CAMPAIGN, "1", "win")
        hold = client.reserve(CAMPAIGN, "1")
        client.settle(hold.hold_id, "1")
        used_up, freed = heard()[:2]
        assert isinstance(used_up, BudgetMoved)
        assert isinstance(freed, BudgetMoved)
        entries = {e.n: e for e in plant.entries()}
        assert (used_up.used_up, entries[used_up.n].request_id != "") == (True, True)
        assert (freed.used_up, entries[freed.n].steps[:1]) == (False, "F")
        assert used_up.at_ms == entries[used_up.n].ms
        plant.brand(daily="5", version=2)
        plant.brand(daily="20", version=3)
        plant.brand(daily="1", version=2)
        lower, higher = heard()
        assert isinstance(lower, PlanPublished)
        assert isinstance(higher, PlanPublished)
        assert (lower.brand.version, lower.brand.used_up, higher.brand.used_up) == (2, {"daily_budget"}, set())
        assert (lower.campaigns, higher.campaigns) == ((), ())
        last = live.read_shard(SHARD)
        assert higher.brand.n == last.n > lower.brand.n
        plant.campaign(CAMPAIGN, version=2, enabled=False)
        (switched,) = heard()
        assert isinstance(switched, PlanPublished)
        assert switched.brand == higher.brand._replace(at_ms=switched.brand.at_ms)
        assert switched.campaigns == (CampaignSnapshot(CAMPAIGN, 2, False, False, ""),)
        plant.campaign(CAMPAIGN, version=1)
        assert heard() == []
        plant.plain.delete(keys.campaign(CAMPAIGN))
        assert client.record_spend(CAMPAIGN, "1").outcome == "not_ready"
        assert heard() == [ShardChanged(False)]
        mark(live, plant.instance, SHARD)
        assert heard() == [ShardChanged(True)]
        live.unmark(plant.instance, SHARD, "a test")
        assert heard() == [ShardChanged(False)]


def test_a_message_that_does_not_read_makes_the_watcher_read_the_shard_again(plant: Plant, watch: Watch) -> None:
    plant.brand()
    until(lambda: watch.may_bid(CAMPAIGN))
    plant.plain.hset(keys_of_brand(BRAND).campaign(CAMPAIGN), "on", "0")
    plant.plain.publish(keys_of_brand(BRAND).changes, "81 plan published 1795420800000")
    until(lambda: not watch.may_bid(CAMPAIGN))
    assert not watch.stale


def test_a_budget_of_nothing_that_a_correction_took_below_zero_is_free_until_its_day_ends(
    picture: EligibilityView,
) -> None:
    picture.apply_plan(PlanPublished(BRAND, brand(11, version=4, zero=True, used=True), ()))
    assert picture.mask(CAMPAIGN) == 8
    picture.apply_budget(BudgetMoved(BRAND, "daily_budget", False, NOON, 12))
    assert CAMPAIGN in picture.running
    picture.advance(NOON + DAY_MS)
    assert picture.mask(CAMPAIGN) == 8
