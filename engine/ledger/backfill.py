"""Backfill: spends of closed days that are added to the ledger alone.

The lines of a file are staged in a temporary table by COPY, checked there with a few statements, and written, all in the
caller's transaction: a file is written whole or not at all, and no process holds it in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, text

from engine.domain.ids import SHARDS
from engine.domain.periods import ms_of
from engine.domain.zones import BrandZone
from engine.ledger.database import reaching
from engine.ledger.locks import Lock, take

_STAGED: Final = text(
    "CREATE TEMPORARY TABLE staged (line bigint, occurred_at timestamptz, event_id text, brand text, campaign text,"
    " amount_micros bigint) ON COMMIT DROP"
)
_STAGED_PAIRS: Final = text(
    "CREATE TEMPORARY TABLE staged_pair (brand text, campaign text, brand_id bigint, campaign_id bigint, closed date, born date)"
    " ON COMMIT DROP"
)
_STAGED_ZONES: Final = text(
    "CREATE TEMPORARY TABLE staged_zone (brand_id bigint, since timestamptz, until timestamptz, ahead interval, zone text)"
    " ON COMMIT DROP"
)
_COPY: Final = "COPY staged FROM STDIN (FORMAT csv)"
_PAIRS: Final = text(
    # A name of an archived brand may be used again: the one that is not archived counts, else the last that was.
    "INSERT INTO staged_pair SELECT p.brand, p.campaign, b.id, c.id, (SELECT max(starts_on) FROM shard_close"
    " WHERE period = 'day' AND shard = mod(b.id, :shards)) FROM (SELECT DISTINCT brand, campaign FROM staged) AS p"
    " LEFT JOIN LATERAL (SELECT id FROM brand WHERE name = p.brand ORDER BY archived_at DESC NULLS FIRST LIMIT 1) AS b ON true"
    " LEFT JOIN LATERAL (SELECT id FROM campaign WHERE brand_id = b.id AND name = p.campaign"
    " ORDER BY archived_at DESC NULLS FIRST LIMIT 1) AS c ON true"
)
_SPAN: Final = text("SELECT min(occurred_at) AS first, max(occurred_at) AS last FROM staged")
_ZONED: Final = text(
    "SELECT id, zone_steps, created_at FROM brand WHERE cardinality(zone_steps) > 0"
    " AND id IN (SELECT brand_id FROM staged_pair) ORDER BY id"
)
_ZONES: Final = text(
    "INSERT INTO staged_zone SELECT brand_id, to_timestamp(since / 1000.0), to_timestamp(until / 1000.0),"
    " ahead * interval '1 ms', zone FROM unnest(CAST(:brands AS bigint[]), CAST(:since AS bigint[]),"
    " CAST(:until AS bigint[]), CAST(:ahead AS bigint[]), CAST(:zones AS text[])) AS given(brand_id, since, until, ahead, zone)"
)
_BORN: Final = text(
    "UPDATE staged_pair AS p SET born = given.born FROM unnest(CAST(:brands AS bigint[]), CAST(:born AS date[]))"
    " AS given(id, born) WHERE p.brand_id = given.id"
)
# A brand's own total closes its day, which may be before the shard's. A shard's day may have been closed before a brand was made that
# still has it.
_CLOSED: Final = text(
    "UPDATE staged_pair AS p SET closed = greatest(CASE WHEN closed >= born THEN born - 1 ELSE closed END,"
    " (SELECT max(starts_on) FROM period_total WHERE brand_id = p.brand_id AND period = 'day'))"
)
_LINES: Final = (
    "SELECT s.line, s.occurred_at, ((s.occurred_at AT TIME ZONE 'UTC') + coalesce(z.ahead, interval '0'))::date AS day, z.zone, s.event_id,"
    " s.amount_micros, p.* FROM staged AS s JOIN staged_pair AS p ON p.brand = s.brand AND p.campaign = s.campaign"
    " LEFT JOIN staged_zone AS z ON z.brand_id = p.brand_id AND s.occurred_at >= z.since AND s.occurred_at < z.until"
)
_UNFIT: Final = text(
    "SELECT line, CASE WHEN brand_id IS NULL THEN 'brand' WHEN campaign_id IS NULL THEN 'campaign' ELSE 'at' END AS field,"
    " CASE WHEN brand_id IS NULL THEN format('brand \"%s\" is not in the catalog: create it, or correct its name', brand)"
    ' WHEN campaign_id IS NULL THEN format(\'campaign "%s" is not one of brand "%s": create it, or correct its name\', campaign, brand)'
    " ELSE format('at %s is of %s%s, which is not closed here: record its spends, or import them once it is', to_char(occurred_at AT TIME ZONE 'UTC',"
    " 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), day, ' ' || zone) END AS why"
    f" FROM ({_LINES}) AS l WHERE campaign_id IS NULL OR closed IS NULL OR day > closed ORDER BY line"
)
# Where an event id is known: in an earlier line, in an earlier file, or in the log of that day or one beside it.
_KNOWN: Final = (
    "CREATE TEMPORARY TABLE staged_known ON COMMIT DROP AS"
    f" WITH lines AS MATERIALIZED ({_LINES} WHERE s.event_id IS NOT NULL AND p.campaign_id IS NOT NULL),"
    " known AS (SELECT l.line, f.campaign_id, f.amount_micros, f.place FROM lines AS l JOIN"
    " (SELECT brand_id, event_id, campaign_id, amount_micros, day, line, 'in line ' || line AS place FROM"
    " (SELECT *, row_number() OVER (PARTITION BY brand_id, event_id ORDER BY line) AS nth FROM lines) AS own WHERE nth = 1) AS f"
    " ON f.brand_id = l.brand_id AND f.event_id = l.event_id AND f.line < l.line"
    " UNION ALL SELECT l.line, b.campaign_id, b.amount_micros, 'in an earlier file' FROM lines AS l"
    " JOIN backfill AS b ON b.brand_id = l.brand_id AND b.event_id = l.event_id"
    " UNION ALL SELECT l.line, g.campaign_id, g.amount_micros, 'by a bidder' FROM lines AS l JOIN spend AS g"
    " ON g.brand_id = l.brand_id AND g.event_id = l.event_id AND g.amount_micros > 0 AND g.day BETWEEN l.day - 1 AND l.day + 1"
    " WHERE g.day BETWEEN (SELECT min(day) - 1 FROM lines) AND (SELECT max(day) + 1 FROM lines))"
    " SELECT DISTINCT ON (line) k.line, l.event_id, k.place, (k.campaign_id, k.amount_micros) = (l.campaign_id, l.amount_micros) AS same"
    " FROM known AS k JOIN lines AS l USING (line) ORDER BY line, same, place"
)
_CONFLICTS: Final = text("SELECT line, event_id, place FROM staged_known WHERE NOT same ORDER BY line")
_FILE: Final = text(
    "INSERT INTO backfill_file (digest, name, rows, micros, actor) VALUES (:digest, :name, 0, 0, :actor)"
    " ON CONFLICT (digest) DO NOTHING RETURNING id"
)
_WRITE: Final = text(
    "WITH written AS (INSERT INTO backfill (file_id, line, day, brand_id, campaign_id, amount_micros, event_id, occurred_at)"
    f" SELECT :file, line, day, brand_id, campaign_id, amount_micros, event_id, occurred_at FROM ({_LINES}) AS l"
    " WHERE NOT EXISTS (SELECT FROM staged_known AS k WHERE k.line = l.line) ORDER BY line"
    " RETURNING campaign_id, day, brand_id, amount_micros),"
    " sums AS (INSERT INTO backfill_day (campaign_id, day, brand_id, spend_micros, spends)"
    " SELECT campaign_id, day, brand_id, sum(amount_micros)::bigint, count(*) FROM written GROUP BY 1, 2, 3 ORDER BY 1, 2"
    " ON CONFLICT (campaign_id, day) DO UPDATE SET spend_micros = backfill_day.spend_micros + excluded.spend_micros,"
    " spends = backfill_day.spends + excluded.spends)"
    " UPDATE backfill_file SET (rows, micros) = (SELECT count(*), coalesce(sum(amount_micros), 0) FROM written)"
    " WHERE id = :file"
)
_WRITTEN: Final = text("SELECT rows, micros FROM backfill_file WHERE id = :file")
_DUPLICATES: Final = text("SELECT count(*) FROM staged_known")


class StagedLine(NamedTuple):
    """A line of a file that reads. occurred_at: aware; amount in micros; brand and campaign by name."""

    line: int
    occurred_at: datetime
    event_id: str | None
    brand: str
    campaign: str
    amount_micros: int


class BadLine(NamedTuple):
    """A line that cannot be backfilled. field: of the line; why: with its value, and what to do."""

    line: int
    field: str
    why: str


class Written(NamedTuple):
    """What was written. duplicate: lines whose event id was counted before, with the same campaign and amount."""

    rows: int
    micros: int
    duplicate: int


def stage(connection: Connection, lines: Iterable[StagedLine]) -> None:
    """Copies lines to PostgreSQL while they are read, with the lock of backfills. Raises ServerAway, LockHeld."""
    take(connection, Lock.BACKFILL)
    connection.execute(_STAGED)
    connection.execute(_STAGED_PAIRS)
    connection.execute(_STAGED_ZONES)
    raw: Any = connection.connection.driver_connection
    with reaching(connection), raw.cursor() as cursor:
        cursor.copy_expert(_COPY, _Stream(lines))
    connection.execute(_PAIRS, {"shards": SHARDS})
    _stage_zones(connection)
    connection.execute(_CLOSED)


def _stage_zones(connection: Connection) -> None:
    """Stages which offset holds when for the lines of brands with time zones, and the days on which these brands were made."""
    span = connection.execute(_SPAN).one()
    if span.first is None:
        return
    stretches: list[tuple[int, int, int, int, str]] = []
    born: dict[int, date] = {}
    for row in connection.execute(_ZONED):
        zones = BrandZone.parse(row.zone_steps)
        born[row.id] = zones.clock.date_of(ms_of(row.created_at))
        stretches += (
            (row.id, since, until, offset, zones.label(since))
            for since, until, offset in zones.stretches(ms_of(span.first), ms_of(span.last) + 1)
        )
    if born:
        names = ("brands", "since", "until", "ahead", "zones")
        connection.execute(_ZONES, dict(zip(names, map(list, zip(*stretches, strict=True)), strict=True)))
        connection.execute(_BORN, {"brands": list(born), "born": list(born.values())})


def bad_lines(connection: Connection) -> Iterator[BadLine]:
    """The staged lines that cannot be backfilled: of an unknown brand or campaign or a day that is not closed; or, where
    there are none of these, with an event id that was counted with another campaign or amount.
    """
    found = False
    for row in connection.execute(_UNFIT):
        found = True
        yield BadLine(row.line, row.field, row.why)
    if found:
        return
    connection.execute(text(_KNOWN))
    for row in connection.execute(_CONFLICTS):
        why = f"event_id {row.event_id} was counted {row.place} with another campaign or amount"
        yield BadLine(row.line, "event_id", why)


def write(connection: Connection, digest: str, name: str, actor: str) -> Written | None:
    """Writes the staged lines, of which none is bad; None where a file with the same spends was written before."""
    file_id = connection.execute(_FILE, {"digest": digest, "name": name, "actor": actor}).scalar_one_or_none()
    if file_id is None:
        return None
    connection.execute(_WRITE, {"file": file_id})
    rows, micros = connection.execute(_WRITTEN, {"file": file_id}).one()
    return Written(rows, micros, connection.execute(_DUPLICATES).scalar_one())


class _Stream:
    """Lines as a file that COPY reads."""

    def __init__(self, lines: Iterable[StagedLine]) -> None:
        self._lines = iter(lines)

    def read(self, size: int) -> str:
        """About so many characters; none at the end."""
        parts: list[str] = []
        for line in self._lines:
            parts.append(_csv(line))
            size -= len(parts[-1])
            if size <= 0:
                break
        return "".join(parts)


def _csv(line: StagedLine) -> str:
    event = "" if line.event_id is None else f'"{line.event_id}"'
    brand, campaign = (name.replace('"', '""') for name in (line.brand, line.campaign))
    return f'{line.line},{line.occurred_at.isoformat()},{event},"{brand}","{campaign}",{line.amount_micros}\n'
