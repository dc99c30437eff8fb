"""What flights spent: written by persist with the rows, and read for verify, rebuild and pages.

A row of the log belongs to the flight of its campaign in its journal entry (`flight_entry`), whatever became of the flight since.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from typing import Final, NamedTuple

from sqlalchemy import Connection, text

from engine.domain.ids import SHARDS

_GIVEN: Final = (
    "unnest(CAST(:shards AS smallint[]), CAST(:generations AS integer[]), CAST(:numbers AS bigint[]), CAST(:campaigns AS bigint[]),"
    " CAST(:flights AS integer[]), CAST(:days AS date[]), CAST(:micros AS bigint[]))"
    " AS given(shard, generation, n, campaign_id, flight, day, spend_micros)"
)
_ADD: Final = text(
    f"WITH entries AS (INSERT INTO flight_entry SELECT * FROM {_GIVEN} RETURNING campaign_id, flight, spend_micros)"
    " INSERT INTO flight_total (campaign_id, flight, spend_micros)"
    " SELECT campaign_id, flight, sum(spend_micros)::bigint FROM entries GROUP BY 1, 2 ORDER BY 1, 2"
    " ON CONFLICT (campaign_id, flight) DO UPDATE SET spend_micros = flight_total.spend_micros + excluded.spend_micros"
)
_TOTALS: Final = text(
    "SELECT campaign_id, flight, spend_micros FROM flight_total WHERE campaign_id = ANY(CAST(:campaigns AS bigint[]))"
)
_OF_SHARD: Final = text(
    f"SELECT campaign_id, flight, spend_micros FROM flight_total WHERE mod(campaign_id / 65536, {SHARDS}) = :shard"
)
_ABOVE: Final = text(
    "SELECT coalesce(sum(spend_micros), 0)::bigint FROM flight_entry WHERE campaign_id = :campaign AND flight = :flight"
    " AND n > :n"
)
_WAITING: Final = text(
    "SELECT n, fields->>'v' AS flights, sums FROM quarantine WHERE state <> 'persisted' AND jsonb_exists(fields, 'v')"
    " AND (CAST(:shard AS integer) IS NULL OR shard = :shard)"
)
_OFF: Final = text(
    "SELECT e.campaign_id, e.flight, e.n, e.spend_micros AS found, coalesce(sum(l.amount_micros), 0)::bigint AS expected"
    " FROM (SELECT campaign_id, flight, shard, generation, n, day, sum(spend_micros)::bigint AS spend_micros FROM flight_entry"
    " WHERE day BETWEEN :first AND :last GROUP BY 1, 2, 3, 4, 5, 6) AS e"
    " LEFT JOIN spend AS l ON l.campaign_id = e.campaign_id AND l.day = e.day AND l.shard = e.shard"
    " AND l.day BETWEEN :first AND :last AND l.generation = e.generation AND l.n = e.n GROUP BY 1, 2, 3, 4, e.shard, e.generation"
    " HAVING coalesce(sum(l.amount_micros), 0) <> e.spend_micros ORDER BY 1, 3 LIMIT 100"
)
_ENDING: Final = text(
    "SELECT id, ends_ms, waits, overdue FROM (SELECT c.id, p.ends_ms,"
    " EXISTS (SELECT FROM flight AS f WHERE f.campaign_id = c.id AND f.starts_at >= to_timestamp(p.ends_ms / 1000.0)) AS waits,"
    " EXISTS (SELECT FROM flight AS f WHERE f.campaign_id = c.id AND f.starts_at >= to_timestamp(p.ends_ms / 1000.0)"
    " AND f.starts_at < clock_timestamp() - interval '10 minutes' AND f.ends_at > clock_timestamp()) AS overdue"
    " FROM campaign AS c JOIN brand AS b ON b.id = c.brand_id CROSS JOIN LATERAL"
    " (SELECT max(CAST(split_part(f, ',', 4) AS bigint)) AS ends_ms FROM unnest(c.flights) AS f) AS p"
    " WHERE cardinality(c.flights) > 0 AND c.archived_at IS NULL AND b.archived_at IS NULL"
    " AND to_timestamp(p.ends_ms / 1000.0) < clock_timestamp() + make_interval(days => :days)) AS plan"
    " WHERE waits OR to_timestamp(ends_ms / 1000.0) > clock_timestamp() ORDER BY ends_ms, id"
)
_FORGET: Final = text("DELETE FROM flight_entry WHERE day = :day")
_OF_EVENTS: Final = text(
    "SELECT DISTINCT l.event_id, l.campaign_id, l.day, e.flight FROM"
    " spends_of(:brand, (CAST(:day AS date) - 1)::timestamp AT TIME ZONE 'UTC', (CAST(:day AS date) + 2)::timestamp AT TIME ZONE 'UTC') AS l"
    " JOIN flight_entry AS e"
    " ON e.campaign_id = l.campaign_id AND e.n = l.n AND e.generation = l.generation AND e.shard = l.shard"
    " WHERE l.day BETWEEN CAST(:day AS date) - 1 AND CAST(:day AS date) + 1"
    " AND l.event_id = ANY(CAST(:events AS text[])) AND l.amount_micros > 0"
)
_OF_ENTRIES: Final = text(
    "SELECT generation, n, campaign_id, flight FROM flight_entry WHERE shard = :shard AND day >= :since"
)

Flown = dict[tuple[int, int], int]
"""{(campaign id, number of the flight's counter): micros}"""


class Part(NamedTuple):
    """What an entry counted to a flight of a campaign."""

    shard: int
    generation: int
    n: int
    campaign_id: int
    flight: int
    day: date
    micros: int


class PlanEnd(NamedTuple):
    """A campaign whose plan ends soon. waits: it has a flight after that; overdue: which has begun, minutes ago."""

    campaign_id: int
    ends_ms: int
    waits: bool
    overdue: bool


class Off(NamedTuple):
    """An entry whose part is not the sum of its rows."""

    campaign_id: int
    flight: int
    n: int
    found: int
    expected: int


def add(connection: Connection, parts: Sequence[Part]) -> None:
    """Adds parts, in the transaction that writes their rows."""
    if parts:
        names = ("shards", "generations", "numbers", "campaigns", "flights", "days", "micros")
        columns = map(list, zip(*parts, strict=True))
        connection.execute(_ADD, dict(zip(names, columns, strict=True)))


def totals(connection: Connection, campaign_ids: Collection[int]) -> Flown:
    """What the flights of campaigns spent by the log."""
    found = connection.execute(_TOTALS, {"campaigns": list(campaign_ids)}) if campaign_ids else ()
    return {(row.campaign_id, row.flight): row.spend_micros for row in found}


def plans_ending(connection: Connection, days: int) -> list[PlanEnd]:
    """The campaigns in use whose last flight in the plan is not over for long and ends within some days, or is over while
    another one waits; the earliest first.
    """
    return [PlanEnd(*row) for row in connection.execute(_ENDING, {"days": days})]


def totals_of_shard(connection: Connection, shard: int) -> Flown:
    """The same of all campaigns of a shard."""
    found = connection.execute(_OF_SHARD, {"shard": shard})
    return {(row.campaign_id, row.flight): row.spend_micros for row in found}


def above(connection: Connection, campaign_id: int, flight: int, n: int) -> int:
    """What entries with a number above n counted to a flight."""
    return int(connection.execute(_ABOVE, {"campaign": campaign_id, "flight": flight, "n": n}).scalar_one())


def waiting(connection: Connection, shard: int | None = None) -> Iterator[tuple[int | None, tuple[int, int], int]]:
    """What entries in quarantine counted to flights: (n, (campaign id, counter), micros)."""
    for n, told, lines in connection.execute(_WAITING, {"shard": shard}):
        flights = read_flights(told)
        for _, campaign_id, _, micros in lines:
            if campaign_id in flights:
                yield n, (campaign_id, flights[campaign_id]), micros


def read_flights(told: str) -> Mapping[int, int]:
    """The field `v` of an entry that may not read: {campaign id: counter} as far as it does."""
    pairs = (pair.partition(":") for pair in told.split(","))
    return {int(a): int(b) for a, _, b in pairs if a.isdecimal() and b.isdecimal() and len(a) <= 16 and len(b) <= 5}


def spent(connection: Connection, campaign_ids: Collection[int]) -> Flown:
    """What a flight's counter must have: the log and the quarantine."""
    wanted = set(campaign_ids)
    found = totals(connection, wanted)
    for _, key, micros in waiting(connection) if wanted else ():
        if key[0] in wanted:
            found[key] = found.get(key, 0) + micros
    return found


def parts_off(connection: Connection, first: date, last: date) -> list[Off]:
    """Where what an entry counted to a flight is not the sum of its rows."""
    return [Off(*row) for row in connection.execute(_OFF, {"first": first, "last": last})]


def forget_day(connection: Connection, day: date) -> None:
    """The rows of a day are gone; the totals stay."""
    connection.execute(_FORGET, {"day": day})


def of_events(
    connection: Connection, brand_id: int, day: date, events: Sequence[str]
) -> dict[tuple[str, int, date], int]:
    """{(event, campaign, day): counter} of spends of events that were made in a flight."""
    found = connection.execute(_OF_EVENTS, {"brand": brand_id, "day": day, "events": list(events)})
    return {(row.event_id, row.campaign_id, row.day): row.flight for row in found}


def of_entries(connection: Connection, shard: int, since: date) -> dict[tuple[int, int, int], int]:
    """{(generation, n, campaign): counter} of a shard's entries of the days from one on."""
    found = connection.execute(_OF_ENTRIES, {"shard": shard, "since": since})
    return {(row.generation, row.n, row.campaign_id): row.flight for row in found}
