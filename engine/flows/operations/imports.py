"""What a file of brands and campaigns would change: each line a draft, wrong, or the same as what stands. Nothing is changed here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Engine

from engine.domain import catalog_csv
from engine.domain.catalog_csv import BRAND, CAMPAIGN, Line, Wrong, cells_of
from engine.domain.names import clean_name
from engine.domain.operations import OF_BRAND, Change
from engine.errors import InvalidInput, shown
from engine.ledger import catalog_rows, row_values
from engine.ledger.changes import Entity
from engine.ledger.operations import Draft
from engine.ledger.records import BrandRecord, CampaignRecord

Row = BrandRecord | CampaignRecord
_NEEDS_ALL: Final = "you see some brands only, so leave new ones to somebody who sees all"


class WrongLine(NamedTuple):
    """A line that is left out. value: the cell as it was written."""

    line: int
    field: str
    value: str
    why: str


@dataclass(slots=True)
class Plan:
    """What a file would change. same: lines that differ in nothing. stale rows are drafts with a reason."""

    drafts: list[Draft] = field(default_factory=list)
    wrong: list[WrongLine] = field(default_factory=list)
    same: int = 0

    @property
    def rows(self) -> int:
        return len(self.drafts) + len(self.wrong) + self.same


def table(engine: Engine, within: Collection[int] | None = None) -> Iterator[list[str]]:
    """The rows of the table, without its head; of all brands, or of those `within`."""
    brand: tuple[int, str] = (0, "")
    for row in catalog_rows.in_order(engine, within):
        if isinstance(row, BrandRecord):
            brand = (row.id, row.name)
        kind = BRAND if isinstance(row, BrandRecord) else CAMPAIGN
        yield cells_of(kind, row.id, row.version, brand, row_values.values_of(row))


def plan(engine: Engine, data: bytes, seen: Collection[int] | None = None) -> Plan:
    """What a file would change for a person who sees these brands, None for all. Raises InvalidInput for what is no such file."""
    lines = catalog_csv.lines_of(data)
    with engine.connect() as connection:
        return _Reader(connection, lines, seen).plan()


class _Reader:
    """Compares the lines of a file with the catalog and with each other."""

    def __init__(self, connection: Connection, lines: list[Line], seen: Collection[int] | None) -> None:
        self._connection, self._lines = connection, lines
        self._seen = None if seen is None else frozenset(seen)
        self._out = Plan()
        self._ids: dict[tuple[str, int], int] = {}
        self._taken: dict[tuple[Any, ...], int] = {}
        self._new_brands: dict[str, int] = {}

    def plan(self) -> Plan:
        self._load()
        stale: list[tuple[Draft, int]] = []
        for line in self._lines:
            try:
                draft = self._read(line)
            except Wrong as wrong:
                self._out.wrong.append(WrongLine(line.no, wrong.field, wrong.value, wrong.why))
                continue
            if draft is None:
                self._out.same += 1
            elif draft.why is not None:
                stale.append((draft, len(self._out.drafts)))
                self._out.drafts.append(draft)
            else:
                self._out.drafts.append(draft)
        actors = catalog_rows.last_actors(self._connection, ((draft.entity, draft.entity_id) for draft, _ in stale))
        for draft, place in stale:
            who = actors.get((draft.entity, draft.entity_id))
            self._out.drafts[place] = draft._replace(
                why=f"{draft.why}{f', last by {who}' if who else ''}: export it again"
            )
        self._refuse_taken()
        return self._out

    def _load(self) -> None:
        """Reads the rows that the lines name, at once."""
        numbers: dict[str, set[int]] = {BRAND: set(), CAMPAIGN: set()}
        named: set[str] = set()
        for line in self._lines:
            for column, kind in (("id", line.cells.get("kind", "").lower()), ("brand_id", BRAND)):
                text = line.cells.get(column, "")
                if kind in numbers and text.isascii() and text.isdigit() and len(text) < 17:
                    numbers[kind].add(int(text))
            if "id" not in line.cells:
                named.add(line.cells.get("brand", ""))
                if line.cells.get("kind", "").lower() == BRAND:
                    self._new_brands.setdefault(_folded(line.cells.get("name", "")), line.no)
        self._brands = catalog_rows.brands_of_ids(self._connection, numbers[BRAND])
        self._campaigns = catalog_rows.campaigns_of_ids(self._connection, numbers[CAMPAIGN])
        self._named = catalog_rows.brands_named(self._connection, {_folded(name) for name in named} - {""})
        self._brands |= catalog_rows.brands_of_ids(self._connection, set(self._named.values()) - self._brands.keys())

    def _read(self, line: Line) -> Draft | None:
        """The draft of a line; None where it changes nothing. Raises Wrong."""
        if line.too_many:
            raise Wrong("kind", line.too_many, "the line has more cells than the head: take them out")
        kind, number = line.kind, line.number("id")
        if number is None:
            return self._new(line, kind)
        if (before := self._ids.setdefault((kind, number), line.no)) != line.no:
            raise Wrong("id", str(number), f"line {before} has this {kind} already: keep one of them")
        row = self._row(kind, number)
        values, change = row_values.values_of(row), {}
        for name, new in line.values().items():
            if new != values[name]:
                change[name] = [values[name], new]
        version = line.number("version")
        if version is None:
            raise Wrong("version", "", "it is empty: export the table again, or take the version from there")
        if kind == CAMPAIGN and line.number("brand_id") not in (None, row.brand_id):  # type: ignore[union-attr]  # a campaign has one
            raise Wrong("brand_id", line.cells["brand_id"], "a campaign stays with its brand: make a new one there")
        if not change:
            return None
        entity: Entity = "brand" if kind == BRAND else "campaign"
        of = Draft(
            entity, row.id, row.id if isinstance(row, BrandRecord) else row.brand_id, version, change, line=line.no
        )
        if row.archived:
            return of._replace(why="it was archived since")
        if row.version != version:
            return of._replace(why=f"it was changed since the export (version {row.version}, yours {version})")
        return of

    def _row(self, kind: str, number: int) -> Row:
        row: Row | None = self._brands.get(number) if kind == BRAND else self._campaigns.get(number)
        if row is not None and self._sees(row.id if isinstance(row, BrandRecord) else row.brand_id):
            return row
        raise Wrong("id", str(number), f"there is no {kind} {number}: leave the id empty for a new one")

    def _sees(self, brand_id: int) -> bool:
        return self._seen is None or brand_id in self._seen

    def _new(self, line: Line, kind: str) -> Draft:
        """A new brand or campaign. Raises Wrong."""
        if "version" in line.cells:
            raise Wrong("id", "", "it is empty and the version is not: give the id, or empty both for a new row")
        values = line.values()
        if "name" not in values:
            raise Wrong("name", "", f"a new {kind} needs a name")
        change: Change = {name: [None, value] for name, value in values.items()}
        if kind == BRAND:
            if self._seen is not None:
                raise Wrong("id", "", _NEEDS_ALL)
            return Draft("brand", 0, 0, 0, change, line=line.no)
        brand_id = self._brand(line)
        if not brand_id:
            change[OF_BRAND] = [None, _folded(line.cells["brand"])]
        return Draft("campaign", 0, brand_id, 0, change, line=line.no)

    def _brand(self, line: Line) -> int:
        """The brand of a new campaign; 0 for one that is new in this file. Raises Wrong."""
        number, name = line.number("brand_id"), line.cells.get("brand", "")
        if number is None and not name:
            raise Wrong("brand_id", "", "a new campaign needs its brand: give brand_id, or brand with its name")
        found = self._brands.get(number if number is not None else self._named.get(_folded(name), 0))
        if found is not None and self._sees(found.id):
            if found.archived:
                raise Wrong("brand_id", str(found.id), "the brand is archived: bring it back first")
            return found.id
        if number is None and self._seen is None and _folded(name) in self._new_brands:
            return 0
        column, value = ("brand_id", str(number)) if number is not None else ("brand", name)
        raise Wrong(column, value, f"there is no brand {shown(number if number is not None else name)}")

    def _refuse_taken(self) -> None:
        """Moves drafts to the wrong lines whose name or external id is taken, by another row or by an earlier line."""
        drafts = [draft for draft in self._out.drafts if draft.why is None]
        moved = {(draft.entity, draft.entity_id) for draft in drafts}
        in_use = self._in_use(drafts)
        taken: dict[tuple[Any, ...], int] = {}
        wrong: dict[int, WrongLine] = {}
        for draft in drafts:
            for key, column, value in _unique(draft):
                other, earlier = in_use.get(key), taken.setdefault(key, draft.line or 0)
                if earlier != draft.line:
                    why = f"line {earlier} gives it too: each needs its own"
                elif other is not None and other != draft.entity_id and (draft.entity, other) not in moved:
                    why = f"another {draft.entity} has it: choose another"
                else:
                    continue
                wrong.setdefault(draft.line or 0, WrongLine(draft.line or 0, column, value, why))
        self._out.drafts = [draft for draft in self._out.drafts if draft.line not in wrong]
        self._out.wrong = sorted([*self._out.wrong, *wrong.values()])

    def _in_use(self, drafts: Iterable[Draft]) -> dict[tuple[Any, ...], int]:
        """{what must be unique: the id of the row that has it}, of all that the drafts want."""
        keys = [key for draft in drafts for key, _, _ in _unique(draft)]
        out: dict[tuple[Any, ...], int] = {}
        for entity in ("brand", "campaign"):
            ids = [key[2] for key in keys if key[:2] == (entity, "external_id")]
            for value, id_ in catalog_rows.with_external_ids(self._connection, entity, ids).items() if ids else ():
                out[entity, "external_id", value] = id_
        if names := [key[2] for key in keys if key[:2] == ("brand", "name")]:
            for name, id_ in catalog_rows.brands_named(self._connection, names).items():
                out["brand", "name", name] = id_
        if own := [key for key in keys if key[:2] == ("campaign", "name")]:
            of, named = {key[3] for key in own if isinstance(key[3], int)}, {key[2] for key in own}
            for (brand_id, name), id_ in catalog_rows.campaigns_named(self._connection, of, named).items():
                out["campaign", "name", name, brand_id] = id_
        return out


def _unique(draft: Draft) -> Iterator[tuple[tuple[Any, ...], str, str]]:
    """What a draft wants that no other row may have: its key, column and value."""
    change = draft.change
    if (external_id := change.get("external_id", [None, None])[1]) is not None:
        yield (draft.entity, "external_id", external_id), "external_id", external_id
    if "name" in change:
        name = change["name"][1]
        of = draft.brand_id or change.get(OF_BRAND, [None, 0])[1]
        key: tuple[Any, ...] = ("brand", "name", name) if draft.entity == "brand" else ("campaign", "name", name, of)
        yield key, "name", name


def _folded(name: str) -> str:
    """A name as the catalog writes it; as it is where it is none."""
    fold: Callable[[str], str] = clean_name
    try:
        return fold(name)
    except InvalidInput:
        return name
