"""Money: integer micros inside, decimal text at the edges, never a float.

1 unit of currency = 1,000,000 micros. The grammar is digits only, at most six decimals: no sign, exponent, space, underscore or other script's digits.
Zeros after the sixth decimal change nothing, so they are taken: a numeric(18,10) column writes them. What does not fit is refused, not rounded;
`from_cpm` is the one place that rounds. Redis gets whole micros only (`lua/lib/call.lua`: `amount_of`), never decimal text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Context, Decimal
from typing import Final

from engine.errors import InvalidAmount, InvalidBudget, InvalidInput, shown

MICROS: Final = 1_000_000
PLACES: Final = 6
MAX_AMOUNT_MICROS: Final = 10**12
"""One spend: at most 1,000,000 units."""
MAX_TOTAL_MICROS: Final = 9 * 10**15
"""A budget or a counter: below 2^53, because a Lua number is a double."""

MOST_DECIMALS: Final = 64
"""Longer text is no price and no column of a database."""

_DECIMAL: Final = re.compile(r"([0-9]{1,16})(?:\.([0-9]{1,6})0{0,58})?", re.ASCII)
_DECIMALS: Final = re.compile(r"(?:[0-9]{1,16}(?:\.[0-9]{1,6})?,)+", re.ASCII)
_ALIKE: Final = {
    places: re.compile(rf"(?:[0-9]{{1,16}}\.[0-9]{{{places}}},)+", re.ASCII) for places in range(1, PLACES + 1)
}
_PADDED_DECIMALS: Final = re.compile(r"(?:[0-9]{1,16}(?:\.[0-9]{1,6}0{0,58})?,)+", re.ASCII)
_EXACT_DECIMAL: Final = re.compile(r"([0-9]{1,16})(?:\.([0-9]{1,64}))?", re.ASCII)
_TOO_FINE: Final = re.compile(r"[0-9]{1,16}\.[0-9]{7,}", re.ASCII)
_WIDEST_EXPONENT: Final = 65
"""A Decimal beyond it is shown as it is: written out, 1E-999999999 would be a gigabyte of zeros."""
_EXACT: Final = Context(prec=34, traps=[])
"""Money does not depend on the precision that the caller's own decimal context happens to have."""
NO_LIMIT_WORD: Final = "none"
"""What a person writes for a budget without a limit. Nothing at all is not that word: it is what an unset variable leaves."""


def _text_of(value: object, field: str, error: type[InvalidInput]) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise error(f"{field} {shown(str(value))} is not a finite number: give a decimal such as 12.50", field)
        if value.is_signed():
            raise error(f"{field} {shown(str(value))} is negative: give a decimal from 0 upwards, such as 12.50", field)
        exponent = value.as_tuple().exponent
        narrow = isinstance(exponent, int) and -_WIDEST_EXPONENT < exponent < _WIDEST_EXPONENT
        return format(value, "f") if narrow else str(value)
    micros_go = " (whole micros go in amount_micros)" if field == "amount" else ""
    raise error(
        f"{field} {shown(value)} is a {type(value).__name__}: give a decimal string or a Decimal{micros_go}", field
    )


def _micros_of(value: object, field: str, error: type[InvalidInput]) -> int:
    text = _text_of(value, field, error)
    match = _DECIMAL.fullmatch(text)
    if match is None:
        if _TOO_FINE.fullmatch(text):
            raise error(
                f"{field} {shown(text)} has more than six decimals: nothing is rounded here, give at most six (zeros may follow)",
                field,
            )
        raise error(
            f"{field} {shown(text)} is not a decimal amount: use digits and at most six decimals, such as 12.50", field
        )
    units, fraction = match.groups()
    return int(units) * MICROS + int((fraction or "").ljust(PLACES, "0"))


def parse_amount(value: str | Decimal, field: str = "amount") -> int:
    """The micros of one spend, from a decimal string or a Decimal: above 0, at most 1,000,000 units. Raises InvalidAmount."""
    return check_amount_micros(_micros_of(value, field, InvalidAmount), field, value)


def parse_amounts(values: Sequence[str | Decimal]) -> list[int] | None:
    """The micros of many amounts at once, their size not yet checked; None where one of them needs `parse_amount`, which says what is wrong."""
    kinds = set(map(type, values))
    if not kinds <= {str, Decimal}:
        return None
    texts: Sequence[str] = values if kinds == {str} else list(map(str, values))  # type: ignore[assignment]  # all of them text
    joined = ",".join(texts) + ","
    if joined.count(",") != len(texts):
        return None
    _, point, fraction = texts[0].partition(".")
    alike = _ALIKE.get(len(fraction)) if point else None
    if alike is not None and alike.fullmatch(joined):
        # As prices are written mostly: all to so many places.
        numbers = list(map(int, joined[:-1].replace(".", "").split(",")))
        scale = 10 ** (PLACES - len(fraction))
        return numbers if scale == 1 else [number * scale for number in numbers]
    if _DECIMALS.fullmatch(joined) is None:
        if _PADDED_DECIMALS.fullmatch(joined) is None:
            return None
        texts = [text[: text.find(".") + 1 + PLACES] if "." in text else text for text in texts]
    return [int(units + fraction.ljust(PLACES, "0")) for units, _, fraction in (text.partition(".") for text in texts)]


def check_amount_micros(micros: int, field: str = "amount_micros", given: object = None) -> int:
    """The same law for an amount that is in micros already. Raises InvalidAmount."""
    if type(micros) is int and 0 < micros <= MAX_AMOUNT_MICROS:
        return micros
    value = shown(micros if given is None else str(given))
    if type(micros) is not int:
        raise InvalidAmount(f"{field} {value} is a {type(micros).__name__}: give whole micros as an int", field)
    if micros <= 0:
        raise InvalidAmount(f"{field} {value} is not above zero: a spend is at least 0.000001", field)
    raise InvalidAmount(
        f"{field} {value} is above the limit of 1000000 for one spend: split it or check the unit", field
    )


def micros_of(amount: str | Decimal | None, amount_micros: int | None) -> int:
    """The micros of one spend that is given in one of two ways. Raises InvalidAmount."""
    if amount_micros is None:
        if amount is None:
            raise InvalidAmount(
                "amount is missing: give a decimal string or Decimal, or whole micros in amount_micros", "amount"
            )
        return parse_amount(amount)
    if amount is not None:
        raise InvalidAmount("amount and amount_micros are both given: give one of the two", "amount_micros")
    return check_amount_micros(amount_micros)


def parse_budget(value: str | Decimal | None, field: str = "daily_budget") -> int | None:
    """The micros of a budget; None and "none" mean no limit, 0 means nothing allowed. Raises InvalidBudget, for an empty text too."""
    if value is None or (isinstance(value, str) and value.strip().lower() == NO_LIMIT_WORD):
        return None
    if isinstance(value, str) and not value.strip():
        raise InvalidBudget(f"{field} is empty: give an amount such as 100.00, or none for no limit", field)
    return check_budget_micros(_micros_of(value, field, InvalidBudget), field)


def check_budget_micros(micros: int | None, field: str = "daily_budget") -> int | None:
    """The law for a budget in micros: None, or from 0 to 9,000,000,000 units. Raises InvalidBudget."""
    if micros is None:
        return None
    if type(micros) is not int or micros < 0:
        raise InvalidBudget(f"{field} {shown(micros)} is not a budget: give none, or a decimal from 0 upwards", field)
    if micros > MAX_TOTAL_MICROS:
        value = format_micros(micros) if micros < 10**30 else shown(micros)
        raise InvalidBudget(f"{field} {value} is above the limit of 9000000000: give a smaller budget or none", field)
    return micros


def format_micros(micros: int) -> str:
    """Micros as a decimal string with six places: 12500000 -> "12.500000", -3200000 -> "-3.200000"."""
    sign = "-" if micros < 0 else ""
    units, fraction = divmod(abs(micros), MICROS)
    return f"{sign}{units}.{fraction:06d}"


def format_optional(micros: int | None) -> str | None:
    """As `format_micros`; None (no limit) stays None."""
    return None if micros is None else format_micros(micros)


def to_decimal(micros: int) -> Decimal:
    """Micros as a Decimal with six places."""
    return Decimal(micros).scaleb(-PLACES, _EXACT)


def from_cpm(cpm: str | Decimal) -> int:
    """The micros of one impression at a price for a thousand: half-even, the one place that rounds. Raises InvalidAmount.

    "1.234567" -> 1235 (1,234.567 micros). The price may have up to 64 decimals, as a float of another system that was written out has: all of them
    count. A price so low that one impression rounds to nothing is refused.
    """
    text = _text_of(cpm, "cpm", InvalidAmount)
    match = _EXACT_DECIMAL.fullmatch(text)
    if match is None:
        raise InvalidAmount(
            f"cpm {shown(text)} is not a decimal price: use digits and at most {MOST_DECIMALS} decimals, such as 1.25",
            "cpm",
        )
    units, fraction = match[1], match[2] or ""
    one = 10 ** len(fraction)
    micros, rest = divmod(int(units + fraction) * (MICROS // 1000), one)
    if rest * 2 > one or (rest * 2 == one and micros % 2):
        micros += 1
    if micros <= 0:
        raise InvalidAmount(
            f"cpm {shown(str(cpm))} is less than a micro for one impression: book a thousand at once", "cpm"
        )
    return check_amount_micros(micros, "cpm", str(cpm))
