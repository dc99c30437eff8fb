"""The feed of what happened: lines of all trails in their order, each operation one line with its first rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, Final, NamedTuple

from sqlalchemy import Engine

from engine.domain.causes import sentence
from engine.domain.operations import Change
from engine.domain.periods import ms_of
from engine.domain.zones import BrandZone
from engine.ledger import activity
from engine.ledger.activity import Cursor, Line, Wanted

FEW: Final = 3
"""Rows of an operation that its line shows."""
_A_READ: Final = 500


@dataclass(frozen=True, slots=True)
class Item:
    """A row of an operation. name: of the brand or campaign today; brand: of its brand."""

    entity: str
    entity_id: int
    name: str | None
    brand: str | None
    changes: Change


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the feed. kind: its source; values: the columns of its trail. items: the first rows of an operation.

    campaigns: changes of status that came together, of one brand and to the same; sentence: what their cause was.
    """

    at: datetime
    kind: str
    id: int
    values: Mapping[str, Any]
    items: Sequence[Item] = ()
    sentence: str = ""
    campaigns: Sequence[str] = ()


class Feed(NamedTuple):
    """A page of the feed, and where the next one begins; None where there is none."""

    entries: list[Entry]
    older: Cursor | None


class Trail(NamedTuple):
    """A line of the feed as a table has it: every field that was changed is one."""

    at: datetime
    kind: str
    actor: str
    operation_id: int | None
    brand_id: int | None
    brand: str | None
    campaign_id: int | None
    campaign: str | None
    what: str
    old: str | None
    new: str | None
    note: str | None


class Activity:
    """The feed of one installation."""

    def __init__(self, db: Engine) -> None:
        self._db = db

    def page(self, wanted: Wanted, limit: int, after: Cursor | None = None) -> Feed:
        """The next lines, newest first."""
        with self._db.connect() as connection:
            lines = activity.page(connection, wanted, limit, after)
            ids = [line.id for line in lines if line.source == "operation"]
            items = activity.items(connection, ids, wanted.brands, FEW)
        entries: list[Entry] = []
        for alike, group in groupby(lines, _alike):
            several = list(group)
            entries.append(_entry(several, items.get(several[0].id, ()) if alike[0] == "operation" else ()))
        return Feed(entries, lines[-1].cursor if len(lines) == limit else None)

    def trail(self, wanted: Wanted) -> Iterator[Trail]:
        """Every line, newest first, read while they are used."""
        after: Cursor | None = None
        while True:
            with self._db.connect() as connection:
                lines = activity.page(connection, wanted, _A_READ, after)
                ids = [line.id for line in lines if line.source == "operation"]
                rows = activity.trail(connection, ids, wanted.brands) if ids else iter(())
                row = next(rows, None)
                for line in lines:
                    if line.source != "operation":
                        yield _trail(line)
                        continue
                    while row is not None and row.operation_id == line.id:
                        yield _of_operation(line, row)
                        row = next(rows, None)
            if len(lines) < _A_READ:
                return
            after = lines[-1].cursor


def _alike(line: Line) -> tuple[Any, ...]:
    """Changes of status that are shown as one line."""
    of = line.values
    if line.source != "status":
        return (line.source, line.id)
    return (line.source, of["brand_id"], of["actor"], tuple(of["reasons"]), line.at.replace(second=0, microsecond=0))


def _entry(lines: Sequence[Line], rows: Sequence[Any]) -> Entry:
    first = lines[0]
    if first.source == "status":
        names = tuple(line.values["campaign"] for line in lines)
        return Entry(first.at, first.source, first.id, first.values, sentence=_sentence(first), campaigns=names)
    items = tuple(Item(row.entity, row.entity_id, row.name, row.brand, row.changes) for row in rows)
    return Entry(first.at, first.source, first.id, first.values, items)


def _sentence(line: Line) -> str:
    """The cause of a change of status in the words of its instant. A schedule may have been changed since, so its next opening is left out."""
    ms = ms_of(line.at)
    zones = BrandZone.parse(line.values["zones"])
    return sentence(tuple(line.values["reasons"]), None, ms, None, zones.local(ms))


def _trail(line: Line) -> Trail:
    of = line.values
    if line.source == "login":
        return Trail(
            line.at, "login", of["actor"], None, None, None, None, None, of["outcome"], None, of["address"], None
        )
    if line.source == "status":
        return Trail(
            line.at, "status", of["actor"], None, of["brand_id"], of["brand"], of["campaign_id"], of["campaign"],
            "status", None, of["status"], ", ".join(of["reasons"]) or None,
        )  # fmt: skip
    of_campaign = of["entity"] == "campaign"
    what = (
        of["field"] if of["brand_id"] is not None else f"{of['entity']} {of['name'] or of['entity_id']}: {of['field']}"
    )
    return Trail(
        line.at, "change", of["actor"], None, of["brand_id"], of["brand"], of["entity_id"] if of_campaign else None,
        of["name"] if of_campaign else None, what, of["old"], of["new"], of["note"],
    )  # fmt: skip


def _of_operation(line: Line, row: Any) -> Trail:
    campaign_id = row.entity_id if row.entity == "campaign" else None
    return Trail(
        line.at, "change", line.values["actor"], line.id, row.brand_id, row.brand, campaign_id, row.campaign, row.field,
        row.old, row.new, row.note,
    )  # fmt: skip
