"""One spend at a time: counted, refused, repeated, reported late."""

from __future__ import annotations

import hashlib
from decimal import Decimal

import pytest

from engine import BudgetClient, InvalidAmount, InvalidId, InvalidInput, Spend
from engine.domain.schedule import Schedule
from engine.live.admin import BrandPlan, LiveRedis
from engine.live.keys import keys_of_brand
from engine.live.scripts import lua_folder, swapping
from tests.live.plant import BRAND, CAMPAIGN, Plant

SECOND = CAMPAIGN + 1
KEYS = keys_of_brand(BRAND)


def test_a_recorded_spend_is_counted_to_the_day_and_the_month(plant: Plant, client: BudgetClient) -> None:
    plant.brand(daily="100", monthly="1000")
    answer = client.record_spend(CAMPAIGN, "12.5")
    assert (answer.outcome, answer.reasons) == ("recorded", ())
    assert (answer.daily_spend, answer.monthly_spend) == (Decimal("12.5"), Decimal("12.5"))
    assert (answer.daily_remaining, answer.monthly_remaining) == (Decimal("87.5"), Decimal("987.5"))


def test_a_fact_past_the_budget_is_counted_and_remaining_turns_negative(plant: Plant, client: BudgetClient) -> None:
    plant.brand(daily="10")
    client.record_spend(CAMPAIGN, "10")
    answer = client.record_spend(CAMPAIGN, "3.20")
    assert (answer.outcome, answer.reasons) == ("recorded", ("daily_budget",))
    assert answer.daily_remaining == Decimal("-3.2")


def test_a_refused_spend_consumes_nothing_so_the_rest_stays_spendable(plant: Plant, client: BudgetClient) -> None:
    plant.brand(daily="100")
    client.try_spend(CAMPAIGN, "60")
    refused = client.try_spend(CAMPAIGN, "150")
    assert (refused.outcome, refused.reasons) == ("refused", ("daily_budget",))
    assert client.try_spend(CAMPAIGN, "40").outcome == "accepted"
    assert client.try_spend(CAMPAIGN, "0.000001").outcome == "refused"


def test_the_last_micro_may_be_spent_and_not_one_more(plant: Plant, client: BudgetClient) -> None:
    plant.brand(daily="1", monthly="0.999999")
    assert client.try_spend(CAMPAIGN, "1").reasons == ("monthly_budget",)
    last = client.try_spend(CAMPAIGN, "0.999999")
    assert (last.outcome, last.reasons) == ("accepted", ("monthly_budget",))


def test_a_budget_of_zero_allows_nothing_and_none_has_no_limit(plant: Plant, client: BudgetClient) -> None:
    plant.brand(daily="0")
    assert client.try_spend(CAMPAIGN, "0.000001").reasons == ("daily_budget",)
    plant.brand(daily=None, version=2)
    assert client.try_spend(CAMPAIGN, "1000000").outcome == "accepted"


def test_a_paused_campaign_refuses_to_ask_but_counts_facts(plant: Plant, client: BudgetClient) -> None:
    plant.brand(enabled=False, archived=True, schedule=Schedule.parse(plant.closed_now()))
    refused = client.try_spend(CAMPAIGN, "1")
    assert (refused.outcome, refused.reasons) == ("refused", ("manual", "archived", "schedule"))
    assert client.record_spend(CAMPAIGN, "1").outcome == "recorded"


def test_an_unknown_campaign_is_answered_as_such_and_nothing_is_written(plant: Plant, client: BudgetClient) -> None:
    plant.brand()
    entries = plant.entries()
    assert client.record_spend(CAMPAIGN + 7, "1").outcome == "unknown_campaign"
    assert client.record_spend((BRAND + 64) * 65536 + 1, "1").outcome == "unknown_campaign"
    assert plant.entries() == entries


def test_a_repeated_request_counts_once_and_shows_todays_figures(plant: Plant, client: BudgetClient) -> None:
    plant.brand(daily="100")
    client.record_spend(CAMPAIGN, "1", request_id="r1")
    client.record_spend(CAMPAIGN, "5")
    again = client.record_spend(CAMPAIGN, "1", request_id="r1")
    assert (again.outcome, again.daily_spend) == ("recorded", Decimal(6))


def test_a_repeated_request_with_other_content_is_a_conflict(plant: Plant, client: BudgetClient) -> None:
    plant.brand()
    client.record_spend(CAMPAIGN, "1", request_id="r1")
    assert client.record_spend(CAMPAIGN, "2", request_id="r1").outcome == "conflict"
    assert client.try_spend(CAMPAIGN, "1", request_id="r1").outcome == "conflict"
    assert plant.spent() == 1_000_000


def test_a_spend_that_an_older_script_remembered_by_its_digest_counts_once_all_the_same(
    plant: Plant, client: BudgetClient
) -> None:
    plant.brand()
    client.record_spend(CAMPAIGN, "1", request_id="r1")
    (memory,) = (key for key in KEYS.requests if plant.plain.hexists(key, "r1"))
    digest = hashlib.sha1(f"{CAMPAIGN},1000000,,;".encode()).hexdigest()[:16]
    plant.plain.hset(memory, "r1", f"r{digest} k*1")
    assert client.record_spend(CAMPAIGN, "1", request_id="r1").outcome == "recorded"
    assert client.record_spend(CAMPAIGN, "2", request_id="r1").outcome == "conflict"
    assert plant.spent() == 1_000_000


def test_a_repeated_refusal_stays_refused_even_when_money_came_back(plant: Plant, client: BudgetClient) -> None:
    plant.brand(daily="1")
    assert client.try_spend(CAMPAIGN, "2", request_id="r1").outcome == "refused"
    plant.brand(daily="10", version=2)
    assert client.try_spend(CAMPAIGN, "2", request_id="r1").outcome == "refused"
    assert client.try_spend(CAMPAIGN, "2").outcome == "accepted"


def test_an_unknown_campaign_is_not_remembered_so_the_same_request_works_once_it_exists(
    plant: Plant, client: BudgetClient
) -> None:
    plant.brand()
    spends = [Spend(CAMPAIGN, "1"), Spend(SECOND, "2")]
    assert [a.outcome for a in client.record_spends(spends, request_id="r1")] == ["recorded", "unknown_campaign"]
    plant.campaign(SECOND)
    assert [a.outcome for a in client.record_spends(spends, request_id="r1")] == ["recorded", "recorded"]
    assert [a.outcome for a in client.record_spends(spends, request_id="r1")] == ["recorded", "recorded"]
    assert plant.spent() == 3_000_000


def test_a_win_notice_that_comes_twice_counts_once_also_in_one_batch(plant: Plant, client: BudgetClient) -> None:
    plant.brand()
    assert client.record_spend(CAMPAIGN, "1", event_id="win-1").outcome == "recorded"
    assert client.record_spend(CAMPAIGN, "1", event_id="win-1").outcome == "duplicate"
    batch = [Spend(CAMPAIGN, "2", "win-2"), Spend(CAMPAIGN, "2", "win-2"), Spend(CAMPAIGN, "1", "win-1")]
    assert [a.outcome for a in client.record_spends(batch)] == ["recorded", "duplicate", "duplicate"]
    assert plant.spent() == 3_000_000


def test_a_win_notice_with_another_amount_or_campaign_is_a_conflict(plant: Plant, client: BudgetClient) -> None:
    plant.brand()
    plant.campaign(SECOND)
    client.record_spend(CAMPAIGN, "1", event_id="win-1")
    assert client.record_spend(CAMPAIGN, "2", event_id="win-1").outcome == "conflict"
    assert client.record_spend(SECOND, "1", event_id="win-1").outcome == "conflict"
    assert plant.spent() == 1_000_000


def test_a_refusal_does_not_use_up_the_event_id(plant: Plant, client: BudgetClient) -> None:
    plant.brand(daily="1")
    assert client.try_spend(CAMPAIGN, "2", event_id="win-1").outcome == "refused"
    assert client.record_spend(CAMPAIGN, "2", event_id="win-1").outcome == "recorded"


def test_two_brands_may_use_the_same_event_id(plant: Plant, client: BudgetClient) -> None:
    other = BRAND + 64
    plant.brand()
    plant.brand(brand_id=other)
    batch = [Spend(CAMPAIGN, "1", "win-1"), Spend(other * 65536 + 1, "1", "win-1")]
    assert [a.outcome for a in client.record_spends(batch)] == ["recorded", "recorded"]


def test_a_batch_is_judged_in_order_and_answered_with_figures_after_all_of_it(
    plant: Plant, client: BudgetClient
) -> None:
    plant.brand(daily="10")
    answers = client.try_spends(
        [Spend(CAMPAIGN, "6"), Spend(CAMPAIGN, "5"), Spend(CAMPAIGN, "4"), Spend(CAMPAIGN, "1")]
    )
    assert [a.outcome for a in answers] == ["accepted", "refused", "accepted", "refused"]
    assert {a.daily_spend for a in answers} == {Decimal(10)}
    assert answers[0].reasons == ("daily_budget",)


def test_a_batch_that_needs_several_calls_keeps_its_order_and_its_last_figures(
    plant: Plant, client: BudgetClient
) -> None:
    plant.brand(daily="2500")
    other = BRAND + 1
    plant.brand(brand_id=other)
    spends = [
        Spend(CAMPAIGN if i % 3 else other * 65536 + 1, "1", f"e{i}" if i % 500 == 0 else None) for i in range(4200)
    ]
    answers = client.record_spends(spends)
    assert [a.campaign_id for a in answers] == [s.campaign_id for s in spends]
    assert {(a.daily_spend, a.reasons) for a in answers if a.campaign_id == CAMPAIGN} == {
        (Decimal(2800), ("daily_budget",))
    }
    assert {a.daily_spend for a in answers if a.campaign_id != CAMPAIGN} == {Decimal(1400)}


def test_in_a_batch_that_does_not_fit_whole_each_spend_is_answered_as_alone(plant: Plant, client: BudgetClient) -> None:
    plant.brand(daily="10")
    client.record_spend(CAMPAIGN, "1", event_id="win")
    batch = [("2", "win"), ("20", None), ("1", "win"), ("3", "new"), ("3", "new")]
    answers = client.try_spends([Spend(CAMPAIGN, amount, event) for amount, event in batch])
    assert [a.outcome for a in answers] == ["conflict", "refused", "duplicate", "accepted", "duplicate"]
    facts = client.record_spends([Spend(CAMPAIGN, "20"), Spend(CAMPAIGN + 9, "1"), Spend(CAMPAIGN, "1")])
    assert [a.outcome for a in facts] == ["recorded", "unknown_campaign", "recorded"]
    assert plant.spent() == 25_000_000


def test_an_empty_batch_is_answered_with_nothing(plant: Plant, client: BudgetClient) -> None:
    assert client.record_spends([]) == []


def test_a_bad_spend_in_a_batch_is_named_by_its_index_and_nothing_is_sent(plant: Plant, client: BudgetClient) -> None:
    plant.brand()
    entries = plant.entries()
    with pytest.raises(InvalidAmount, match=r"spends\[1\]: amount '-1'") as caught:
        client.record_spends([Spend(CAMPAIGN, "1"), Spend(CAMPAIGN, "-1")])
    assert caught.value.field == "spends[1].amount"
    with pytest.raises(InvalidInput, match=r"spends\[0\]"):
        client.record_spends([7])  # type: ignore[list-item]
    assert plant.entries() == entries


@pytest.mark.parametrize("bad", ["x" * 65, "", "a b", "a{1}", "a\n", "a\0", "é", 7, True])
def test_ids_outside_the_grammar_are_refused_before_anything_is_sent(client: BudgetClient, bad: object) -> None:
    with pytest.raises(InvalidId, match="event_id"):
        client.record_spend(CAMPAIGN, "1", event_id=bad)  # type: ignore[arg-type]
    with pytest.raises(InvalidId, match="request_id"):
        client.record_spend(CAMPAIGN, "1", request_id=bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [0, -1, 65536, 2**60, "5308417", 5308417.0, True, None])
def test_campaign_ids_that_cannot_be_are_refused_before_anything_is_sent(client: BudgetClient, bad: object) -> None:
    with pytest.raises(InvalidId, match="campaign_id"):
        client.record_spend(bad, "1")  # type: ignore[arg-type]


def test_amount_and_amount_micros_exclude_each_other_and_one_is_needed(client: BudgetClient) -> None:
    with pytest.raises(InvalidAmount, match="both"):
        client.record_spend(CAMPAIGN, "1", amount_micros=1)
    with pytest.raises(InvalidAmount, match="missing"):
        client.record_spend(CAMPAIGN)


def test_status_names_the_causes_of_this_millisecond(plant: Plant, client: BudgetClient) -> None:
    plant.brand(daily="1")
    assert client.status(CAMPAIGN).status == "active"
    client.record_spend(CAMPAIGN, "1")
    assert (client.status(CAMPAIGN).status, client.status(CAMPAIGN).reasons) == ("paused", ("daily_budget",))


def test_an_older_version_of_the_plan_is_ignored(plant: Plant, live: LiveRedis, client: BudgetClient) -> None:
    plant.brand(daily="10", version=3)
    plant.brand(daily="999", version=2)
    assert client.record_spend(CAMPAIGN, "1").daily_remaining == Decimal(9)


def test_running_out_and_being_restored_each_leave_one_change_in_the_journal(
    plant: Plant, client: BudgetClient
) -> None:
    plant.brand(daily="1")
    client.record_spend(CAMPAIGN, "1")
    client.record_spend(CAMPAIGN, "1")
    plant.brand(daily="5", version=2)
    changes = [change for entry in plant.entries() for change in entry.changes]
    assert [(c.brand_id, c.cause, c.direction) for c in changes] == [
        (BRAND, "daily_budget", "exhausted"),
        (BRAND, "daily_budget", "restored"),
    ]


def test_a_spend_is_counted_to_its_brand_and_to_its_campaign_alike(plant: Plant, client: BudgetClient) -> None:
    plant.brand()
    plant.campaign(SECOND)
    client.record_spend(CAMPAIGN, "2")
    client.record_spend(CAMPAIGN, "3")
    client.record_spends([Spend(SECOND, "4"), Spend(CAMPAIGN, "7"), Spend(CAMPAIGN + 9, "1")])
    client.record_spends([Spend(SECOND, "8")] * 10)
    brand = plant.live.read_brand(BRAND, 2)
    assert brand is not None
    assert (brand.daily_spend, brand.monthly_spend) == (96_000_000, 96_000_000)
    assert {c.campaign_id: (c.daily_spend, c.monthly_spend) for c in brand.campaigns.values()} == {
        CAMPAIGN: (12_000_000, 12_000_000),
        SECOND: (84_000_000, 84_000_000),
    }


def test_a_campaign_of_an_archived_brand_may_ask_for_nothing(plant: Plant, client: BudgetClient) -> None:
    plant.brand()
    assert plant.live.publish(plant.instance, BrandPlan(BRAND, 2, None, None, True, False), [])
    assert client.try_spend(CAMPAIGN, "1").reasons == ("archived",)
    assert client.reserve(CAMPAIGN, "1").reasons == ("archived",)
    assert client.record_spend(CAMPAIGN, "1").outcome == "recorded"


def test_a_total_beyond_what_is_counted_exactly_is_refused_and_nothing_is_written(
    plant: Plant, client: BudgetClient
) -> None:
    plant.brand()
    for _ in range(9):
        client.record_spends([Spend(CAMPAIGN, amount_micros=10**12)] * 1000)
    entries = plant.plain.xlen(KEYS.journal)
    with pytest.raises(InvalidInput, match="total"):
        client.record_spend(CAMPAIGN, amount_micros=1)
    with pytest.raises(InvalidInput, match="total"):
        client.settle(f"{CAMPAIGN}:never-held", "0.000001")
    assert plant.spent() == 9 * 10**15
    assert plant.plain.xlen(KEYS.journal) == entries


ANOTHER_SERVER = """
local server = redis
local function told(...)
  local arguments = { ... }
  for i, argument in ipairs(arguments) do
    if type(argument) == 'number' and argument % 100000000 == 0 then arguments[i] = string.format('%.0e', argument) end
  end
  return unpack(arguments)
end
local redis = {
  call = function(...) return server.call(told(...)) end,
  pcall = function(...) return server.pcall(told(...)) end,
  sha1hex = server.sha1hex,
}
"""
"""Redis 7.2.0 to 7.2.4 write a number with eight zeros at its end as 1e+08 (redis/redis#13113)."""


@pytest.mark.parametrize("spends", [1, 50], ids=["one spend", "a packed batch"])
def test_a_round_total_is_digits_also_where_the_server_would_write_it_otherwise(
    plant: Plant, client: BudgetClient, spends: int
) -> None:
    plant.brand(daily="1000", monthly="1000")
    keys = keys_of_brand(BRAND)
    client.record_spend(CAMPAIGN, "1")
    hashes = {keys.shard: [b"n", b"count:recorded"], keys.brand(BRAND): [], keys.campaign(CAMPAIGN): []}
    for key, fields in hashes.items():
        fields += [field for field in plant.plain.hkeys(key) if field[:2] in (b"d:", b"m:")]
    with swapping({"lib/constants.lua": ANOTHER_SERVER + (lua_folder() / "lib" / "constants.lua").read_text()}):
        for key, field in [(key, field) for key, fields in hashes.items() for field in fields]:
            step = 1 if field == b"n" else spends
            plant.plain.hset(key, field, 100_000_000 - step)
            answers = client.record_spends([Spend(CAMPAIGN, amount_micros=1)] * spends)
            assert {answer.outcome for answer in answers} == {"recorded"}
            assert plant.plain.hget(key, field) == b"100000000", field
            assert client.try_spend(CAMPAIGN, "1").outcome == "accepted"
