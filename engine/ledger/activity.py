"""What happened, from four trails as one: operations, changes that are of none, changes of status, and logins; newest first, page by page.

A page goes on after a `Cursor`, so the last page costs what the first one does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, text

SOURCES: Final = ("operation", "change", "status", "login")
"""Of one instant their lines come in this order."""
_NAMES: Final = (
    " LEFT JOIN brand ON brand.id = {brand} LEFT JOIN campaign ON campaign.id = {campaign}"
    " LEFT JOIN app_user ON found.entity = 'user' AND app_user.id = found.entity_id"
    " LEFT JOIN api_token ON found.entity = 'token' AND api_token.id = found.entity_id"
    " LEFT JOIN webhook ON found.entity = 'webhook' AND webhook.id = found.entity_id"
)
_CHANGES: Final = (
    "SELECT found.id, found.at, found.actor, found.entity, found.entity_id, found.brand_id, brand.name AS brand,"
    " coalesce(campaign.name, CASE found.entity WHEN 'brand' THEN brand.name END, app_user.name, api_token.name, webhook.name,"
    " CASE found.entity WHEN 'curve' THEN split_part(coalesce(found.new, found.old), ' ', 1) END) AS name,"
    " found.field, found.old, found.new, found.note FROM ({inner}) AS found"
    + _NAMES.format(brand="found.brand_id", campaign="CASE found.entity WHEN 'campaign' THEN found.entity_id END")
    + " ORDER BY found.at DESC, found.id DESC"
)
_STATUSES: Final = (
    "SELECT found.id, found.at, found.actor, found.campaign_id, campaign.name AS campaign, brand.id AS brand_id, brand.name AS brand,"
    " found.status, found.reasons, brand.zone_steps AS zones FROM ({inner}) AS found"
    " JOIN campaign ON campaign.id = found.campaign_id JOIN brand ON brand.id = campaign.brand_id"
    " ORDER BY found.at DESC, found.id DESC"
)
_OPERATIONS: Final = (
    "SELECT o.id, o.begun_at AS at, o.kind, o.actor, o.words, o.note, o.state, o.undo_of,"
    " (SELECT max(u.id) FROM operation AS u WHERE u.undo_of = o.id AND u.state <> 'draft') AS undone_by,"
    " (SELECT coalesce(sum(b.rows), 0)::bigint FROM operation_brand AS b WHERE b.operation_id = o.id{shown}) AS rows,"
    " NOT EXISTS (SELECT FROM operation_brand AS b WHERE b.operation_id = o.id AND NOT b.brand_id = ANY(CAST(:within AS bigint[]))) AS whole"
    " FROM ({inner}) AS found JOIN operation AS o ON o.id = found.id ORDER BY found.at DESC, found.id DESC"
)
_A_READ: Final = 1000
_OF_THESE: Final = " AND found.brand_id = ANY(CAST(:brands AS bigint[]))"
_OF_SHOWN: Final = " AND b.brand_id = ANY(CAST(:brands AS bigint[]))"
_ITEMS: Final = (
    "SELECT i.operation_id, i.entity, i.entity_id, i.brand_id, i.changes, coalesce(campaign.name, brand.name) AS name, brand.name AS brand"
    " FROM unnest(CAST(:ids AS bigint[])) AS wanted(id), LATERAL ({inner}) AS i"
    " LEFT JOIN brand ON brand.id = i.brand_id LEFT JOIN campaign ON i.entity = 'campaign' AND campaign.id = i.entity_id"
    " ORDER BY i.operation_id, i.no"
)
_ANY_ITEMS: Final = "SELECT * FROM operation_item AS every WHERE every.operation_id = wanted.id AND every.state <> 'skipped' ORDER BY every.no LIMIT :few"
_OWN_ITEMS: Final = (
    "SELECT own.* FROM operation_brand AS b, LATERAL (SELECT * FROM operation_item AS every WHERE every.brand_id = b.brand_id"
    " AND every.operation_id = b.operation_id AND every.state <> 'skipped' ORDER BY every.no LIMIT :few) AS own"
    " WHERE b.operation_id = wanted.id AND b.brand_id = ANY(CAST(:brands AS bigint[])) ORDER BY own.no LIMIT :few"
)


class Cursor(NamedTuple):
    """The last line of a page. source: its place in SOURCES."""

    at: datetime
    source: int
    id: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for; None and empty are no condition. since is included, until is not.

    sources: of which trails. only: of changes, `note` or `people` (users and tokens). within: the brands that a person sees.
    people: whether he may see users, tokens and logins.
    """

    sources: tuple[str, ...] = SOURCES
    only: str | None = None
    actor: str | None = None
    brand_id: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    within: Collection[int] | None = None
    people: bool = True

    @property
    def brands(self) -> list[int] | None:
        """The brands that lines are of; None for every one."""
        if self.brand_id is None:
            return None if self.within is None else sorted(self.within)
        return [self.brand_id] if self.within is None or self.brand_id in self.within else []


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the feed. values: the columns of its trail."""

    at: datetime
    source: str
    id: int
    values: Mapping[str, Any]

    @property
    def cursor(self) -> Cursor:
        return Cursor(self.at, SOURCES.index(self.source), self.id)


def page(connection: Connection, wanted: Wanted, limit: int, after: Cursor | None = None) -> list[Line]:
    """The next lines, at most so many; those after a line where one is given."""
    found: list[Line] = []
    for place, source in enumerate(SOURCES):
        if source in wanted.sources and (source != "login" or (wanted.people and wanted.brand_id is None)):
            conditions, given = _place(wanted, place, after)
            given["limit"] = limit
            rows = connection.execute(text(_READ[source](wanted, conditions)), given).mappings()
            found += [Line(row["at"], source, row["id"], dict(row)) for row in rows]
    found.sort(key=lambda line: (line.at, -SOURCES.index(line.source), line.id), reverse=True)
    return found[:limit]


def items(connection: Connection, operation_ids: list[int], brands: list[int] | None, few: int) -> dict[int, list[Any]]:
    """{operation id: its first rows with their names}; of these brands alone, where they are given."""
    if not operation_ids:
        return {}
    inner = _ANY_ITEMS if brands is None else _OWN_ITEMS
    given = {"ids": operation_ids, "brands": brands or [], "few": few}
    out: dict[int, list[Any]] = {}
    for row in connection.execute(text(_ITEMS.format(inner=inner)), given):
        out.setdefault(row.operation_id, []).append(row)
    return out


def trail(connection: Connection, operation_ids: list[int], brands: list[int] | None) -> Iterator[Any]:
    """Every changed field of operations, in the order of their ids as given, read while they are used; of these brands alone, where given."""
    query = (
        "SELECT found.operation_id, found.entity, found.entity_id, found.brand_id, brand.name AS brand, campaign.name AS campaign,"
        " found.field, found.old, found.new, found.note FROM unnest(CAST(:ids AS bigint[])) WITH ORDINALITY AS wanted(id, place)"
        f" JOIN catalog_change AS found ON found.operation_id = wanted.id{'' if brands is None else _OF_THESE}"
        " LEFT JOIN brand ON brand.id = found.brand_id"
        " LEFT JOIN campaign ON found.entity = 'campaign' AND campaign.id = found.entity_id ORDER BY wanted.place, found.id"
    )
    given = {"ids": operation_ids, "brands": brands or []}
    yield from connection.execute(text(query).execution_options(yield_per=_A_READ), given)


def _place(wanted: Wanted, place: int, after: Cursor | None) -> tuple[dict[str, str], dict[str, Any]]:
    """The conditions on time and on who, with `{at}`, `{id}` and `{who}` for the columns; and all values."""
    given: dict[str, Any] = {
        "actor": wanted.actor, "since": wanted.since, "until": wanted.until, "brands": wanted.brands or [],
        "within": None if wanted.within is None else sorted(wanted.within),
    }  # fmt: skip
    conditions = {}
    if wanted.actor is not None:
        conditions["who"] = "{who} = :actor"
    if wanted.since is not None:
        conditions["since"] = "{at} >= :since"
    if wanted.until is not None:
        conditions["until"] = "{at} < :until"
    if after is not None:
        given |= {"after_at": after.at, "after_id": after.id}
        if place == after.source:
            conditions["after"] = "({at}, {id}) < (:after_at, :after_id)"
        else:
            conditions["after"] = "{at} <= :after_at" if place > after.source else "{at} < :after_at"
    return conditions, given


def _where(conditions: Mapping[str, str], more: Collection[str] = (), **columns: str) -> str:
    return " AND ".join([*(each.format(**columns) for each in conditions.values()), *more]) or "true"


def _newest(table: str, where: str, wanted: Wanted, brand: str) -> str:
    """The newest rows of a table, or of each of several brands, whose few newest come off an index."""
    ordered = "ORDER BY at DESC, id DESC LIMIT :limit"
    if wanted.brands is None:
        return f"SELECT * FROM {table} WHERE {where} {ordered}"
    if wanted.actor is not None:
        # Brand by brand, the rows of all others would be read too: PostgreSQL chooses between the person's and the brands'.
        return f"SELECT * FROM {table} WHERE {brand} = ANY(CAST(:brands AS bigint[])) AND {where} {ordered}"
    return (
        f"SELECT own.* FROM unnest(CAST(:brands AS bigint[])) AS seen(brand),"
        f" LATERAL (SELECT * FROM {table} WHERE {brand} = seen.brand AND {where} {ordered}) AS own {ordered}"
    )


def _changes(wanted: Wanted, conditions: Mapping[str, str]) -> str:
    more = ["operation_id IS NULL"]
    if wanted.only == "note":
        more.append("field = 'note'")
    if wanted.only == "people":
        more.append("brand_id IS NULL")
    if not wanted.people:
        more.append("brand_id IS NOT NULL")
    where = _where(conditions, more, at="at", id="id", who="actor")
    return _CHANGES.format(inner=_newest("catalog_change", where, wanted, "brand_id"))


def _statuses(wanted: Wanted, conditions: Mapping[str, str]) -> str:
    where = _where(conditions, at="at", id="id", who="actor")
    return _STATUSES.format(inner=_newest("status_change", where, wanted, "(campaign_id / 65536)"))


def _logins(wanted: Wanted, conditions: Mapping[str, str]) -> str:
    where = _where(conditions, at="at", id="id", who="name")
    return f"SELECT id, at, name AS actor, address, outcome, user_id FROM login_event WHERE {where} ORDER BY at DESC, id DESC LIMIT :limit"


def _operations(wanted: Wanted, conditions: Mapping[str, str]) -> str:
    if wanted.brands is None:
        where = _where(conditions, ["begun_at IS NOT NULL"], at="begun_at", id="id", who="actor")
        inner = f"SELECT id, begun_at AS at FROM operation WHERE {where} ORDER BY begun_at DESC, id DESC LIMIT :limit"
        return _OPERATIONS.format(inner=inner, shown="")
    if wanted.actor is not None:
        more = [
            "o.begun_at IS NOT NULL",
            "EXISTS (SELECT FROM operation_brand AS b WHERE b.operation_id = o.id AND b.brand_id = ANY(CAST(:brands AS bigint[])))",
        ]
        where = _where(conditions, more, at="o.begun_at", id="o.id", who="o.actor")
        inner = f"SELECT o.id, o.begun_at AS at FROM operation AS o WHERE {where} ORDER BY o.begun_at DESC, o.id DESC LIMIT :limit"
        return _OPERATIONS.format(inner=inner, shown=_OF_SHOWN)
    where = _where(conditions, at="b.begun_at", id="b.operation_id", who="o.actor")
    inner = (
        "SELECT DISTINCT own.id, own.at FROM unnest(CAST(:brands AS bigint[])) AS seen(brand), LATERAL"
        " (SELECT b.operation_id AS id, b.begun_at AS at FROM operation_brand AS b JOIN operation AS o ON o.id = b.operation_id"
        f" WHERE b.brand_id = seen.brand AND {where} ORDER BY b.begun_at DESC, b.operation_id DESC LIMIT :limit) AS own"
        " ORDER BY own.at DESC, own.id DESC LIMIT :limit"
    )
    return _OPERATIONS.format(inner=inner, shown=_OF_SHOWN)


_READ: Final = {"operation": _operations, "change": _changes, "status": _statuses, "login": _logins}
