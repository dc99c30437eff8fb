"""Values that a caller may put into a spend by mistake, or on purpose."""

from __future__ import annotations

import enum
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from hypothesis import strategies as st

from engine.domain.money import MAX_AMOUNT_MICROS

BRAND: Final = 3 << 16


class TextBelow(str):
    """Text of a type of its own."""

    __slots__ = ()


class NumberBelow(int):
    """A number of a type of its own."""


class Word(enum.StrEnum):
    WON = "won-1"


class Meddler:
    """Compared with anything, it empties a list, as a caller's own object might change the batch while it is read."""

    def __init__(self, prey: list[Any]) -> None:
        self.prey = prey

    def __eq__(self, other: object) -> bool:
        self.prey.clear()
        return False

    __hash__ = None  # type: ignore[assignment]  # and it is in no set

    def __repr__(self) -> str:
        return "Meddler()"


CAMPAIGNS: Final = st.integers(BRAND + 1, BRAND + 4)
MICROS: Final = st.one_of(st.integers(1, 9), st.integers(2**32 - 2, 2**32 + 2), st.just(MAX_AMOUNT_MICROS))
NUMBERS: Final = st.sampled_from(
    (
        0,
        -1,
        2**31,
        2**53,
        2**63 - 1,
        2**63,
        2**64,
        -(2**63) - 1,
        10**30,
        True,
        False,
        NumberBelow(BRAND + 1),
        NumberBelow(5),
    )
)
ODD: Final = st.one_of(
    st.none(),
    NUMBERS,
    st.sampled_from((float("nan"), float("inf"), -0.0, 1.5, 1e300)),
    st.sampled_from((Decimal("0.25"), Decimal("NaN"), Decimal("-1"), Decimal("1E+400"), Decimal("0.0000001"))),
    st.sampled_from(
        ("", "0.5", "1.25", "1e3", "-1", "12,5", "\x00", "é", "\ud800", "x" * 65, "٣", TextBelow("0.5"), Word.WON)
    ),
    st.sampled_from((b"0.5", bytearray(b"1"), object(), int, ..., (1, 2), datetime(2026, 1, 1, tzinfo=UTC))),
    st.builds(list),
    st.builds(dict),
)
