"""Money is integer micros: read from digits, never rounded, written back the same."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.money import (
    MAX_AMOUNT_MICROS,
    MAX_TOTAL_MICROS,
    check_amount_micros,
    check_budget_micros,
    format_micros,
    format_optional,
    from_cpm,
    parse_amount,
    parse_amounts,
    parse_budget,
    to_decimal,
)
from engine.errors import InvalidAmount, InvalidBudget, shown

AMOUNTS = st.integers(1, MAX_AMOUNT_MICROS)
TOTALS = st.integers(-MAX_TOTAL_MICROS, MAX_TOTAL_MICROS)


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("12.50", 12_500_000),
        ("0.000001", 1),
        ("1", 1_000_000),
        ("0007.5", 7_500_000),
        ("1000000", 10**12),
        ("1000000.000000", 10**12),
        ("0.1", 100_000),
    ],
)
def test_a_decimal_string_is_that_many_micros(text: str, micros: int) -> None:
    assert parse_amount(text) == micros
    assert parse_amount(Decimal(text)) == micros


def test_a_decimal_in_scientific_form_is_the_same_money() -> None:
    assert parse_amount(Decimal("1E+3")) == 1000 * 10**6
    assert parse_amount(Decimal("5E-6")) == 5


@given(AMOUNTS)
def test_an_amount_written_out_reads_back_to_the_micro(micros: int) -> None:
    assert parse_amount(format_micros(micros)) == micros
    assert parse_amount(to_decimal(micros)) == micros


@given(st.integers(0, MAX_TOTAL_MICROS))
def test_a_budget_written_out_reads_back_to_the_micro(micros: int) -> None:
    assert parse_budget(format_micros(micros)) == micros
    assert parse_budget(to_decimal(micros)) == micros


@given(TOTALS)
def test_written_money_always_has_six_places_and_one_sign(micros: int) -> None:
    text = format_micros(micros)
    assert len(text.rpartition(".")[2]) == 6
    assert Decimal(text) * 10**6 == micros
    assert str(to_decimal(micros)) == text


def test_remaining_money_below_zero_keeps_its_sign() -> None:
    assert format_micros(-3_200_000) == "-3.200000"
    assert format_micros(-1) == "-0.000001"
    assert format_micros(0) == "0.000000"


def test_no_limit_is_written_as_nothing() -> None:
    assert format_optional(None) is None
    assert format_optional(1) == "0.000001"


def test_a_spend_of_more_than_a_million_is_refused_by_name() -> None:
    with pytest.raises(InvalidAmount, match=r"1000000\.000001.*above the limit of 1000000") as refused:
        parse_amount("1000000.000001")
    assert refused.value.field == "amount"


def test_seven_decimals_are_refused_and_not_rounded() -> None:
    with pytest.raises(InvalidAmount, match="more than six decimals"):
        parse_amount("0.0000001")
    with pytest.raises(InvalidAmount, match="more than six decimals"):
        parse_amount(Decimal("1.0000001"))


@pytest.mark.parametrize(
    ("text", "micros"),
    [("2.7500000", 2_750_000), ("2.7500000000", 2_750_000), ("0.0000010", 1), ("1.0000000", 10**6), ("3." + "0" * 64, 3_000_000)],
)  # fmt: skip
def test_zeros_after_the_sixth_decimal_are_the_same_money(text: str, micros: int) -> None:
    assert parse_amount(text) == micros
    assert parse_amount(Decimal(text)) == micros
    assert parse_budget(text) == micros
    assert parse_budget(Decimal(text)) == micros
    assert parse_amounts([text, Decimal(text), "7", "12.5"]) == [micros, micros, 7_000_000, 12_500_000]


@pytest.mark.parametrize("text", ["2.7500001", "2.75000010", "0.0000001", "1.0000000001", "1." + "0" * 65 + "1"])
def test_a_digit_below_a_micro_is_refused_however_many_zeros_stand_around_it(text: str) -> None:
    for value in (text, Decimal(text)):
        with pytest.raises(InvalidAmount):
            parse_amount(value)
        with pytest.raises(InvalidBudget):
            parse_budget(value)
    assert parse_amounts(["1", text]) is None


def test_zeros_without_end_are_no_amount() -> None:
    with pytest.raises(InvalidAmount) as refused:
        parse_amount("1." + "0" * 10_000)
    assert len(str(refused.value)) < 250


@given(AMOUNTS, st.integers(0, 58))
def test_a_column_of_any_scale_reads_as_the_same_micros(micros: int, zeros: int) -> None:
    text = format_micros(micros) + "0" * zeros
    assert parse_amount(text) == micros
    assert parse_amounts([text, "0.5"]) == [micros, 500_000]


PRICES = st.one_of(
    st.builds(lambda units, places, digits: f"{units}.{digits:0{places}d}"[: len(str(units)) + 1 + places],
              st.integers(0, 10**7), st.integers(1, 7), st.integers(0, 10**6)),
    st.sampled_from(["7", "0.5", "1.", ".5", "1.5.5", "", "1,5", "+1", "1e3", " 1", "1_0.50", "12.3\n", "٣.50", "00.50", "2.7500000"]),
)  # fmt: skip


@given(st.lists(PRICES, min_size=1, max_size=6), st.booleans())
def test_a_column_of_prices_reads_as_each_price_alone_or_not_at_all(texts: list[str], alike: bool) -> None:
    column = texts[:1] * 3 if alike else texts

    def alone(text: str) -> int | None:
        try:
            return parse_amount(text)
        except InvalidAmount:
            return None

    read, one_by_one = parse_amounts(column), [alone(text) for text in column]
    if read is not None:
        # A column's size is checked after it is read: nothing and too much are refused there.
        assert [micros if 0 < micros <= MAX_AMOUNT_MICROS else None for micros in read] == one_by_one
    else:
        assert None in one_by_one


@pytest.mark.parametrize("value", [1, 1.0, True, None, b"1", ["1"]])
def test_a_spend_that_is_not_text_or_decimal_is_refused_and_told_where_micros_go(value: object) -> None:
    with pytest.raises(InvalidAmount, match="amount_micros"):
        parse_amount(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value", [0, -1, True, 1.0, "1", None, MAX_AMOUNT_MICROS + 1, 10**5000, -(10**5000)], ids=shown
)
def test_micros_outside_the_law_of_one_spend_are_refused(value: object) -> None:
    with pytest.raises(InvalidAmount) as refused:
        check_amount_micros(value)  # type: ignore[arg-type]
    assert refused.value.field == "amount_micros"
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 250


@pytest.mark.parametrize("value", ["NaN", "sNaN", "Infinity", "-Infinity", "-1", "-0", "1E-999999999", "1E+999999999"])
def test_a_decimal_that_is_no_money_is_refused_at_once(value: str) -> None:
    with pytest.raises(InvalidAmount) as refused:
        parse_amount(Decimal(value))
    assert len(str(refused.value)) < 250


@pytest.mark.parametrize("value", [None, "none", "None", " NONE "])
def test_a_budget_of_none_is_no_limit(value: str | None) -> None:
    assert parse_budget(value) is None


@pytest.mark.parametrize("value", ["", " ", "\n"], ids=ascii)
def test_a_budget_that_is_empty_is_not_no_limit(value: str) -> None:
    with pytest.raises(InvalidBudget, match="monthly_budget is empty: .* none for no limit") as refused:
        parse_budget(value, "monthly_budget")
    assert refused.value.field == "monthly_budget"


def test_a_budget_of_zero_is_a_limit_of_zero() -> None:
    assert parse_budget("0") == 0
    assert parse_budget(Decimal("0.000000")) == 0


def test_the_largest_budget_is_nine_billion() -> None:
    assert parse_budget("9000000000") == MAX_TOTAL_MICROS
    with pytest.raises(InvalidBudget, match="above the limit of 9000000000") as refused:
        parse_budget("9000000000.000001", "monthly_budget")
    assert refused.value.field == "monthly_budget"


@pytest.mark.parametrize("value", ["-1", "no limit", "1e3", "unlimited", 5, 5.0, False])
def test_a_budget_that_is_neither_none_nor_money_is_refused(value: object) -> None:
    with pytest.raises(InvalidBudget):
        parse_budget(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [-1, MAX_TOTAL_MICROS + 1, True, 1.5, 10**5000], ids=shown)
def test_budget_micros_outside_the_law_are_refused(value: object) -> None:
    with pytest.raises(InvalidBudget):
        check_budget_micros(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cpm", "micros"),
    [("1.234567", 1235), ("1.2345", 1234), ("1.2355", 1236), ("0.0015", 2), ("0.001", 1), ("0.000501", 1), ("2", 2000)],
)
def test_one_impression_of_a_thousand_is_rounded_half_to_even(cpm: str, micros: int) -> None:
    assert from_cpm(cpm) == micros
    assert from_cpm(Decimal(cpm)) == micros


@pytest.mark.parametrize(
    ("cpm", "micros"),
    [
        ("2.0000000298023224", 2000),
        ("0.0005000000000001", 1),
        ("0.0015000000000000", 2),
        ("0.0024999999999999", 2),
        ("0.0025", 2),
        ("0.0025000000000000000000000001", 3),
        ("1.23449999999999999999999999999999999999999999999999999999999999", 1234),
        ("2." + "0" * 64, 2000),
    ],
)
def test_every_decimal_of_a_price_for_a_thousand_counts_in_its_rounding(cpm: str, micros: int) -> None:
    assert from_cpm(cpm) == micros
    assert from_cpm(Decimal(cpm)) == micros


@given(st.decimals(min_value="0.000501", max_value="900000000", places=16))
def test_a_price_of_sixteen_decimals_is_rounded_as_decimal_arithmetic_does(cpm: Decimal) -> None:
    exact = Context(prec=60).multiply(cpm, Decimal(1000))
    assert from_cpm(format(cpm, "f")) == int(exact.to_integral_value(ROUND_HALF_EVEN))


@pytest.mark.parametrize(
    "cpm",
    ["nan", "inf", "1e3", "-1", "+1", " 1", "1_000", "1.", ".5", "0x10", "\u0661", "1." + "0" * 65, "", "1,5", "1\n",
     1, 1.5, None, True, b"1", Decimal("NaN"), Decimal("-1"), Decimal("1E-999999999"), Decimal("1E+999999999")],
)  # fmt: skip
def test_a_price_that_is_not_written_in_digits_is_refused_and_never_rounded(cpm: object) -> None:
    with pytest.raises(InvalidAmount) as refused:
        from_cpm(cpm)  # type: ignore[arg-type]
    assert refused.value.field == "cpm"
    assert len(str(refused.value)) < 250


@given(st.integers(501, 10**15))
def test_half_even_agrees_with_decimal_arithmetic(cpm_micros: int) -> None:
    exact = Context(prec=60).divide(Decimal(cpm_micros), Decimal(1000))
    assert from_cpm(format_micros(cpm_micros)) == int(exact.to_integral_value(ROUND_HALF_EVEN))


def test_an_impression_that_rounds_to_nothing_is_refused() -> None:
    for cpm in ("0.0005", "0.0004", "0"):
        with pytest.raises(InvalidAmount, match="less than a micro") as refused:
            from_cpm(cpm)
        assert refused.value.field == "cpm"


@given(TOTALS)
def test_money_does_not_depend_on_the_callers_decimal_precision(micros: int) -> None:
    with localcontext() as context:
        context.prec = 2
        assert format(to_decimal(micros), "f") == format_micros(micros)
        assert from_cpm("123456.789") == 123_456_789
        if 0 < micros <= MAX_AMOUNT_MICROS:
            assert parse_amount(to_decimal(micros)) == micros
