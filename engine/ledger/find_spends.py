"""Rows of the spend log by event id, request id or campaign, day by day, the newest first; those of packed rows too.

A search stops after some seconds and says where it goes on, so it ends however large the log is.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Engine, text

from engine.domain.ids import brand_of, shard_of
from engine.ledger.retention import dropped_days, logged_days
from engine.ledger.spend_log import partition_of

LONGEST_S: Final = 4.0
"""Seconds after which no further day is begun."""
AT_ONCE: Final = 2000
"""Packed rows that one statement searches, at most a thousand spends each."""
_A_DAY: Final = timedelta(days=1)
_MICROSECOND: Final = timedelta(microseconds=1)
_COLUMNS: Final = "recorded_at, day, brand_id, campaign_id, amount_micros, kind, event_id, request_id, occurred_at, hold_id, shard, generation, n, position"
_WITHIN: Final = (
    "day = :day AND {at} >= :since AND {at} < :until"
    " AND (CAST(:place AS timestamptz) IS NULL OR (recorded_at, generation, n, position) < (:place, :generation, :n, :position))"
)
_NO_INDEX: Final = "recorded_at + interval '0'"
"""The same instant, for which no index is read: that of the id is better, and PostgreSQL cannot know it."""
_BY: Final = {
    "event_id": ("event_id = :event_id", "strpos(names, :event_id) > 0 AND event_id = :event_id"),
    "request_id": ("request_id = :request_id", "strpos(names, :request_id) > 0 AND request_id = :request_id"),
    "campaign_id": ("campaign_id = :campaign_id", "CAST(:campaign_id AS bigint) = ANY(campaigns) AND campaign_id = :campaign_id"),
}  # fmt: skip
"""The condition on a row, and on a packed one, whose text is searched before it is unpacked."""
_DAYS_OF: Final = text(
    "SELECT day FROM campaign_day WHERE campaign_id = :campaign AND day BETWEEN :first AND :last ORDER BY day DESC"
)


_PACKS: Final = "SELECT count(*), min(first_at), max(last_at) FROM spend_pack WHERE day = :day AND last_at >= :since AND first_at < :until"
_SPAN: Final = text(_PACKS)
_SPAN_OF_SHARDS: Final = text(f"{_PACKS} AND shard = ANY(CAST(:shards AS smallint[]))")
_SEQSCAN: Final = text("SELECT set_config('enable_seqscan', :to, true)")
_SUMMARISE: Final = text(
    "SELECT brin_summarize_new_values(part.indexrelid) FROM pg_index AS part JOIN pg_inherits ON inhrelid = part.indexrelid"
    " WHERE inhparent IN ('ix_spend_log_event_id'::regclass, 'ix_spend_log_request_id'::regclass)"
    " AND part.indrelid = to_regclass(:partition)"
)


class Sought(NamedTuple):
    """What is looked for: at least one of event id, request id and campaign. since is included, until is not. brands: what may be seen."""

    since: datetime
    until: datetime
    event_id: str | None = None
    request_id: str | None = None
    campaign_id: int | None = None
    brands: Collection[int] | None = None


class LogRow(NamedTuple):
    """A row of the log. amount_micros is below 0 for what was given back. shard, generation, n, position: its place in the journal."""

    recorded_at: datetime
    day: date
    brand_id: int
    campaign_id: int
    amount_micros: int
    kind: str
    event_id: str | None
    request_id: str
    occurred_at: datetime | None
    hold_id: str | None
    shard: int
    generation: int
    n: int
    position: int

    @property
    def place(self) -> Place:
        return Place(self.day, self.recorded_at, self.generation, self.n, self.position)


class Place(NamedTuple):
    """Where a page ended: after a row, or before all rows of a day where no instant is given."""

    day: date
    recorded_at: datetime | None = None
    generation: int = 0
    n: int = 0
    position: int = 0


class Found(NamedTuple):
    """A page of rows, newest day first. next: where the search goes on, None at its end. dropped: days of which rows are in the log no more."""

    rows: list[LogRow]
    next: Place | None
    dropped: list[date]


def find(engine: Engine, sought: Sought, limit: int, after: Place | None = None) -> Found:
    """The next rows, at most so many. Fewer, even none, come with `next` where time was up before the days were."""
    # A row may count to the day before or after the one of its instant.
    first, last = sought.since.astimezone(UTC).date() - _A_DAY, sought.until.astimezone(UTC).date() + _A_DAY
    began, rows = time.monotonic(), list[LogRow]()
    with engine.connect() as connection:
        dropped = dropped_days(connection, first, last)
        days = [day for day in _days(connection, sought, first, last) if after is None or day <= after.day]
        for day in days:
            if (rows and len(rows) >= limit) or time.monotonic() - began > LONGEST_S:
                return Found(rows, _go_on(rows, day), dropped)
            found, rest = _of_day(connection, sought, day, limit - len(rows) + 1, after, began + LONGEST_S)
            rows += found
            if len(rows) > limit:
                return Found(rows[:limit], rows[limit - 1].place, dropped)
            if rest is not None:
                return Found(rows, rest, dropped)
    return Found(rows, None, dropped)


def summarise(connection: Connection, day: date) -> int:
    """Makes the filters of a day that are not made yet; returns how many. It holds up no reader and no writer."""
    return sum(connection.execute(_SUMMARISE, {"partition": partition_of("spend_log", day)}).scalars())


def _go_on(rows: list[LogRow], day: date) -> Place:
    return rows[-1].place if rows and rows[-1].day == day else Place(day)


def _days(connection: Connection, sought: Sought, first: date, last: date) -> list[date]:
    """The days that may have a row, the newest first."""
    if sought.campaign_id is not None:
        given = {"campaign": sought.campaign_id, "first": first, "last": last}
        return list(connection.execute(_DAYS_OF, given).scalars())
    return [day for day in reversed(logged_days(connection)) if first <= day <= last]


def _of_day(
    connection: Connection, sought: Sought, day: date, limit: int, after: Place | None, ends_at: float
) -> tuple[list[LogRow], Place | None]:
    """The newest rows of a day, and where the search goes on in it where time was up."""
    asked = [_BY[field] for field in _BY if getattr(sought, field) is not None]
    assert asked
    place = after if after is not None and after.day == day and after.recorded_at is not None else None
    given: dict[str, Any] = {
        "day": day, "since": sought.since, "until": sought.until, "event_id": sought.event_id,
        "request_id": sought.request_id, "campaign_id": sought.campaign_id,
        "place": place and place.recorded_at, "generation": place and place.generation, "n": place and place.n,
        "position": place and place.position,
    }  # fmt: skip
    plain, packed = (
        [_WITHIN.format(at=at), *(pair[form] for pair in asked)]
        for form, at in enumerate(("recorded_at" if sought.campaign_id is not None else _NO_INDEX, "recorded_at"))
    )
    # A packed row that begins and ends outside the instants is not unpacked.
    packed.append("last_at >= :since AND first_at < :until")
    brands = {brand_of(sought.campaign_id)} if sought.campaign_id is not None else sought.brands
    if brands is not None:
        given |= {"brands": sorted(brands), "shards": sorted({shard_of(brand) for brand in brands})}
        plain.append("brand_id + 0 = ANY(CAST(:brands AS bigint[]))")
        packed += ["shard = ANY(CAST(:shards AS smallint[]))", "brand_id = ANY(CAST(:brands AS bigint[]))"]
    given["limit"] = limit
    rows = _read(connection, "spend_log", plain, given, seqscan=False)
    unpacked: list[LogRow] = []
    for since, until in _slices(connection, given, brands is not None):
        unpacked += _read(connection, "unpacked_spend", packed, given | {"since": since, "until": until}, seqscan=True)
        if len(unpacked) >= limit:
            break
        if time.monotonic() > ends_at and since > sought.since:
            newer = [row for row in rows if row.recorded_at >= since]
            return sorted([*newer, *unpacked], key=_newest, reverse=True)[:limit], Place(day, since)
    return sorted([*rows, *unpacked], key=_newest, reverse=True)[:limit], None


def _slices(connection: Connection, given: dict[str, Any], by_shard: bool) -> Iterator[tuple[datetime, datetime]]:
    """Spans of time in which packed rows of the day are read, the newest first, so that each takes a part of a second."""
    packs, first, last = connection.execute(_SPAN_OF_SHARDS if by_shard else _SPAN, given).one()
    if not packs:
        return
    begin, end = max(first, given["since"]), min(last + _MICROSECOND, given["until"])
    if given["place"] is not None:
        end = min(end, given["place"] + _MICROSECOND)
    number = -(-packs // AT_ONCE)
    step = (end - begin) / number + _MICROSECOND
    while end > begin:
        yield max(begin, end - step), end
        end -= step


def _read(
    connection: Connection, table: str, conditions: list[str], given: dict[str, Any], *, seqscan: bool
) -> list[LogRow]:
    # PostgreSQL takes ids at random to be in every range of a BRIN index, and so would rather read the whole day.
    connection.execute(_SEQSCAN, {"to": "on" if seqscan else "off"})
    query = (
        f"SELECT {_COLUMNS} FROM {table} WHERE {' AND '.join(conditions)}"
        " ORDER BY recorded_at DESC, generation DESC, n DESC, position DESC LIMIT :limit"
    )
    return [LogRow(*row) for row in connection.execute(text(query), given)]


def _newest(row: LogRow) -> tuple[datetime, int, int, int]:
    return row.recorded_at, row.generation, row.n, row.position
