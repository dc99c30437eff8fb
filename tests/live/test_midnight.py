"""Periods are in the data: a new day begins by itself, to the millisecond, with every job dead."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from engine import BudgetClient, Spend
from engine.domain.ids import shard_of
from engine.domain.periods import DAY_MS, day_of, ms_of
from engine.domain.schedule import Schedule
from engine.errors import BudgetError
from tests.live.plant import BRAND, CAMPAIGN, Plant

NIGHTS = [(2037, 11, 30), (2040, 2, 28), (2040, 2, 29), (2038, 2, 28), (2037, 12, 31), (2037, 11, 23), (2100, 2, 28)]


@pytest.mark.parametrize("night", NIGHTS, ids=lambda d: "-".join(map(str, d)))
def test_midnight_frees_the_day_and_the_month_holds_both_unless_it_ended_too(
    plant: Plant, client: BudgetClient, clock: None, night: tuple[int, int, int]
) -> None:
    last = ms_of(datetime(*night, 23, 59, 59, 900_000, tzinfo=UTC))
    midnight = last + 100
    plant.at(last)
    plant.brand(daily="20", monthly="1000")
    assert client.try_spend(CAMPAIGN, "20").outcome == "accepted"
    plant.at(midnight - 1)
    assert client.try_spend(CAMPAIGN, "1").outcome == "refused"
    plant.at(midnight)
    answers = [client.try_spend(CAMPAIGN, "1") for _ in range(21)]
    assert [a.outcome for a in answers] == ["accepted"] * 20 + ["refused"]
    same_month = datetime.fromtimestamp(midnight / 1000, UTC).day != 1
    assert answers[-1].daily_spend == Decimal(20)
    assert answers[-1].monthly_spend == Decimal(40 if same_month else 20)


def test_a_retry_after_midnight_of_a_call_before_it_counts_in_the_old_day_only(
    plant: Plant, client: BudgetClient, clock: None
) -> None:
    midnight = ms_of(datetime(2037, 11, 24, tzinfo=UTC))
    plant.at(midnight - 1)
    plant.brand(daily="20")
    client.record_spend(CAMPAIGN, "5", request_id="late")
    plant.at(midnight)
    again = client.record_spend(CAMPAIGN, "5", request_id="late")
    assert (again.outcome, again.daily_spend, again.monthly_spend) == ("recorded", Decimal(0), Decimal(5))


def test_dayparting_holds_to_the_minute_with_every_job_dead(plant: Plant, client: BudgetClient, clock: None) -> None:
    nine = ms_of(datetime(2037, 11, 23, 9, tzinfo=UTC))
    plant.at(nine - 1)
    plant.brand(schedule=Schedule.parse({"days": ["mon"], "start_time": "09:00", "end_time": "17:00"}))
    assert client.try_spend(CAMPAIGN, "1").reasons == ("schedule",)
    plant.at(nine)
    assert client.try_spend(CAMPAIGN, "1").outcome == "accepted"
    plant.at(nine + 8 * 3_600_000 - 1)
    assert client.try_spend(CAMPAIGN, "1").outcome == "accepted"
    plant.at(nine + 8 * 3_600_000)
    assert client.try_spend(CAMPAIGN, "1").reasons == ("schedule",)


def test_ids_are_remembered_for_their_whole_window_and_let_go_after_two(
    plant: Plant, client: BudgetClient, clock: None
) -> None:
    start = ms_of(datetime(2037, 11, 23, 12, 59, 59, tzinfo=UTC))
    plant.at(start)
    plant.brand()
    client.record_spend(CAMPAIGN, "1", event_id="win", request_id="call")
    plant.at(start + 600_000)
    assert client.record_spend(CAMPAIGN, "1", event_id="win", request_id="call").outcome == "recorded"
    plant.at(start + 3_600_000)
    assert client.record_spend(CAMPAIGN, "1", event_id="win").outcome == "duplicate"
    plant.at(start + 2 * 3_600_000 + 2000)
    assert client.record_spend(CAMPAIGN, "1", event_id="win", request_id="call").outcome == "recorded"
    assert plant.spent() == 2_000_000


@pytest.mark.parametrize("seen", [0, 1])
def test_a_batch_counts_once_what_was_the_only_event_of_the_window_before(
    plant: Plant, client: BudgetClient, clock: None, seen: int
) -> None:
    start = ms_of(datetime(2037, 11, 23, 12, 30, tzinfo=UTC))
    plant.at(start)
    plant.brand()
    for _ in range(seen):
        client.record_spend(CAMPAIGN, "1", event_id="e3")
    plant.at(start + 3_600_000)
    outcomes = [answer.outcome for answer in client.record_spends([Spend(CAMPAIGN, "1", f"e{i}") for i in range(10)])]
    assert outcomes == ["duplicate" if seen and i == 3 else "recorded" for i in range(10)]
    assert plant.spent() == 10_000_000


def test_an_idle_shard_forgets_both_windows_at_once(plant: Plant, client: BudgetClient, clock: None) -> None:
    start = ms_of(datetime(2037, 11, 23, 12, tzinfo=UTC))
    plant.at(start)
    plant.brand()
    spends = [Spend(CAMPAIGN, "1", f"e{i}") for i in range(50)]
    client.record_spends(spends)
    plant.at(start + 30 * 3_600_000)
    client.record_spend(CAMPAIGN, "1", event_id="fresh")
    assert sum(plant.plain.hlen(key) for key in ("budget:{17}:events:0", "budget:{17}:events:1")) == 3


def test_a_counter_of_a_day_or_month_that_goes_on_is_never_pruned(
    plant: Plant, client: BudgetClient, clock: None
) -> None:
    noon = ms_of(datetime(2037, 11, 23, 12, tzinfo=UTC))
    plant.at(noon)
    plant.brand()
    client.record_spend(CAMPAIGN, "1")
    for field in (f"d:{day_of(noon)}", "m:203711"):
        with pytest.raises(BudgetError, match=f"did not let go of {field}: open"):
            plant.live.prune(plant.instance, shard_of(BRAND), [plant.key()], [field])
    plant.at(noon + DAY_MS)
    assert plant.live.prune(plant.instance, shard_of(BRAND), [plant.key()], [f"d:{day_of(noon)}"]) == 1
    assert plant.plain.hget(plant.key(), "m:203711") == b"1000000"
