"""A packed batch is answered, counted and remembered as the same batch in text."""

from __future__ import annotations

import re
import struct
from itertools import count
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.client import batches
from engine.client.batches import PACKED_FROM, pieces_of
from engine.client.spends import Spend
from engine.client.sync import BudgetClient
from engine.domain.ids import ORDINALS, SHARDS, TEXT_ID
from engine.domain.money import MAX_AMOUNT_MICROS, format_micros, parse_amount
from engine.errors import InvalidInput
from engine.live.admin import BrandPlan
from engine.live.keys import keys_of_brand
from engine.live.scripts import script
from tests.live.plant import BRAND, CAMPAIGN, Plant

pytestmark = pytest.mark.usefixtures("either_way")

SERIAL = count(1)
"""Two brands an example, of the same shard and with the same plan: one gets every batch packed, the other gets it as text."""

AMOUNTS = st.one_of(st.integers(1, 9), st.integers(2**32 - 2, 2**32 + 2), st.just(MAX_AMOUNT_MICROS))
EVENTS = st.one_of(st.none(), st.sampled_from("uvwxyz"), st.sampled_from(("a-1", "12345678" * 8)))
SPENDS = st.tuples(
    st.lists(st.tuples(st.integers(1, 3), AMOUNTS), min_size=1, max_size=12), st.lists(EVENTS, min_size=12, max_size=12)
)
CALLS = st.lists(
    st.tuples(st.sampled_from(("record", "try")), st.sampled_from("abc"), SPENDS, st.sampled_from((None, 20, 2**32))),
    min_size=1,
    max_size=4,
)


def spend(client: BudgetClient, verb: str, request: str, spends: list[Spend], *, packed: bool) -> list[Any]:
    """What a batch is answered, without the ids that tell the two brands apart."""
    call = client.record_spends if verb == "record" else client.try_spends
    with mock.patch.object(batches, "PACKED_FROM", 1 if packed else 10**9):
        answers = call(spends, request_id=request)
    return [(a.outcome, a.reasons, a.daily_spend, a.daily_remaining, a.monthly_spend) for a in answers]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=CALLS)
def test_a_packed_batch_is_answered_and_counted_as_the_same_batch_in_text(
    plant: Plant,
    client: BudgetClient,
    calls: list[tuple[str, str, tuple[list[tuple[int, int]], list[str | None]], int | None]],
) -> None:
    brands = {BRAND + SHARDS * next(SERIAL): True, BRAND + SHARDS * next(SERIAL): False}
    for brand in brands:
        plant.brand(brand_id=brand, daily="0.000009")
        plant.campaign(brand * ORDINALS + 2)
    raised = 1
    for verb, request, (given_spends, events), limit in calls:
        if None not in events[: len(given_spends)] or len(set(events)) < 4:
            ids: list[str | None] = [event or "n" for event in events]
        else:
            ids = [None] * len(events)
        if limit is not None:
            raised += 1
            for brand in brands:
                plant.brand(brand_id=brand, daily=format_micros(limit), version=raised)
        told = [
            spend(
                client, verb, f"{brand}.{request}",
                [Spend(brand * ORDINALS + ordinal, None, event, micros) for (ordinal, micros), event in zip(given_spends, ids, strict=False)],
                packed=packed,
            )
            for brand, packed in brands.items()
        ]  # fmt: skip
        assert told[0] == told[1]
    memories = [plant.plain.hgetall(key) for key in keys_of_brand(BRAND).events]
    remembered = {
        brand: {
            name.partition(b":")[2]: value.split(b",")[1:]
            for m in memories
            for name, value in m.items()
            if name.startswith(b"%d:" % brand)
        }
        for brand in brands
    }
    first, second = remembered.values()
    assert first == second
    counters = [
        plant.plain.hgetall(keys_of_brand(brand).campaign(brand * ORDINALS + ordinal))
        for brand in brands
        for ordinal in (1, 2)
    ]
    assert counters[:2] == counters[2:]


def test_the_log_adds_up_to_the_sums_and_keeps_the_order() -> None:
    given_spends = [(CAMPAIGN + i % 3, 10**i) for i in range(PACKED_FROM + 2)]
    (piece,), size = pieces_of([Spend(campaign, None, None, micros) for campaign, micros in given_spends])
    sums, log = piece.args()
    assert isinstance(sums, str)
    assert isinstance(log, bytes)
    lines = [tuple(map(int, line.split(","))) for line in sums.split(";")[:-1]]
    width = log[1]
    places, amounts = log[2 : 2 + size], struct.unpack(f"<{size}{'IQ'[width == 8]}", log[2 + size :])
    assert [(lines[place][0], amount) for place, amount in zip(places, amounts, strict=True)] == given_spends
    for campaign, total, times in lines:
        assert total == sum(micros for c, micros in given_spends if c == campaign)
        assert times == sum(c == campaign for c, _ in given_spends)


def test_a_thousand_spends_cost_the_journal_less_than_eight_bytes_each(plant: Plant, client: BudgetClient) -> None:
    plant.brand()
    for ordinal in range(2, 21):
        plant.campaign(BRAND * ORDINALS + ordinal)
    journal = keys_of_brand(BRAND).journal
    batch = [Spend(CAMPAIGN + i % 20, None, None, 1000 + i) for i in range(1000)]
    client.record_spends(batch)
    before = plant.plain.memory_usage(journal, samples=0)
    for _ in range(100):
        client.record_spends(batch)
    grown = plant.plain.memory_usage(journal, samples=0) - before
    assert grown < 8 * 100_000
    print(f"journal: {grown / 100_000:.2f} bytes a spend")


def test_a_spend_alone_costs_the_journal_less_than_sixty_four_bytes(plant: Plant, client: BudgetClient) -> None:
    plant.brand()
    journal = keys_of_brand(BRAND).journal
    client.record_spend(CAMPAIGN, amount_micros=1)
    before = plant.plain.memory_usage(journal, samples=0)
    for micros in range(1000, 3000):
        client.record_spend(CAMPAIGN, amount_micros=micros)
    assert plant.plain.memory_usage(journal, samples=0) - before < 64 * 2000


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (Spend(CAMPAIGN, None, None, 0), "amount_micros"),
        (Spend(CAMPAIGN, None, None, True), "amount_micros"),
        (Spend(CAMPAIGN, None, None, MAX_AMOUNT_MICROS + 1), "amount_micros"),
        (Spend(CAMPAIGN, "1,2"), "amount"),
        (Spend(CAMPAIGN, "1.0000001"), "amount"),
        (Spend(CAMPAIGN, "0"), "amount"),
        (Spend(CAMPAIGN, None, None, None), "amount"),
        (Spend(CAMPAIGN, "1", None, 1), "amount_micros"),
        (Spend(ORDINALS * 5, None, None, 1), "campaign_id"),
        (Spend(True, None, None, 1), "campaign_id"),
        (Spend(CAMPAIGN, None, "a,b", 1), "event_id"),
        (Spend(CAMPAIGN, None, "", 1), "event_id"),
    ],
    ids=str,
)
@pytest.mark.parametrize("rest", ["micros", "text", "events"])
def test_one_bad_spend_among_many_is_named_by_its_place_and_nothing_is_sent(
    wrong: Spend, field: str, rest: str
) -> None:
    good = {
        "micros": Spend(CAMPAIGN, None, None, 7),
        "text": Spend(CAMPAIGN, "0.25"),
        "events": Spend(CAMPAIGN, None, "e", 7),
    }[rest]
    for place in (0, PACKED_FROM, 2 * PACKED_FROM):
        batch = [good] * (2 * PACKED_FROM)
        batch.insert(place, wrong)
        with pytest.raises(InvalidInput) as caught:
            pieces_of(batch)
        assert caught.value.field == f"spends[{place}].{field}"


def test_amounts_as_text_are_the_same_micros_as_one_by_one() -> None:
    texts = ["1", "0.000001", "12.5", "1000000", "007.10", "3.000000", "0.1", "99.999999"]
    (piece,), _ = pieces_of([Spend(CAMPAIGN, text) for text in texts])
    (again,), _ = pieces_of([Spend(CAMPAIGN, None, None, parse_amount(text)) for text in texts])
    assert piece.args() == again.args()


def test_a_packed_call_of_another_day_or_with_an_event_twice_is_counted_by_the_script_s_own_words(
    plant: Plant, client: BudgetClient
) -> None:
    plant.brand()
    batch = [Spend(CAMPAIGN, None, f"win-{i}", 5) for i in range(PACKED_FROM)]
    with mock.patch.object(batches, "today", return_value="1"):
        assert {a.outcome for a in client.record_spends(batch)} == {"recorded"}
    twice = [Spend(CAMPAIGN, None, f"two-{i // 2}", 5) for i in range(PACKED_FROM)]
    assert [a.outcome for a in client.try_spends(twice)] == ["accepted", "duplicate"] * (PACKED_FROM // 2)
    days = {
        value.split(b",")[2] for key in keys_of_brand(BRAND).events for value in plant.plain.hvals(key) if value != b"1"
    }
    assert days == {str(plant.live.now_ms() // 86_400_000).encode()}
    assert [spend.event_id for entry in plant.entries() for spend in entry.spends()] == [
        *(f"win-{i}" for i in range(PACKED_FROM)), *(f"two-{i}" for i in range(PACKED_FROM // 2)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        "a name too few", "a name too many", "an empty name", "nothing to remember of one", "something to remember of no one",
        "no names", "something beside them", "a brace", "a newline",
    ],
)  # fmt: skip
def test_names_of_events_that_are_none_are_refused_and_nothing_is_written(plant: Plant, wrong: str) -> None:
    plant.brand()
    (piece,), _ = pieces_of([Spend(CAMPAIGN, None, f"win-{i}", 5) for i in range(PACKED_FROM)])
    sums, log, day, names, kept = piece.args()
    assert isinstance(names, str)
    assert isinstance(kept, str)
    args: tuple[str | bytes, ...] = {
        "a name too few": (sums, log, day, names.rpartition(",")[0], kept),
        "a name too many": (sums, log, day, f"{names},{BRAND}:win", kept),
        "an empty name": (sums, log, day, names.replace(",", ",,", 1).rpartition(",")[0], kept),
        "nothing to remember of one": (sums, log, day, names, kept.rpartition(";")[0]),
        "something to remember of no one": (sums, log, day, names, f"{kept};{CAMPAIGN},5,1"),
        "no names": (sums, log, day),
        "something beside them": (sums, log, day, names, kept, "more"),
        "a brace": (sums, log, day, names.replace("win-0", "win-0{"), kept),
        "a newline": (sums, log, day, names.replace("win-0", "win-0\n"), kept),
    }[wrong]
    piece.args = lambda: args
    assert plant.live.call_all([piece.call(script("record_spends"), "bad")]) == [[b"invalid", 0, b"events"]]
    assert (plant.spent(), plant.entries()[1:]) == (0, [])


def test_of_every_character_the_scripts_let_in_an_event_s_name_those_that_an_id_may_have_and_no_other(
    plant: Plant,
) -> None:
    plant.brand()
    for character in map(chr, range(1, 128)):
        (piece,), _ = pieces_of([Spend(CAMPAIGN, None, f"win-{ord(character)}-{i}", 5) for i in range(PACKED_FROM)])
        sums, log, day, names, kept = piece.args()
        first, _, others = str(names).partition(",")
        args = (sums, log, day, f"{first}{character},{others}", kept)
        piece.args = lambda args=args: args  # type: ignore[misc]
        told = plant.live.call_all([piece.call(script("record_spends"), f"call-{ord(character)}")])[0][0]
        assert (told == b"ok") == (re.fullmatch(TEXT_ID, character, re.ASCII) is not None), repr(character)


def test_events_of_a_packed_call_that_were_seen_before_are_counted_once_and_told_apart(
    plant: Plant, client: BudgetClient
) -> None:
    plant.brand()
    batch = [Spend(CAMPAIGN, None, f"win-{i}", 5) for i in range(PACKED_FROM)]
    assert {a.outcome for a in client.try_spends(batch)} == {"accepted"}
    assert {a.outcome for a in client.try_spends(batch)} == {"duplicate"}
    mixed = [*(spend._replace(amount_micros=6) for spend in batch[:2]), *batch[2:], Spend(CAMPAIGN, None, "new", 7)]
    assert [a.outcome for a in client.record_spends(mixed)] == [
        *["conflict"] * 2, *["duplicate"] * (PACKED_FROM - 2), "recorded",
    ]  # fmt: skip
    assert client.record_spend(CAMPAIGN, event_id="win-3", amount_micros=5).outcome == "duplicate"
    assert client.record_spend(CAMPAIGN, event_id="new", amount_micros=7).outcome == "duplicate"
    assert plant.spent() == 5 * PACKED_FROM + 7


def test_a_hold_that_ends_is_swept_by_a_packed_call_of_which_some_was_seen_before(
    plant: Plant, client: BudgetClient, clock: None
) -> None:
    now = plant.live.now_ms()
    plant.at(now)
    plant.brand(daily="0.0001")
    batch = [Spend(CAMPAIGN, None, f"win-{i}", 5) for i in range(PACKED_FROM)]
    client.try_spends(batch)
    held = client.reserve(CAMPAIGN, amount_micros=60, ttl=5)
    again = [*batch, Spend(CAMPAIGN, None, "new", 20)]
    assert client.try_spends(again)[-1].outcome == "refused"
    plant.at(now + 5000)
    assert [a.outcome for a in client.try_spends(again)] == [*["duplicate"] * PACKED_FROM, "accepted"]
    assert client.release(held.hold_id).outcome == "expired"
    assert plant.spent() == 60


def by_hand(plant: Plant, campaigns: list[int], sums: str, log: bytes) -> Any:
    """What a call of records is answered whose KEYS and sums a client of ours would not write so."""
    (piece,), _ = pieces_of([Spend(campaign, None, None, 5) for campaign in campaigns for _ in range(PACKED_FROM)])
    piece.campaigns, piece.args = campaigns, lambda: (sums, log)
    (answer,) = plant.live.call_all([piece.call(script("record_spends"), "by-hand")])
    return answer


def test_a_campaign_that_stands_twice_in_a_packed_call_is_refused_and_not_counted_once(plant: Plant) -> None:
    plant.brand()
    log = struct.pack("<BB2s2I", 1, 4, bytes((0, 1)), 5, 7)
    answer = by_hand(plant, [CAMPAIGN, CAMPAIGN], f"{CAMPAIGN},5,1;{CAMPAIGN},7,1;", log)
    assert answer == [b"invalid", 1, b"spends"]
    assert (plant.spent(), plant.entries()[1:]) == (0, [])


@pytest.mark.parametrize(("keys", "sums"), [("ab", "ab"), ("ba", "ab"), ("ba", "ba"), ("ab", "ba")])
def test_a_packed_call_counts_the_same_in_whatever_order_its_campaigns_stand(
    plant: Plant, keys: str, sums: str
) -> None:
    plant.brand()
    ids, micros = {"a": CAMPAIGN, "b": CAMPAIGN + 1}, {"a": 5, "b": 7}
    plant.campaign(ids["b"])
    log = struct.pack("<BB2s2I", 1, 4, bytes((0, 1)), *(micros[name] for name in sums))
    answer = by_hand(
        plant, [ids[name] for name in keys], "".join(f"{ids[name]},{micros[name]},1;" for name in sums), log
    )
    assert answer[:3] == [b"ok", b"k*2", f"{BRAND}:12:12::".encode()]
    counters = [plant.plain.hgetall(keys_of_brand(BRAND).campaign(campaign)) for campaign in ids.values()]
    assert [{v for k, v in c.items() if k.startswith(b"d:")} for c in counters] == [{b"5"}, {b"7"}]


@pytest.mark.parametrize("why", ["on hold", "paused", "archived"])
def test_a_packed_batch_of_questions_is_refused_whole_where_none_of_it_may_be_spent(
    plant: Plant, client: BudgetClient, why: str
) -> None:
    room = 8 * PACKED_FROM
    plant.brand(daily=format_micros(room))
    batch = [Spend(CAMPAIGN, None, None, 5)] * PACKED_FROM
    cause = {"on hold": "daily_budget", "paused": "manual", "archived": "archived"}[why]
    if why == "paused":
        plant.campaign(CAMPAIGN, enabled=False, version=2)
    elif why == "archived":
        assert plant.live.publish(plant.instance, BrandPlan(BRAND, 2, 10**9, None, True, False), [])
    else:
        assert client.reserve(CAMPAIGN, format_micros(room - 4), 60).outcome == "accepted"
    assert {(a.outcome, a.reasons) for a in client.try_spends(batch)} == {("refused", (cause,))}
    assert plant.spent() == 0


def test_a_packed_log_of_another_length_than_its_sums_say_is_refused(plant: Plant) -> None:
    plant.brand()
    log = struct.pack("<BB2s2I", 1, 4, bytes((0, 0)), 5, 7)
    assert by_hand(plant, [CAMPAIGN], f"{CAMPAIGN},12,3;", log) == [b"invalid", 0, b"log"]
    assert (plant.spent(), plant.entries()[1:]) == (0, [])


def test_a_packed_batch_on_a_used_up_budget_counts_facts_and_refuses_questions(
    plant: Plant, client: BudgetClient
) -> None:
    plant.brand(daily="0.000010")
    batch = [Spend(CAMPAIGN, None, None, 5)] * PACKED_FROM
    assert {a.reasons for a in client.record_spends(batch)} == {("daily_budget",)}
    assert {(a.outcome, a.reasons) for a in client.record_spends(batch)} == {("recorded", ("daily_budget",))}
    assert {(a.outcome, a.reasons) for a in client.try_spends(batch)} == {("refused", ("daily_budget",))}
    assert plant.spent() == 2 * 5 * PACKED_FROM


def test_a_budget_that_a_packed_batch_uses_up_is_told(plant: Plant, client: BudgetClient) -> None:
    plant.brand(daily=format_micros(5 * PACKED_FROM))
    batch = [Spend(CAMPAIGN, None, None, 5)] * PACKED_FROM
    assert {(a.outcome, a.reasons) for a in client.try_spends(batch)} == {("accepted", ("daily_budget",))}
    (entry,) = plant.entries()[1:]
    assert [(c.cause, c.direction) for c in entry.changes] == [("daily_budget", "exhausted")]


def test_a_packed_call_that_comes_again_is_answered_as_before_and_counted_once(
    plant: Plant, client: BudgetClient
) -> None:
    plant.brand()
    batch = [Spend(CAMPAIGN, None, None, 5)] * PACKED_FROM
    first, again = (client.record_spends(batch, request_id="again") for _ in range(2))
    assert [a.outcome for a in again] == [a.outcome for a in first] == ["recorded"] * PACKED_FROM
    assert plant.spent() == 5 * PACKED_FROM
