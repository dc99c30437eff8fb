"""A batch becomes the same calls, byte for byte, and is refused with the same error, with the compiled steps and without."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.client import batches
from engine.client.batches import pieces_of, pieces_of_columns
from engine.client.columns import checked_columns
from engine.client.spends import Spend
from engine.live.packed import NAMED, VERSION, pack, pack_in_python, read_sums, unpack
from engine.live.scripts import RECORD, TRY
from engine.speedups import speedups
from tests.speedups.compiled import EXAMPLES, compiled, new_spend
from tests.speedups.odd import BRAND, CAMPAIGNS, MICROS, NUMBERS, ODD, Meddler

PLAIN = new_spend()
AT = datetime(2026, 11, 28, 9, tzinfo=UTC)
USUAL = st.one_of(
    st.tuples(CAMPAIGNS, st.none(), st.none(), MICROS),
    st.tuples(CAMPAIGNS, st.none(), st.sampled_from(("e-1", "e-2", "e-3")), MICROS),
    st.tuples(CAMPAIGNS, st.sampled_from(("0.5", "1.25", "7"))),
    st.tuples(st.integers(BRAND + 1, BRAND + 200_000), st.none(), st.none(), MICROS),
    st.tuples(CAMPAIGNS, st.none(), st.none(), MICROS, st.just(AT)),
)
ROWS = st.one_of(
    st.lists(st.tuples(CAMPAIGNS, st.none(), st.none(), MICROS), min_size=1, max_size=40),
    st.lists(st.tuples(CAMPAIGNS, st.none(), st.uuids().map(str), MICROS), min_size=1, max_size=40),
    st.lists(st.one_of(USUAL, USUAL, USUAL, USUAL, st.lists(ODD, min_size=1, max_size=5).map(tuple)), max_size=40),
)


class Lies(list[Any]):
    """A list that gives another length than it has."""

    def __len__(self) -> int:
        return super().__len__() + 3


def no_list(rows: list[Any]) -> Iterator[Any]:
    yield from rows


AS_GIVEN: tuple[Callable[[list[Any]], Any], ...] = (
    list,
    tuple,
    Lies,
    no_list,
    iter,
    lambda rows: dict.fromkeys(range(len(rows)), rows),
)


@pytest.fixture(scope="module")
def quick() -> Any:
    made = new_spend()
    compiled().quicken(made)
    return made


def outcome(make: Callable[[], Any]) -> Any:
    """The pieces of a batch with their arguments, or the error."""
    try:
        made = make()
        pieces = made[0] if isinstance(made, tuple) else made
        return [(p.shard, p.chunk, list(p.places), list(p.campaign_ids), list(p.campaigns), p.args()) for p in pieces]
    except Exception as error:
        return type(error), str(error), getattr(error, "field", None)


def both(make: Callable[[], Any], plain: Callable[[], Any]) -> tuple[Any, Any]:
    """What comes of a batch with the compiled steps, and of the other without."""
    with mock.patch.object(batches, "today", return_value="20785"):
        with mock.patch.object(speedups, "pack", compiled().pack):
            fast = outcome(make)
        with mock.patch.object(speedups, "pack", None):
            return fast, outcome(plain)


@settings(max_examples=EXAMPLES, deadline=None)
@given(rows=ROWS, verb=st.sampled_from((RECORD, TRY)), given_as=st.sampled_from(AS_GIVEN))
def test_a_batch_becomes_the_same_calls_or_the_same_error(
    quick: Any, rows: list[Any], verb: str, given_as: Any
) -> None:
    fast, plain = both(
        lambda: pieces_of(given_as([quick(*row) for row in rows]), verb),
        lambda: pieces_of(given_as([PLAIN(*row) for row in rows]), verb),
    )
    assert fast == plain


@settings(max_examples=EXAMPLES // 3, deadline=None)
@given(rows=ROWS, place=st.integers(0, 39), field=st.integers(0, 4))
def test_a_batch_that_changes_while_it_is_read_becomes_the_same(
    quick: Any, rows: list[Any], place: int, field: int
) -> None:
    def meddled(kind: Any) -> Callable[[], Any]:
        batch: list[Any] = [kind(*row) for row in rows]
        if place < len(batch):
            batch[place] = kind._make(Meddler(batch) if i == field else value for i, value in enumerate(batch[place]))
        return lambda: pieces_of(batch)

    fast, plain = both(meddled(quick), meddled(PLAIN))
    assert fast == plain


@settings(max_examples=EXAMPLES // 2, deadline=None)
@given(
    ids=st.one_of(st.lists(CAMPAIGNS, max_size=30), st.lists(st.one_of(CAMPAIGNS, ODD), max_size=12)),
    micros=st.one_of(st.lists(MICROS, max_size=30), st.lists(st.one_of(MICROS, ODD), max_size=12)),
    events=st.one_of(st.none(), st.lists(st.one_of(st.none(), st.just("e-1"), ODD), max_size=12)),
    kind=st.sampled_from(
        (list, tuple, Lies, lambda values: array("q", values), lambda values: memoryview(array("Q", values)))
    ),
)
def test_columns_become_the_same_calls_or_the_same_error(
    ids: list[Any], micros: list[Any], events: Any, kind: Any
) -> None:
    def made() -> Any:
        return pieces_of_columns(checked_columns(kind(ids), kind(micros), events, None), RECORD)

    fast, plain = both(made, made)
    assert fast == plain


COLUMN = st.one_of(st.lists(CAMPAIGNS, max_size=20), st.lists(st.one_of(CAMPAIGNS, MICROS, NUMBERS, ODD), max_size=20))
KINDS = st.sampled_from((list, list, list, tuple, tuple, Lies, iter, lambda values: dict(enumerate(values))))


@settings(max_examples=EXAMPLES * 2, deadline=None)
@given(
    ids=COLUMN,
    campaigns=st.one_of(st.just(None), st.just(None), st.just(None), COLUMN),
    micros=st.one_of(st.just(None), st.just(None), COLUMN),
    version=st.one_of(st.sampled_from((VERSION, NAMED)), NUMBERS, ODD),
    kinds=st.tuples(KINDS, KINDS, KINDS),
)
def test_what_the_compiled_step_packs_is_what_python_packs_and_it_leaves_the_rest_to_python(
    ids: list[Any], campaigns: Any, micros: Any, version: Any, kinds: Any
) -> None:
    if campaigns is None:
        campaigns = sorted({value for value in ids if type(value) is int})
    if micros is None:
        micros = [abs(value) + 1 if type(value) is int else value for value in reversed(ids)]

    def columns() -> list[Any]:
        return [kind(column) for kind, column in zip(kinds, (ids, campaigns, micros), strict=True)]

    fast = compiled().pack(*columns(), version)
    if fast is not None:
        assert fast == pack_in_python(*columns(), version)
        assert tuple(map(type, fast)) == (str, bytes)


@pytest.mark.parametrize("size", [0, 1, 2, 7, 1000, 70_000])
@pytest.mark.parametrize("campaigns", [1, 2, 100, 255, 256])
def test_every_size_is_packed_alike_and_the_usual_one_by_the_compiled_step(size: int, campaigns: int) -> None:
    known = [BRAND + 1 + 65_537 * i for i in range(campaigns)]
    ids = [known[i % campaigns] for i in range(size)]
    for largest in (2**32 - 1, 2**32, 10**12):
        micros = [largest - i % 9 for i in range(size)]
        fast = compiled().pack(ids, known, micros, VERSION)
        assert (fast is None) == (campaigns > 255)
        if fast is not None:
            assert fast == pack_in_python(ids, known, micros, VERSION)


def test_what_is_no_plain_column_of_known_campaigns_is_left_to_python() -> None:
    ids, micros = [BRAND + 1, BRAND + 2], [5, 6]
    usual = (ids, sorted(ids), micros, VERSION)
    assert compiled().pack(*usual) == pack_in_python(*usual)
    left = [
        (ids, [BRAND + 1], micros, VERSION),
        (ids, [BRAND + 1, BRAND + 1, BRAND + 2], micros, VERSION),
        (ids, [], micros, VERSION),
        (ids, sorted(ids), [5], VERSION),
        (ids, sorted(ids), [5, -6], VERSION),
        (ids, sorted(ids), [5, True], VERSION),
        (ids, sorted(ids), [5, 6.0], VERSION),
        (ids, sorted(ids), [2**63, 1], VERSION),
        ([BRAND + 1] * 2, [BRAND + 1], [2**63 - 1, 1], VERSION),
        (array("q", ids), sorted(ids), micros, VERSION),
        (ids, set(ids), micros, VERSION),
        (*usual[:3], 256),
        (*usual[:3], -1),
        usual[:3],
        (),
        (*usual, None),
    ]
    for given_so in left:
        assert compiled().pack(*given_so) is None, given_so


def test_the_client_packs_by_the_compiled_step_where_it_is_in_use() -> None:
    columns: tuple[Sequence[int], ...] = ([BRAND + 1] * 9, [BRAND + 1], [7] * 9)
    with mock.patch.object(speedups, "pack", mock.Mock(return_value=("sums", b"log"))) as step:
        assert pack(*columns) == ("sums", b"log")
        (piece,), _ = pieces_of([Spend(BRAND + 1, None, None, 7)] * 9)
        assert piece.args() == ("sums", b"log")
        step.return_value = None
        assert pack(*columns) == pack_in_python(*columns, VERSION)


def test_every_packed_call_of_the_golden_vectors_is_packed_to_the_same_bytes() -> None:
    golden = json.loads((Path(__file__).resolve().parents[2] / "lua" / "golden.json").read_text(encoding="utf-8"))
    seen = 0
    for step in (step for case in golden["cases"] for step in case["steps"] if step["reply"][0] == "ok"):
        for sums, log in zip(step["argv"], step["argv"][1:], strict=False):
            raw = bytes.fromhex(log["hex"]) if isinstance(log, dict) else b""
            if raw[:1] not in (b"\x01", b"\x02"):
                continue
            lines = read_sums(sums)
            places, micros = unpack(lines, raw, raw[0])
            columns = (
                [lines[place].campaign_id for place in places],
                [line.campaign_id for line in lines],
                micros,
                raw[0],
            )
            assert compiled().pack(*columns) == pack_in_python(*columns) == (sums, raw)
            seen += 1
    assert seen >= 3
