"""Curves of pacing in the catalog, and the pacing of brands and campaigns as it stands in their plans.

A row of a brand or campaign has what `compiled` made of its pacing, so publish, verify and a rebuild read the row alone. Whoever changes a curve
has each row that uses it compiled again, with a new version. Each function works in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, text

from engine.domain.curves import POINT, Curve, Points
from engine.domain.pacing import ASAP, TRAFFIC, InvalidPacing, Pacing, compiled
from engine.domain.schedule import Schedule
from engine.errors import Conflict, NotFound, shown
from engine.ledger import changes
from engine.ledger.changes import FieldChange
from engine.ledger.records import schedule_of

_READ: Final = text("SELECT weekday, points FROM curve WHERE name = :name ORDER BY weekday")
_NAMES: Final = text("SELECT DISTINCT name FROM curve ORDER BY name")
_DELETE: Final = text("DELETE FROM curve WHERE name = :name")
_INSERT: Final = text("INSERT INTO curve (name, weekday, points) VALUES (:name, :weekday, :points)")
_LOCK: Final = text("SELECT pg_advisory_xact_lock(hashtext('curves'))")
_LOCK_SHARED: Final = text("SELECT pg_advisory_xact_lock_shared(hashtext('curves'))")
_BRANDS: Final = text(
    "SELECT id, name, pacing, catch_up, pace FROM brand WHERE pacing = :mode"
    " AND (id = :brand OR CAST(:brand AS bigint) IS NULL) ORDER BY id"
)
_CAMPAIGNS: Final = text(
    "SELECT id, brand_id, name, pacing, catch_up, pace, schedule::text AS schedule FROM campaign"
    " WHERE pacing = :mode AND (brand_id = :brand OR CAST(:brand AS bigint) IS NULL) ORDER BY id"
)
_SET: Final = {
    table: text(
        f"UPDATE {table} SET pace = :pace, version = version + 1, updated_at = clock_timestamp() WHERE id = :id"
    )
    for table in ("brand", "campaign")
}


class User(NamedTuple):
    """A brand or campaign that a curve paces. entity: `brand` or `campaign`."""

    entity: str
    id: int
    brand_id: int
    name: str


def traffic_name(brand_id: int) -> str:
    """The name of the curve that a brand's log taught."""
    return f"{TRAFFIC}:{brand_id}"


def keep(connection: Connection) -> None:
    """Keeps all curves as they are until the transaction ends. Call it before a row is locked whose plan will have a curve."""
    connection.execute(_LOCK_SHARED)


def names(connection: Connection) -> list[str]:
    """Every curve."""
    return list(connection.execute(_NAMES).scalars())


def points_of(connection: Connection, name: str) -> dict[int, Points]:
    """A curve by weekday (0 is every day). Raises NotFound."""
    found: dict[int, Points] = {
        row.weekday: Curve.parse(row.points).points for row in connection.execute(_READ, {"name": name})
    }
    if not found:
        raise NotFound(f"there is no curve {shown(name)}: `curve create` makes one, `curve list` shows all")
    return found


def parts_of(
    connection: Connection, pacing: Pacing, brand_id: int, daily: int | None, schedule: Schedule | None = None
) -> list[str]:
    """What stands in the plan of a brand or campaign with this daily budget. Raises InvalidPacing, NotFound."""
    if pacing.mode == ASAP:
        return []
    if daily is None:
        raise InvalidPacing(
            f"pacing {shown(pacing.mode)} spreads a daily budget, and there is none: give one, or pacing asap", "pacing"
        )
    name = pacing.curve or (traffic_name(brand_id) if pacing.mode == TRAFFIC else None)
    curves: Mapping[int, Points] = {}
    if name is not None:
        try:
            curves = points_of(connection, name)
        except NotFound:
            do = f"`curve learn {brand_id}` makes it" if pacing.mode == TRAFFIC else "`curve create` makes it"
            raise InvalidPacing(f"pacing {shown(pacing.mode)} has no curve yet: {do}", "pacing") from None
    return list(compiled(pacing, schedule, curves))


def users(connection: Connection, name: str) -> list[User]:
    """What a curve paces."""
    return [user for user, _ in _users(connection, name)]


def put(
    connection: Connection,
    name: str,
    points: Mapping[int, Points],
    actor: str,
    *,
    new: bool = False,
    seen: Mapping[int, Points] | None = None,
) -> list[int]:
    """Makes a curve, or another of that name, by weekday; returns the brands that must be published. new: raises Conflict where
    there is one. seen: raises Conflict where its points are others.
    """
    connection.execute(_LOCK)
    before = _told(connection, name)
    if new and before is not None:
        raise Conflict(f"name {shown(name)} is taken by another curve: change that one, or choose another", "name")
    if seen is not None and points_of(connection, name) != seen:
        raise Conflict(f"curve {shown(name)} was changed since: load it again", "version")
    connection.execute(_DELETE, {"name": name})
    for weekday, given in points.items():
        text_ = "".join(f"{second:05d}{ppm:07d}" for second, ppm in given)
        assert len(text_) % POINT == 0
        connection.execute(_INSERT, {"name": name, "weekday": weekday, "points": text_})
    after = _told(connection, name)
    if after != before:
        changes.write(connection, "curve", actor, [FieldChange(0, "points", before, after)])
    changed: set[int] = set()
    for user, row in _users(connection, name):
        schedule = schedule_of(row.schedule) if user.entity == "campaign" else None
        parts = list(compiled(Pacing(row.pacing, row.catch_up), schedule, points))
        if parts != list(row.pace):
            connection.execute(_SET[user.entity], {"pace": parts, "id": user.id})
            changed.add(user.brand_id)
    return sorted(changed)


def remove(connection: Connection, name: str, actor: str) -> None:
    """Removes a curve. Raises NotFound, Conflict where it paces something."""
    connection.execute(_LOCK)
    points_of(connection, name)
    found = users(connection, name)
    if found:
        of = f"{found[0].entity} {found[0].id}" + (f" and {len(found) - 1} more" if len(found) > 1 else "")
        raise Conflict(f"curve {shown(name)} paces {of}: give them another pacing first", "name")
    before = _told(connection, name)
    connection.execute(_DELETE, {"name": name})
    changes.write(connection, "curve", actor, [FieldChange(0, "points", before, None)])


def _told(connection: Connection, name: str) -> str | None:
    """A curve in one line, as the audit trail has it: its name first; None where there is none."""
    rows = connection.execute(_READ, {"name": name}).all()
    each = [f"{row.weekday or 'every day'}: {row.points}" for row in rows]
    return f"{name} {'; '.join(each)}" if rows else None


def _users(connection: Connection, name: str) -> list[tuple[User, Any]]:
    of_brand = name.removeprefix(f"{TRAFFIC}:") if name.startswith(f"{TRAFFIC}:") else None
    given = {
        "mode": f"custom:{name}" if of_brand is None else TRAFFIC,
        "brand": None if of_brand is None else int(of_brand),
    }
    found: list[tuple[User, Any]] = [
        (User("brand", row.id, row.id, row.name), row) for row in connection.execute(_BRANDS, given)
    ]
    return found + [
        (User("campaign", row.id, row.brand_id, row.name), row) for row in connection.execute(_CAMPAIGNS, given)
    ]
