"""The one writer of changes to many rows: preview, apply in chunks, result, undo.

Each row's change is one transaction that notes it too, so a killed process leaves nothing half made and the next one makes the rest.
Redis gets what is committed at the end of each chunk; where that fails, the engine publishes it within a second of Redis' return.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import islice
from typing import Any, Final, Literal

from sqlalchemy import Engine

from engine.domain.ids import brand_of
from engine.domain.operations import (
    ARCHIVED,
    INLINE,
    MOST_ROWS,
    Change,
    Stays,
    Wanted,
    change_of,
    reversed_change,
    wanted_of,
)
from engine.errors import BudgetError, Conflict, InvalidInput
from engine.flows.catalog.publish import Publisher
from engine.flows.catalog.status import StatusWriter
from engine.flows.operations import imports
from engine.flows.operations.effects import effect_of
from engine.job_table import OPERATIONS_LONGEST_S, OPERATIONS_S
from engine.ledger import import_rows, operations, row_values
from engine.ledger.catalog import Catalog
from engine.ledger.changes import Entity
from engine.ledger.database import writing
from engine.ledger.operations import Draft, OperationRecord
from engine.ledger.records import BrandRecord, CampaignRecord, clean_note
from engine.live.admin import LiveRedis

log = logging.getLogger(__name__)

CHUNK: Final = 50
"""Rows that are changed before their brands are published."""
_OF_CAMPAIGNS: Final = ("schedule",)
"""What is done to a brand's campaigns where a brand is selected."""


class Operations:
    """Operations of one installation."""

    def __init__(
        self,
        db: Engine,
        catalog: Catalog,
        live: LiveRedis,
        publisher: Callable[[], Publisher],
        status: Callable[[], StatusWriter],
        free_ids: Callable[[int], None],
    ) -> None:
        """free_ids: ensures that the next ids of a brand's campaigns, or for 0 of brands, are unused in Redis."""
        self._db, self._catalog, self._live = db, catalog, live
        self._publisher, self._status, self._free_ids = publisher, status, free_ids

    def preview(
        self, wanted: Wanted, brand_ids: Collection[int], campaign_ids: Collection[int], actor: str
    ) -> OperationRecord:
        """A draft of what `wanted` does to brands and campaigns; nothing is changed. Raises NotFound, InvalidInput.

        Pausing and resuming a brand is a state of the brand; scheduling one is done to its campaigns.
        """
        rows = self._rows(wanted, brand_ids, campaign_ids)
        if not rows:
            raise InvalidInput("nothing is selected: select a brand or a campaign first", "ids")
        return self.draft(wanted.kind, wanted.words, [_draft(wanted, row) for row in rows], actor)

    def preview_everything(
        self, kind: Literal["pause", "resume"], actor: str, reason: str | None = None
    ) -> OperationRecord:
        """A draft that pauses every brand in use that is not paused, or resumes every one that is; of no row where there is none.
        reason: for the history. Raises InvalidInput for a reason that is too long.
        """
        wanted = wanted_of(kind)
        rows = [brand for brand in self._catalog.brands() if brand.paused == (kind == "resume")]
        drafts = [_draft(wanted, brand) for brand in rows]
        return self.draft(kind, f"{wanted.words} everything", drafts, actor, note=clean_note(reason))

    def draft(self, kind: str, words: str, items: Sequence[Draft], actor: str, **more: Any) -> OperationRecord:
        """A draft of changes that are known row by row. more: as `operations.create` takes it. Raises InvalidInput where they are too many."""
        check_size(len(items))
        ordered = sorted(items, key=lambda item: (item.brand_id, item.entity, item.entity_id))
        effect = effect_of(self._catalog, self._live, ordered)
        with writing(self._db) as connection:
            made = operations.create(connection, kind, actor, words, ordered, effect=effect, **more)
        return operations.one(self._db, made)

    def effect_on_brand(self, brand_id: int, change: Change) -> tuple[int | None, int | None]:
        """How many campaigns a change of a brand's own fields starts and stops; None where the live figures are not there."""
        return effect_of(self._catalog, self._live, [Draft("brand", brand_id, brand_id, 1, change)])

    def draft_import(
        self, data: bytes, actor: str, note: str | None = None, seen: Collection[int] | None = None
    ) -> OperationRecord:
        """A draft of what a file of brands and campaigns changes, for a person who sees these brands; nothing is changed.

        Its wrong lines are kept with it. Raises InvalidInput for what is no such file.
        """
        found = imports.plan(self._db, data, seen)
        words = f"Import of {found.rows:,} {'row' if found.rows == 1 else 'rows'}"
        more = {"note": note, "same": found.same, "wrong": found.wrong}
        return self.draft("import", words, found.drafts, actor, **more)

    def one(self, operation_id: int) -> OperationRecord:
        """An operation by its id. Raises NotFound."""
        return operations.one(self._db, operation_id)

    def of_row(self, row: BrandRecord | CampaignRecord) -> int | None:
        """The operation that made a row what it is now; None where none did."""
        entity, brand_id = _owner(row)
        return operations.of_row(self._db, entity, row.id, brand_id, row.version)

    def begin(self, operation_id: int, actor: str, note: str | None = None) -> OperationRecord:
        """Lets a draft be applied: here at once where it is small, else by a worker. Again changes nothing. note: the reason.

        Raises NotFound, InvalidInput.
        """
        operations.begin(self._db, operation_id, actor, note)
        found = operations.one(self._db, operation_id)
        if found.state == "applying" and found.ready <= INLINE:
            self.apply(operation_id)
            found = operations.one(self._db, operation_id)
        return found

    def apply(self, operation_id: int, should_stop: Callable[[], bool] = lambda: False) -> bool:
        """Makes what is left of an operation that has begun; True where nothing is left. Two processes may share one."""
        found = operations.one(self._db, operation_id)
        actor, note = found.actor, found.note
        while rows := operations.ready(self._db, operation_id, CHUNK):
            for brand_id in sorted(
                {row.brand_id for row in rows if not row.entity_id and (row.brand_id or row.entity == "brand")}
            ):
                self._free_ids(brand_id)
            broken = {row.entity_id for row in rows if row.has_breaker and self._publisher().is_broken(row.entity_id)}
            made = [
                row.no
                for row in rows
                if operations.apply_item(
                    self._db, operation_id, row.no, actor, broken=row.entity_id in broken, note=note
                )
            ]
            self._bring(import_rows.made_brands(self._db, operation_id, made), actor)
            if should_stop():
                return False
            if not made:
                return False  # another process has all of these
        return operations.finish(self._db, operation_id)

    def apply_open(self, stopping: Callable[[], bool], is_waited_for: Callable[[], bool] = lambda: False) -> int:
        """Goes on with every operation that has begun; returns how many are done. Drops drafts that nobody applied.

        stopping: whether to end for now. is_waited_for: whether others wait for this process, which go first after some seconds.
        """
        started, done = time.monotonic(), 0

        def should_stop() -> bool:
            passed = time.monotonic() - started
            return stopping() or passed >= OPERATIONS_LONGEST_S or (passed >= OPERATIONS_S and is_waited_for())

        operations.drop_old_drafts(self._db)
        for operation_id in operations.open_ids(self._db):
            done += self.apply(operation_id, should_stop)
            if should_stop():
                break
        return done

    def undo(self, operation_id: int, actor: str) -> OperationRecord:
        """A draft that takes an operation back. Rows that somebody changed since are skipped, never overwritten.

        Raises NotFound, Conflict for one that is not done yet.
        """
        found = operations.one(self._db, operation_id)
        if found.state == "draft":
            raise Conflict(f"operation {operation_id} was not applied, so there is nothing to take back")
        if found.state == "applying":
            raise Conflict(f"operation {operation_id} is not done yet: take it back when it is")
        with writing(self._db) as connection:
            items = [
                Draft(
                    item.entity,
                    item.entity_id,
                    item.brand_id,
                    item.after_version or 0,
                    change,
                    _why(item.changes, now, item.after_version, last),
                )
                for item, now, last in operations.undoable(connection, operation_id)
                for change in ({ARCHIVED: [False, True]} if not item.version else reversed_change(item.changes),)
            ]
            effect = effect_of(self._catalog, self._live, items)
            words = f"Undo: {found.words}"
            made = operations.create(connection, "undo", actor, words, items, effect=effect, undo_of=operation_id)
        return operations.one(self._db, made)

    def _rows(
        self, wanted: Wanted, brand_ids: Collection[int], campaign_ids: Collection[int]
    ) -> list[BrandRecord | CampaignRecord]:
        check_size(len(brand_ids) + len(campaign_ids))
        ids = set(campaign_ids)
        of_brands = wanted.kind in _OF_CAMPAIGNS
        rows: list[BrandRecord | CampaignRecord] = []
        for brand_id in sorted(set(brand_ids)):
            brand = self._catalog.brand(brand_id)
            if not of_brands:
                rows.append(brand)
        within = set(brand_ids) if of_brands else set()
        wanted_brands = within | {brand_of(campaign_id) for campaign_id in ids}
        if wanted_brands:
            campaigns = self._catalog.campaigns(include_archived=True, within=wanted_brands)
            rows += [row for row in campaigns if row.id in ids or (row.brand_id in within and not row.archived)]
            for missing in islice(sorted(ids - {row.id for row in campaigns}), 1):
                self._catalog.campaign(missing)  # raises NotFound, which names it
        check_size(len(rows))
        return rows

    def _bring(self, brand_ids: Sequence[int], actor: str) -> None:
        """Publishes and writes the statuses. What could not be published is published when Redis is back."""
        try:
            published = self._publisher().publish(brand_ids)
            self._status().refresh(published, actor, rests=False)
        except BudgetError as error:
            log.warning("an operation's changes are kept and not published yet: %s", error)


def check_size(rows: int) -> None:
    """Refuses more rows than an operation may have. Raises InvalidInput."""
    if rows > MOST_ROWS:
        raise InvalidInput(f"{rows} rows are more than the {MOST_ROWS} of one operation: select fewer", "ids")


def _draft(wanted: Wanted, row: BrandRecord | CampaignRecord) -> Draft:
    entity, brand_id = _owner(row)
    values = row_values.values_of(row) | {"reasons": getattr(row, "reasons", ())}
    values["archived"] = row.archived
    try:
        return Draft(entity, row.id, brand_id, row.version, change_of(wanted, entity, values))
    except Stays as why:
        return Draft(entity, row.id, brand_id, row.version, {}, str(why))


def _owner(row: BrandRecord | CampaignRecord) -> tuple[Entity, int]:
    return ("brand", row.id) if isinstance(row, BrandRecord) else ("campaign", row.brand_id)


def _why(change: Iterable[str], now: int | None, after: int | None, last: str | None) -> str | None:
    """Why a row is not taken back; None where it is."""
    if now != after:
        return f"it was changed since{', last by ' + last if last else ''}"
    return None if set(change) - {"breaker"} else "a closed breaker is not opened again"
