"""Fault 8, the Python side: what is not money, not an id or not a window is refused in one line, with the field, before anything is sent."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.ids import check_text_id
from engine.domain.money import MAX_AMOUNT_MICROS, from_cpm, parse_amount, parse_budget
from engine.domain.schedule import Schedule
from engine.errors import InvalidAmount, InvalidBudget, InvalidId, InvalidInput, InvalidSchedule

BAD_AMOUNTS = [
    "nan", "inf", "-inf", "Infinity", "1e3", "1E3", "0x10", "-1", "-0", "0", "0.000000", "+5", " 1", "1 ", "1\n", "\t1",
    "1_000", "1,000", "1,5", "١٢", "１２", "²", "1.2.3", "1.", ".5", ".", "", "none", "1.0000001", "10000000",
    "1000000.000001", "12345678901234567", "9" * 5000, "1\x00", "$5", "5 EUR", "0b1", "1/2", "--1", "True",
]  # fmt: skip


def told_in_one_line(refused: InvalidInput) -> None:
    assert str(refused).isprintable()
    assert len(str(refused)) < 300


def names_a_field(refused: InvalidInput, prefix: str) -> None:
    assert (refused.field or "").startswith(prefix)


@pytest.mark.parametrize("text", BAD_AMOUNTS, ids=range(len(BAD_AMOUNTS)))
def test_text_that_is_not_the_amount_of_a_spend_is_refused(text: str) -> None:
    with pytest.raises(InvalidAmount) as refused:
        parse_amount(text)
    assert refused.value.field == "amount"
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 250


@pytest.mark.parametrize("text", [t for t in BAD_AMOUNTS if t not in ("", "none", "0", "0.000000")], ids=ascii)
def test_text_that_is_not_a_budget_is_refused(text: str) -> None:
    if text in ("10000000", "1000000.000001"):
        assert parse_budget(text) == int(Decimal(text) * 10**6), "too much for one spend, fine for a budget"
        return
    with pytest.raises(InvalidBudget) as refused:
        parse_budget(text, "monthly_budget")
    assert refused.value.field == "monthly_budget"
    assert str(refused.value).isprintable()


@given(st.text(max_size=30))
def test_any_text_is_an_exact_amount_or_a_refusal(text: str) -> None:
    try:
        micros = parse_amount(text)
    except InvalidAmount as refused:
        told_in_one_line(refused)
    else:
        assert 0 < micros <= MAX_AMOUNT_MICROS
        assert Decimal(text) * 10**6 == micros
        assert text.isascii()
        assert set(text) <= set("0123456789.")


@given(st.decimals())
def test_any_decimal_is_an_exact_amount_or_a_refusal(value: Decimal) -> None:
    try:
        micros = parse_amount(value)
    except InvalidAmount as refused:
        told_in_one_line(refused)
    else:
        assert value * 10**6 == micros


@given(st.text(max_size=70))
def test_any_text_is_an_id_as_it_stands_or_a_refusal(text: str) -> None:
    try:
        assert check_text_id(text, "event_id") == text
    except InvalidId as refused:
        told_in_one_line(refused)
    else:
        assert 1 <= len(text) <= 64
        assert text.isascii()
        assert text.isprintable()
        assert not set(text) & set(" {},;\"'\\")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["mon", "09:00"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["days", "start_time", "end_time", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_a_schedule_that_compiles_or_a_refusal_that_names_a_field(value: object) -> None:
    try:
        Schedule.parse(value).compiled  # noqa: B018  # compiling is the test
    except InvalidSchedule as refused:
        told_in_one_line(refused)
        names_a_field(refused, "schedule")


@given(st.text(max_size=40))
def test_any_text_is_a_schedule_or_a_refusal(text: str) -> None:
    try:
        Schedule.parse(text)
    except InvalidSchedule as refused:
        told_in_one_line(refused)


@pytest.mark.parametrize("text", ["nan", "1e3", "-1", "+5", " 1", "0", "9" * 16, "x"])
def test_a_cpm_that_is_no_price_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        from_cpm(text)
    assert refused.value.field == "cpm"
