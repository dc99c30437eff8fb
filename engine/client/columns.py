"""The columns of a batch: lists, tuples, and buffers of whole numbers, such as `array.array` and numpy's arrays.

numpy is not imported: its arrays are read by Python's buffer protocol.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias

from engine.client.batches import PACKED_FROM
from engine.client.spends import SpendColumns, all_of, columns_of, line_of
from engine.domain.ids import check_campaign_id
from engine.domain.money import check_amount_micros
from engine.errors import InvalidInput

IntColumn: TypeAlias = Sequence[int] | memoryview | Any
"""Whole numbers: a list, a tuple, or a buffer of one dimension with items of 4 or 8 bytes (`array("q")`, a numpy array of int64)."""

_WHOLE: Final = frozenset("iIlLqQ")
_NATIVE: Final = "<" if sys.byteorder == "little" else ">"
_NOTHING: Final[tuple[None]] = (None,)
_COLUMNS: Final = {
    "campaign_id": "campaign_ids",
    "amount_micros": "amounts_micros",
    "event_id": "event_ids",
    "occurred_at": "occurred_at",
}
"""The column of each field for which a spend can be refused."""


def checked_columns(
    campaign_ids: IntColumn,
    amounts_micros: IntColumn,
    event_ids: Sequence[str | None] | None,
    occurred_at: Sequence[datetime | None] | None,
) -> SpendColumns:
    """Checks columns of one length. Raises InvalidInput that names the column, and the index of the first bad spend
    where one value is wrong.
    """
    (ids, whole_ids), (micros, whole_micros) = (
        _read(campaign_ids, "campaign_ids"),
        _read(amounts_micros, "amounts_micros"),
    )
    size = len(ids)
    events = _nothing(size) if event_ids is None else _values(event_ids, "event_ids")
    occurred = _nothing(size) if occurred_at is None else _values(occurred_at, "occurred_at")
    for name, column in (("amounts_micros", micros), ("event_ids", events), ("occurred_at", occurred)):
        if len(column) != size:
            raise InvalidInput(
                f"{name} has {len(column)} values and campaign_ids {size}: give columns of one length", name
            )
    if size >= PACKED_FROM and whole_ids and whole_micros and occurred.count(None) == size:
        columns = columns_of(ids, micros, events)
        if columns is not None:
            return columns
    lines = [_line(index, spend) for index, spend in enumerate(zip(ids, micros, events, occurred, strict=True))]
    with_ids = [event_id is not None for event_id in events]
    return SpendColumns(ids, (), sorted(set(ids)), lines, with_ids)


def _nothing(size: int) -> Sequence[None]:
    return _NOTHING * size


def _line(index: int, spend: tuple[Any, Any, Any, Any]) -> str:
    campaign_id, micros, event_id, occurred_at = spend
    try:
        check_campaign_id(campaign_id)
        check_amount_micros(micros)
        return line_of(campaign_id, None, event_id, micros, occurred_at)
    except InvalidInput as error:
        column = _COLUMNS[error.field or ""]
        raise type(error)(f"{column}[{index}]: {error}", f"{column}[{index}]") from None


def _values(column: object, name: str) -> Sequence[Any]:
    """A list or tuple. Raises InvalidInput."""
    if isinstance(column, list | tuple):
        # A copy: the caller may change its own list while a call is repeated.
        return tuple(column)
    raise InvalidInput(f"{name} is a {type(column).__name__}: give a list or a tuple", name)


def _read(column: object, name: str) -> tuple[Sequence[int], bool]:
    """A column of numbers as Python's own, and whether they are known to be whole, as in a buffer. Raises
    InvalidInput.
    """
    if isinstance(column, list | tuple):
        values = tuple(column)
        return values, all_of(int, values)
    try:
        if isinstance(column, bytes | bytearray):
            raise TypeError
        view = memoryview(column)  # type: ignore[arg-type]  # what is none raises
    except (TypeError, ValueError, BufferError):
        raise InvalidInput(
            f"{name} is a {type(column).__name__}: give a list, a tuple or a buffer of whole numbers", name
        ) from None
    with view:
        return _numbers(view, name), True


def _numbers(view: memoryview, name: str) -> list[int]:
    order, code = ("@", view.format) if len(view.format) == 1 else (view.format[0], view.format[1:])
    if view.ndim != 1 or code not in _WHOLE or order not in ("@", "=", _NATIVE):
        raise InvalidInput(
            f"{name} is a buffer of {view.ndim} dimensions and items of format {view.format!r}: give one dimension of whole"
            " numbers of 4 or 8 bytes, such as int64",
            name,
        )
    if order == "@":
        return view.tolist()
    native = "i" if view.itemsize == 4 else "q"
    numbers = array(native if code.islower() else native.upper())
    numbers.frombytes(view.tobytes())
    return numbers.tolist()
