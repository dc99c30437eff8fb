"""Late spends: what those of each brand and day add up to, written in the transaction that writes their rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final, NamedTuple

from sqlalchemy import Connection, text

_ADD: Final = text(
    "INSERT INTO late_spend (brand_id, day, previous, spends, spend_micros)"
    " SELECT * FROM unnest(CAST(:brands AS bigint[]), CAST(:days AS date[]), CAST(:previous AS boolean[]),"
    " CAST(:spends AS bigint[]), CAST(:micros AS bigint[])) ON CONFLICT (brand_id, day, previous) DO UPDATE"
    " SET spends = late_spend.spends + excluded.spends, spend_micros = late_spend.spend_micros + excluded.spend_micros"
)
_OF_DAYS: Final = text(
    "SELECT brand_id, day, previous, spends, spend_micros FROM late_spend"
    " WHERE brand_id = ANY(CAST(:brands AS bigint[])) AND day BETWEEN :first AND :last"
)
_TOTALS: Final = text(
    "SELECT previous, sum(spends)::bigint AS spends, sum(spend_micros)::bigint AS micros FROM late_spend GROUP BY previous"
)


class Key(NamedTuple):
    """Late spends that are added up together. day: to which they are booked. previous: on which they occurred, the one before
    that of their report; else they are booked to the day of their report.
    """

    brand_id: int
    day: date
    previous: bool


class Late(NamedTuple):
    """Late spends of a brand on a day: how many are booked to it though they were reported after its end, and to it though they
    occurred before it, with their micros.
    """

    spends_after: int = 0
    micros_after: int = 0
    spends_before: int = 0
    micros_before: int = 0


def add(connection: Connection, sums: Mapping[Key, tuple[int, int]]) -> None:
    """Adds {key: (spends, micros)}."""
    if not sums:
        return
    # In order, so that two writers of the same brands never wait for each other.
    rows = [(*key, *value) for key, value in sorted(sums.items())]
    names = ("brands", "days", "previous", "spends", "micros")
    connection.execute(_ADD, dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))


def of_days(connection: Connection, brand_ids: Sequence[int], first: date, last: date) -> dict[tuple[int, date], Late]:
    """{(brand_id, day): Late} of the days from first to last, both included, where there are any."""
    found: dict[tuple[int, date], Late] = {}
    for row in connection.execute(_OF_DAYS, {"brands": list(brand_ids), "first": first, "last": last}):
        late = found.get((row.brand_id, row.day), Late())
        if row.previous:
            late = late._replace(spends_after=row.spends, micros_after=row.spend_micros)
        else:
            late = late._replace(spends_before=row.spends, micros_before=row.spend_micros)
        found[row.brand_id, row.day] = late
    return found


def totals(connection: Connection) -> dict[bool, tuple[int, int]]:
    """{whether booked to the previous day: (spends, micros)} of all brands since the first late spend."""
    found = {row.previous: (row.spends, row.micros) for row in connection.execute(_TOTALS)}
    return {previous: found.get(previous, (0, 0)) for previous in (True, False)}
