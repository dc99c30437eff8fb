"""A batch of columns is checked, cut, counted, answered and remembered as the same batch of Spends."""

from __future__ import annotations

import asyncio
import ctypes
import re
from array import array
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import AsyncBudgetClient, BudgetClient, InvalidAmount, InvalidId, InvalidInput, Outcomes, Spend, Unavailable
from engine.client.batches import PACKED_FROM, Piece, pieces_of, pieces_of_columns
from engine.client.columns import checked_columns
from engine.domain.ids import ORDINALS, SHARDS
from engine.domain.money import MAX_AMOUNT_MICROS
from engine.live.keys import keys_of_brand
from engine.live.scripts import RECORD, TRY
from tests.live.plant import BRAND, CAMPAIGN, Plant

OTHER = (BRAND + 1) * ORDINALS + 1
AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
SERIAL = count(1)
"""Two pairs of brands an example, of the same shards and with the same plan: one is given Spends, the other columns."""

AMOUNTS = st.one_of(st.integers(1, 9), st.integers(2**32 - 2, 2**32 + 2), st.just(MAX_AMOUNT_MICROS))
FACTS = st.tuples(st.integers(0, 1), st.sampled_from((1, 1, 2, 9)), AMOUNTS)
EVENTS = st.one_of(st.none(), st.sampled_from("uvwxyz"))
INSTANTS = st.one_of(st.none(), st.sampled_from([AT + timedelta(seconds=s) for s in range(3)]))
CALLS = st.lists(
    st.tuples(
        st.sampled_from(("record", "try")),
        st.sampled_from("abc"),
        st.lists(FACTS, max_size=14),
        st.one_of(st.none(), st.lists(EVENTS, min_size=14, max_size=14), st.permutations("abcdefghijklmn")),
        st.one_of(st.none(), st.none(), st.lists(INSTANTS, min_size=14, max_size=14)),
    ),
    min_size=1,
    max_size=4,
)
FORMS: dict[str, Callable[[Sequence[int]], Any]] = {
    "list": list,
    "tuple": tuple,
    "array": lambda values: array("q", values),
    "unsigned array": lambda values: array("Q", values),
    "buffer": lambda values: memoryview(array("q", values)),
    "every second": lambda values: memoryview(array("q", [number for v in values for number in (v, 0)]))[::2],
    "of C": lambda values: (ctypes.c_int64 * len(values))(*values),
}


def told(answers: Sequence[Any]) -> list[Any]:
    """Answers without the ids that tell two brands apart."""
    return [(a.outcome, a.reasons, a.daily_spend, a.daily_remaining, a.monthly_spend, a.detail) for a in answers]


def journal(plant: Plant, brands: Sequence[int]) -> list[Any]:
    """The rows of brands, each brand by its place."""
    return [
        [
            (entry.verb, entry.packed is None, s.position, s.campaign_id % ORDINALS, s.amount_micros, s.event_id, s.occurred_ms)
            for entry in plant.entries(brand)
            for s in entry.spends()
            if s.campaign_id // ORDINALS == brand
        ]
        for brand in brands
    ]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=CALLS)
def test_columns_are_answered_and_logged_as_the_same_spends_in_a_batch(
    plant: Plant, client: BudgetClient, calls: list[Any], form: str
) -> None:
    pairs = [[BRAND + SHARDS * next(SERIAL), BRAND + 1 + SHARDS * next(SERIAL)] for _ in range(2)]
    for brand in (*pairs[0], *pairs[1]):
        plant.brand(brand_id=brand, daily="0.000030")
        plant.campaign(brand * ORDINALS + 2)
    for verb, request, facts, ids, instants in calls:
        size = len(facts)
        of_each = [[pair[which] * ORDINALS + ordinal for which, ordinal, _ in facts] for pair in pairs]
        micros = [amount for _, _, amount in facts]
        events = None if ids is None else list(ids[:size])
        occurred = None if instants is None else instants[:size]
        batch = [
            Spend(campaign, None, event, amount, at)
            for campaign, event, amount, at in zip(of_each[0], events or [None] * size, micros, occurred or [None] * size, strict=True)
        ]  # fmt: skip
        by_spend = client.record_spends if verb == "record" else client.try_spends
        by_column = client.record_spend_columns if verb == "record" else client.try_spend_columns
        first = by_spend(batch, request_id=f"{pairs[0][0]}.{request}")
        second = by_column(
            FORMS[form](of_each[1]), FORMS[form](micros),
            event_ids=events, occurred_at=occurred, request_id=f"{pairs[1][0]}.{request}",
        )  # fmt: skip
        assert told(second) == told(first)
        assert [a.campaign_id for a in second] == of_each[1]
        words = [a.outcome for a in first]
        assert second.counts == {word: words.count(word) for word in set(words)}
        assert second.refused == [i for i, word in enumerate(words) if word == "refused"]
        assert bool(second) == all(first)
    assert journal(plant, pairs[0]) == journal(plant, pairs[1])
    counters = [
        [plant.plain.hgetall(keys_of_brand(brand).campaign(brand * ORDINALS + o)) for brand in pair for o in (1, 2)]
        for pair in pairs
    ]
    assert counters[0] == counters[1]


def as_sent(pieces: Sequence[Piece]) -> list[Any]:
    return [(p.shard, p.chunk, list(p.places), list(p.campaign_ids), list(p.campaigns), p.args()) for p in pieces]


@settings(max_examples=60, deadline=None)
@given(
    size=st.sampled_from((1, PACKED_FROM - 1, PACKED_FROM, 200, 201, 500, 501, 999, 1000, 1001, 2500)),
    brands=st.sampled_from((1, 2, 60)),
    campaigns=st.sampled_from((1, 3, 20, 120)),
    ids=st.sampled_from(("none", "all", "twice", "some")),
    verb=st.sampled_from((RECORD, TRY)),
    most=st.sampled_from((9, 2**33)),
)
def test_columns_become_the_very_calls_that_the_same_spends_become(
    size: int, brands: int, campaigns: int, ids: str, verb: str, most: int
) -> None:
    of = [(BRAND + i % brands) * ORDINALS + 1 + i * 7 % campaigns for i in range(size)]
    micros = [1 + i * 7919 % most for i in range(size)]
    names = {"none": None, "all": "e{}", "twice": "e{}", "some": "e{}"}[ids]
    events: list[str | None] = [names and names.format(i // 2 if ids == "twice" else i) for i in range(size)]
    if ids == "some":
        events[::3] = [None] * len(events[::3])
    batch = [Spend(c, None, e, m) for c, e, m in zip(of, events, micros, strict=True)]
    columns = checked_columns(array("q", of), array("q", micros), None if ids == "none" else events, None)
    assert as_sent(pieces_of_columns(columns, verb)) == as_sent(pieces_of(batch, verb)[0])


BAD_VALUES: dict[str, tuple[int, dict[str, Any], type[InvalidInput]]] = {
    "a campaign that is none": (0, {"campaign_ids": 7}, InvalidId),
    "a campaign that is text": (3, {"campaign_ids": str(CAMPAIGN)}, InvalidId),
    "a campaign that is a float": (3, {"campaign_ids": float(CAMPAIGN)}, InvalidId),
    "a campaign that is negative": (3, {"campaign_ids": -CAMPAIGN}, InvalidId),
    "nothing": (9, {"amounts_micros": 0}, InvalidAmount),
    "an amount that is negative": (9, {"amounts_micros": -5}, InvalidAmount),
    "an amount that is too large": (5, {"amounts_micros": MAX_AMOUNT_MICROS + 1}, InvalidAmount),
    "an amount beyond 64 bits": (5, {"amounts_micros": 2**64}, InvalidAmount),
    "an amount that is a float": (5, {"amounts_micros": 2.0}, InvalidAmount),
    "an amount that is true": (5, {"amounts_micros": True}, InvalidAmount),
    "an amount that is missing": (5, {"amounts_micros": None}, InvalidAmount),
    "an amount that is text": (5, {"amounts_micros": "5"}, InvalidAmount),
    "an event that is empty": (2, {"event_ids": ""}, InvalidId),
    "an event with a blank": (2, {"event_ids": "a b"}, InvalidId),
    "an event that is a number": (2, {"event_ids": 7}, InvalidId),
    "an event that is bytes": (2, {"event_ids": b"win"}, InvalidId),
    "an event of 65 signs": (11, {"event_ids": "e" * 65}, InvalidId),
    "an instant without a zone": (4, {"occurred_at": datetime(2026, 11, 1)}, InvalidInput),  # noqa: DTZ001  # that is what is wrong
    "an instant that is text": (4, {"occurred_at": "2026-11-01"}, InvalidInput),
}


@pytest.mark.parametrize("wrong", BAD_VALUES)
@pytest.mark.parametrize("size", [12, 1200])
def test_a_bad_value_in_a_column_is_refused_by_its_index_and_nothing_is_counted(
    plant: Plant, client: BudgetClient, wrong: str, size: int
) -> None:
    plant.brand()
    index, value, kind = BAD_VALUES[wrong]
    given_columns: dict[str, Any] = {
        "campaign_ids": [CAMPAIGN] * size, "amounts_micros": [5] * size,
        "event_ids": [f"e{i}" for i in range(size)], "occurred_at": [None] * size,
    }  # fmt: skip
    ((name, bad),) = value.items()
    given_columns[name][index] = bad
    for call in (client.record_spend_columns, client.try_spend_columns):
        with pytest.raises(kind) as refused:
            call(**given_columns)
        assert str(refused.value).startswith(f"{name}[{index}]: ")
        assert refused.value.field == f"{name}[{index}]"
    assert plant.spent() == 0


def test_of_several_bad_values_the_first_spend_is_named_as_in_a_batch_of_spends(
    plant: Plant, client: BudgetClient
) -> None:
    micros = [5, 5, 5, -1, 5, 5, 5, 5, 5, 0]
    with pytest.raises(InvalidAmount, match=r"^amounts_micros\[3\]"):
        client.record_spend_columns([CAMPAIGN] * 7 + [1, CAMPAIGN, CAMPAIGN], micros)
    with pytest.raises(InvalidAmount, match=r"^spends\[3\]"):
        client.record_spends([Spend(CAMPAIGN, amount_micros=amount) for amount in micros])


@pytest.mark.parametrize(
    ("code", "values", "said"),
    [
        ("d", [5.0] * 10, r"^amounts_micros is a buffer .* format 'd'"),
        ("f", [5.0] * 10, r"^amounts_micros is a buffer .* format 'f'"),
        ("B", [5] * 10, r"^amounts_micros is a buffer .* format 'B'"),
        ("h", [5] * 10, r"^amounts_micros is a buffer .* format 'h'"),
        ("Q", [5] * 9 + [2**64 - 1], r"^amounts_micros\[9\]: .* above the limit"),
        ("q", [5] * 9 + [-5], r"^amounts_micros\[9\]: .* not above zero"),
    ],
)
def test_a_buffer_of_another_kind_or_with_a_bad_value_is_refused(
    client: BudgetClient, code: str, values: list[Any], said: str
) -> None:
    with pytest.raises(InvalidInput, match=said):
        client.record_spend_columns(array("q", [CAMPAIGN] * 10), array(code, values))


def test_a_negative_amount_of_four_bytes_is_not_read_as_a_large_one(client: BudgetClient) -> None:
    micros = (ctypes.c_int32 * 10)(*[5] * 9, -5)
    with pytest.raises(InvalidAmount, match=r"^amounts_micros\[9\]: .* -5 is not above zero"):
        client.record_spend_columns([CAMPAIGN] * 10, micros)


@pytest.mark.parametrize(
    "strange",
    [None, 5, "12345678", b"12345678" * 10, bytearray(80), {CAMPAIGN: 5}, {5, 6}, iter([5] * 10), range(1, 11), object()],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_is_no_column_is_refused_by_its_name(client: BudgetClient, strange: Any) -> None:
    with pytest.raises(InvalidInput, match="^amounts_micros ") as refused:
        client.record_spend_columns([CAMPAIGN] * 10, strange)
    assert refused.value.field == "amounts_micros"
    no_ids: Any = strange or 5
    with pytest.raises(InvalidInput, match="^event_ids "):
        client.record_spend_columns([CAMPAIGN] * 10, [5] * 10, event_ids=no_ids)


def test_a_buffer_of_two_dimensions_or_of_truths_is_no_column(client: BudgetClient) -> None:
    square = memoryview(array("q", [5] * 16).tobytes()).cast("q", (4, 4))
    with pytest.raises(InvalidInput, match="^amounts_micros is a buffer of 2 dimensions"):
        client.record_spend_columns([CAMPAIGN] * 4, square)
    with pytest.raises(InvalidInput, match=r"^amounts_micros is a buffer .* format '\?'"):
        client.record_spend_columns([CAMPAIGN] * 4, memoryview(bytes([1] * 4)).cast("?"))


@pytest.mark.parametrize("name", ["amounts_micros", "event_ids", "occurred_at"])
@pytest.mark.parametrize("size", [0, 9, 11])
def test_columns_of_different_lengths_are_refused_and_nothing_is_counted(
    plant: Plant, client: BudgetClient, name: str, size: int
) -> None:
    plant.brand()
    given_columns: dict[str, Any] = {
        "amounts_micros": [5] * 10,
        name: ([5] if name == "amounts_micros" else [None]) * size,
    }
    with pytest.raises(InvalidInput, match=rf"^{name} has {size} values and campaign_ids 10") as refused:
        client.record_spend_columns([CAMPAIGN] * 10, **given_columns)
    assert refused.value.field == name
    assert plant.spent() == 0


@pytest.mark.parametrize("form", FORMS)
def test_empty_columns_send_nothing_and_are_answered_by_nothing(client: BudgetClient, form: str) -> None:
    answers = client.try_spend_columns(FORMS[form]([]), FORMS[form]([]), event_ids=[], occurred_at=())
    assert (list(answers), len(answers), answers.counts, answers.refused, bool(answers)) == ([], 0, {}, [], True)


def test_columns_repeated_by_their_request_id_are_counted_once_whatever_their_form(
    plant: Plant, client: BudgetClient
) -> None:
    plant.brand()
    plant.brand(brand_id=BRAND + 1)
    of = [CAMPAIGN, OTHER] * 1500
    first = client.record_spend_columns(of, [7] * 3000, request_id="once")
    again = client.record_spend_columns(array("q", of), array("I", [7] * 3000), request_id="once")
    spends = client.record_spends([Spend(c, amount_micros=7) for c in of], request_id="once")
    assert first.counts == again.counts == {"recorded": 3000}
    assert {a.outcome for a in spends} == {"recorded"}
    assert plant.spent() == plant.spent(BRAND + 1) == 7 * 1500
    other = client.record_spend_columns(of, [8] * 3000, request_id="once")
    assert (other.counts, bool(other)) == ({"conflict": 3000}, False)
    assert plant.spent() == 7 * 1500


def test_an_event_of_a_column_is_counted_once_and_told_apart(plant: Plant, client: BudgetClient) -> None:
    plant.brand()
    ids = [f"win-{i}" for i in range(1200)]
    assert client.record_spend_columns([CAMPAIGN] * 1200, [5] * 1200, event_ids=ids).counts == {"recorded": 1200}
    answers = client.record_spend_columns([CAMPAIGN] * 1200, [5] * 1199 + [6], event_ids=ids)
    assert answers.counts == {"duplicate": 1199, "conflict": 1}
    assert (answers.indices("conflict"), answers[1199].outcome, answers[-2].outcome) == (
        [1199],
        "conflict",
        "duplicate",
    )
    assert plant.spent() == 5 * 1200


def test_what_does_not_fit_is_refused_by_its_index_and_the_others_are_accepted(
    plant: Plant, client: BudgetClient
) -> None:
    plant.brand(daily="0.000100")
    answers = client.try_spend_columns([CAMPAIGN] * 10, [40, 40, 40, 10, 40, 10, 1, 1, 1, 1])
    assert answers.counts == {"accepted": 4, "refused": 6}
    assert answers.refused == [2, 4, 6, 7, 8, 9]
    assert not answers
    assert answers[2].reasons == ("daily_budget",)
    assert [a.outcome for a in answers[2:5]] == ["refused", "accepted", "refused"]


def test_of_two_shards_the_one_that_is_not_ready_is_told_by_its_indices(plant: Plant, client: BudgetClient) -> None:
    plant.brand()
    plant.brand(brand_id=BRAND + 1)
    plant.plain.delete(keys_of_brand(BRAND + 1).shard)
    answers = client.record_spend_columns([CAMPAIGN, OTHER] * 5, [5] * 10)
    assert answers.counts == {"recorded": 5, "not_ready": 5}
    assert answers.not_ready == [1, 3, 5, 7, 9]
    assert (bool(answers), answers[1].detail) == (False, "unmarked")


def test_no_answer_says_the_request_id_under_which_columns_can_be_repeated() -> None:
    with BudgetClient.from_url("redis://127.0.0.1:1/0", timeout_ms=50) as away, pytest.raises(Unavailable) as lost:
        away.record_spend_columns([CAMPAIGN] * 10, [5] * 10, request_id="mine")
    assert (lost.value.request_id, list(lost.value.answers)) == ("mine", [None] * 10)


def test_the_async_client_answers_columns_as_the_other_one(plant: Plant, client: BudgetClient, hot_url: str) -> None:
    plant.brand(daily="0.000100")
    plant.brand(brand_id=BRAND + 1)

    async def ask() -> tuple[Outcomes, Outcomes, Outcomes]:
        async with AsyncBudgetClient.from_url(hot_url, timeout_ms=20_000) as other:
            with pytest.raises(InvalidAmount, match=r"^amounts_micros\[1\]"):
                await other.record_spend_columns([CAMPAIGN] * 2, [5, 0])
            with pytest.raises(InvalidId, match="request_id"):
                await other.record_spend_columns([CAMPAIGN] * 2, [5, 5], request_id="two words")
            return await asyncio.gather(
                other.record_spend_columns(array("q", [OTHER] * 1500), array("q", [5] * 1500)),
                other.try_spend_columns([CAMPAIGN, OTHER] * 5, [30] * 10, request_id="asked"),
                other.record_spend_columns([], []),
            )

    recorded, asked, nothing = asyncio.run(ask())
    assert (recorded.counts, list(nothing)) == ({"recorded": 1500}, [])
    assert (asked.counts, asked.refused) == ({"accepted": 8, "refused": 2}, [6, 8])
    same = client.try_spend_columns([CAMPAIGN, OTHER] * 5, [30] * 10, request_id="asked")
    assert told(same) == told(asked)
    assert (plant.spent(), plant.spent(BRAND + 1)) == (90, 1500 * 5 + 150)


def test_the_async_client_says_which_answers_are_missing() -> None:
    async def ask() -> None:
        async with AsyncBudgetClient.from_url("redis://127.0.0.1:1/0", timeout_ms=50) as away:
            await away.try_spend_columns([CAMPAIGN] * 10, [5] * 10, request_id="mine")

    with pytest.raises(Unavailable) as lost:
        asyncio.run(ask())
    assert (lost.value.request_id, list(lost.value.answers)) == ("mine", [None] * 10)


@pytest.mark.parametrize("size", [1, PACKED_FROM, 1500])
def test_plain_tuples_are_taken_as_the_spends_that_they_say(plant: Plant, client: BudgetClient, size: int) -> None:
    plant.brand()
    forms: list[tuple[list[Any], list[Spend]]] = [
        ([(CAMPAIGN, "0.000005")] * size, [Spend(CAMPAIGN, "0.000005")] * size),
        ([(CAMPAIGN, "1", f"a{i}") for i in range(size)], [Spend(CAMPAIGN, "1", f"a{i}") for i in range(size)]),
        ([(CAMPAIGN, "1", f"b{i}", None) for i in range(size)], [Spend(CAMPAIGN, "1", f"b{i}") for i in range(size)]),
        ([(CAMPAIGN, "1", None, AT)] * size, [Spend(CAMPAIGN, "1", occurred_at=AT)] * size),
        ([(CAMPAIGN, None, None, 5, None)] * size, [Spend(CAMPAIGN, amount_micros=5)] * size),
    ]
    for tuples, spends in forms:
        assert as_sent(pieces_of(tuples)[0]) == as_sent(pieces_of(spends)[0])
    assert {a.outcome for a in client.record_spends(forms[0][0], request_id="t")} == {"recorded"}
    assert {a.outcome for a in client.record_spends(forms[0][1], request_id="t")} == {"recorded"}
    assert plant.spent() == 5 * size


def test_the_example_of_the_documents_is_what_it_says(
    plant: Plant, client: BudgetClient, capsys: pytest.CaptureFixture[str]
) -> None:
    plant.brand(daily="4")
    text = (Path(__file__).resolve().parents[2] / "docs" / "performance.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.S)
    exec(example, {"client": client, "campaign": CAMPAIGN})  # it is ours
    assert capsys.readouterr().out == "{'accepted': 2, 'refused': 1}\n750000 ('daily_budget',)\n"
