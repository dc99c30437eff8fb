"""The spends of a batch as columns that are checked: ids, micros, event ids.

A column is checked at C speed as a whole. Where anything is amiss, the batch is read spend by spend, to name the one that is wrong.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

from engine.domain.ids import are_text_ids, check_campaign_id, check_text_id
from engine.domain.money import MAX_AMOUNT_MICROS, micros_of, parse_amounts
from engine.domain.periods import ms_of
from engine.errors import InvalidId, InvalidInput, shown
from engine.speedups import speedups

_BLOCK: Final = 1000
_CAMPAIGNS: Final = 256
"""Sets of campaigns that are kept as checked."""


class Spend(NamedTuple):
    """One spend of a batch: `amount` is a decimal string or Decimal, or `amount_micros` an int; one of the two."""

    campaign_id: int
    amount: str | Decimal | None = None
    event_id: str | None = None
    amount_micros: int | None = None
    occurred_at: datetime | None = None


speedups.quicken(Spend)

SpendLike: TypeAlias = (
    Spend
    | tuple[int, str | Decimal]
    | tuple[int, str | Decimal, str | None]
    | tuple[int, str | Decimal, str | None, datetime | None]
)
"""A `Spend`, or a plain tuple `(campaign_id, amount[, event_id[, occurred_at]])`, which Python makes four times as fast."""

_Facts: TypeAlias = tuple[int, str | Decimal | None, str | None, int | None, datetime | None]
"""The fields of a Spend."""


class SpendColumns(NamedTuple):
    """A batch that is checked, column by column. lines: its text, where it cannot be packed."""

    campaign_ids: Sequence[int]
    micros: Sequence[int]
    campaigns: Sequence[int]
    """Each campaign once."""
    lines: Sequence[str] | None
    with_ids: Sequence[bool] | bool
    events: Sequence[str] | None = None
    """The event ids of a batch that can be packed and has them."""


def packed_columns(batch: Sequence[Any]) -> SpendColumns | None:
    """A batch of which each column is of one kind and right throughout, so that it can be packed. None where it must be read spend by spend."""
    try:
        columns = _turned(batch)
    except (TypeError, ValueError):
        return None
    size = len(batch)
    nothing = (None,) * size
    match columns:
        case [ids, amounts, events, micros, occurred]:
            pass
        case [ids, amounts]:
            events = micros = occurred = nothing
        case [ids, amounts, events]:
            micros = occurred = nothing
        case [ids, amounts, events, occurred]:
            micros = nothing
        case _:
            return None
    if occurred.count(None) < size:
        return None
    if amounts.count(None) < size:
        micros = parse_amounts(amounts) if micros.count(None) == size else None
        if micros is None:
            return None
    elif not all_of(int, micros):
        return None
    return columns_of(ids, micros, events) if all_of(int, ids) else None


def _turned(batch: Sequence[Any]) -> list[Any]:
    """The columns of rows, block by block: each row of a block has an iterator, and a hundred thousand at once cost seven times as much. Raises ValueError
    where rows differ in length, and TypeError for what is no row."""
    if len(batch) <= _BLOCK:
        return list(zip(*batch, strict=True))
    columns: list[list[Any]] = [list(column) for column in zip(*batch[:_BLOCK], strict=True)]
    for start in range(_BLOCK, len(batch), _BLOCK):
        for column, more in zip(columns, zip(*batch[start : start + _BLOCK], strict=True), strict=True):
            column.extend(more)
    return columns


def columns_of(campaign_ids: Sequence[int], micros: Sequence[int], events: Sequence[str | None]) -> SpendColumns | None:
    """Columns of one length that can be packed; campaign_ids and micros are ints. None where a value is wrong, or only some spends have event ids."""
    campaigns = sorted(set(campaign_ids))
    if not _are_amounts(micros) or not _are_campaigns(tuple(campaigns)):
        return None
    if events.count(None) == len(events):
        return SpendColumns(campaign_ids, micros, campaigns, None, False)
    if not all_of(str, events) or not are_text_ids(events):  # type: ignore[arg-type]  # all of them text
        return None
    return SpendColumns(campaign_ids, micros, campaigns, None, True, events)  # type: ignore[arg-type]  # the same


def all_of(kind: type, values: Sequence[object]) -> bool:
    """Whether each value is of a type, and not of one below it: True is no number here."""
    return list(map(type, values)).count(kind) == len(values)


def _are_amounts(micros: Sequence[int]) -> bool:
    """Whether whole numbers are all above 0 and not too large. Most are small, which an array tells quickest."""
    try:
        array("I", micros)
        return all(micros)
    except OverflowError:
        return min(micros) > 0 and max(micros) <= MAX_AMOUNT_MICROS


@lru_cache(maxsize=_CAMPAIGNS)
def _are_campaigns(campaigns: tuple[int, ...]) -> bool:
    """Whether ints are all ids of campaigns. A bidder's batches are of the same campaigns again and again."""
    try:
        for campaign_id in campaigns:
            check_campaign_id(campaign_id)
    except InvalidId:
        return False
    return True


def text_columns(batch: Sequence[Any]) -> SpendColumns:
    """Any batch, spend by spend. Raises InvalidInput with the index of the first bad one."""
    campaign_ids: list[int] = []
    lines: list[str] = []
    with_ids: list[bool] = []
    for index, spend in enumerate(batch):
        try:
            campaign_id, amount, event_id, amount_micros, occurred_at = _facts_of(spend)
            lines.append(line_of(campaign_id, amount, event_id, amount_micros, occurred_at))
        except InvalidInput as error:
            raise type(error)(f"spends[{index}]: {error}", f"spends[{index}].{error.field}") from None
        except (TypeError, ValueError):
            raise InvalidInput(
                f"spends[{index}] {shown(spend)} is not a Spend, nor a tuple (campaign_id, amount[, event_id[, occurred_at]])",
                f"spends[{index}]",
            ) from None
        campaign_ids.append(campaign_id)
        with_ids.append(event_id is not None)
    return SpendColumns(campaign_ids, (), sorted(set(campaign_ids)), lines, with_ids)


def _facts_of(spend: Any) -> _Facts:
    """The five fields of a Spend or of a plain tuple. Raises TypeError, ValueError."""
    fields = tuple(spend)
    if len(fields) == len(Spend._fields):
        return fields
    campaign_id, amount, *others = fields
    if len(others) > 2:
        raise ValueError(len(fields))
    event_id, occurred_at = (*others, None, None)[:2]
    return campaign_id, amount, event_id, None, occurred_at


def line_of(
    campaign_id: int,
    amount: str | Decimal | None,
    event_id: str | None,
    amount_micros: int | None,
    occurred_at: datetime | None,
) -> str:
    """One spend as the scripts take it (`lua/lib/charge.lua`), after every check that Python can make."""
    check_campaign_id(campaign_id)
    micros = micros_of(amount, amount_micros)
    if event_id is not None:
        check_text_id(event_id, "event_id")
    if occurred_at is None:
        return f"{campaign_id},{micros},{event_id or ''},;"
    return f"{campaign_id},{micros},{event_id or ''},{_occurred_ms(occurred_at)};"


def _occurred_ms(at: datetime) -> int:
    if not isinstance(at, datetime) or at.tzinfo is None:
        raise InvalidInput(
            f"occurred_at {shown(at)} is not an instant: give a datetime with a time zone", "occurred_at"
        )
    try:
        ms = ms_of(at)
    except (TypeError, ValueError, OverflowError):  # a time zone that gives no offset
        raise InvalidInput(
            f"occurred_at {shown(str(at))} is not an instant: give a datetime with a time zone", "occurred_at"
        ) from None
    if ms < 0:
        raise InvalidInput(
            f"occurred_at {shown(str(at))} is before 1970: give the instant of the impression", "occurred_at"
        )
    return ms
