"""The tables of changes: operations, what each does to which row, and the audit trail."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, Integer, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from engine.ledger.base import Base

STATES: Final = ("draft", "applying", "done")
ITEM_STATES: Final = ("ready", "skipped", "done")


class Operation(Base):
    """A change by a person or a program, of one row or of many. draft: shown, and nothing is changed yet.

    words: what it does. undo_of: the operation that it takes back. starts, stops: how many campaigns it starts and stops by
    the live figures of its preview, NULL where those were not there. note: a person's reason. same: rows of an imported file
    that differ in nothing.
    """

    __tablename__ = "operation"
    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    kind: Mapped[str]
    actor: Mapped[str]
    words: Mapped[str]
    state: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    begun_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    undo_of: Mapped[int | None] = mapped_column(ForeignKey("operation.id"))
    starts: Mapped[int | None]
    stops: Mapped[int | None]
    note: Mapped[str | None]
    same: Mapped[int | None] = mapped_column(Integer)
    __table_args__ = (
        CheckConstraint(
            "kind IN ('pause', 'resume', 'budget', 'schedule', 'archive', 'unarchive', 'change', 'import', 'undo')",
            "kind",
        ),
        CheckConstraint("state IN ('draft', 'applying', 'done')", "state"),
        CheckConstraint("(begun_at IS NULL) = (state = 'draft') AND (ended_at IS NULL) = (state <> 'done')", "times"),
        Index("ix_operation_open", "id", postgresql_where=text("state <> 'done'")),
        Index("ix_operation_undo_of", "undo_of", postgresql_where=text("undo_of IS NOT NULL")),
        Index("ix_operation_begun_at", "begun_at", "id", postgresql_where=text("begun_at IS NOT NULL")),
        Index("ix_operation_actor", "actor", "begun_at", "id", postgresql_where=text("begun_at IS NOT NULL")),
    )


class OperationItem(Base):
    """One row of an operation. version: the row's when it was looked at; the change is made to no other. changes: {field: [old, new]}.

    why: the reason of one that was skipped. after_version: the row's after the change. line: of an imported file.
    """

    __tablename__ = "operation_item"
    operation_id: Mapped[int] = mapped_column(ForeignKey("operation.id", ondelete="CASCADE"), primary_key=True)
    no: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    entity: Mapped[str]
    entity_id: Mapped[int]
    brand_id: Mapped[int]
    version: Mapped[int]
    changes: Mapped[Any] = mapped_column(JSONB)
    state: Mapped[str]
    why: Mapped[str | None]
    after_version: Mapped[int | None]
    line: Mapped[int | None] = mapped_column(Integer)
    __table_args__ = (
        CheckConstraint("entity IN ('brand', 'campaign')", "entity"),
        CheckConstraint("state IN ('ready', 'skipped', 'done')", "state"),
        CheckConstraint("(after_version IS NOT NULL) = (state = 'done')", "after"),
        CheckConstraint("(why IS NOT NULL) = (state = 'skipped')", "why"),
        Index("ix_operation_item_ready", "operation_id", "no", postgresql_where=text("state = 'ready'")),
        Index("ix_operation_item_brand_id", "brand_id", "operation_id"),
    )


class OperationBrand(Base):
    """A brand of which an operation that has begun has rows; rows: how many were to change, and once it is done how many were."""

    __tablename__ = "operation_brand"
    operation_id: Mapped[int] = mapped_column(ForeignKey("operation.id", ondelete="CASCADE"), primary_key=True)
    brand_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    begun_at: Mapped[datetime]
    rows: Mapped[int] = mapped_column(Integer)
    __table_args__ = (Index("ix_operation_brand_begun_at", "brand_id", "begun_at", "operation_id"),)


class OperationWrong(Base):
    """A line of an imported file that is wrong: in which field, the value as it was written, and what to do."""

    __tablename__ = "operation_wrong"
    operation_id: Mapped[int] = mapped_column(ForeignKey("operation.id", ondelete="CASCADE"), primary_key=True)
    line: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    field: Mapped[str]
    value: Mapped[str]
    why: Mapped[str]


_ALONE: Final = text("operation_id IS NULL")


class CatalogChange(Base):
    """Who changed what in the catalog, one row a field. operation_id: the operation that it is of, where there is one. brand_id: of a
    brand or campaign. A row of the field `note` changes nothing.
    """

    __tablename__ = "catalog_change"
    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=func.now())
    actor: Mapped[str]
    entity: Mapped[str]
    entity_id: Mapped[int]
    field: Mapped[str]
    old: Mapped[str | None]
    new: Mapped[str | None]
    note: Mapped[str | None]
    operation_id: Mapped[int | None]
    brand_id: Mapped[int | None]
    __table_args__ = (
        CheckConstraint("entity IN ('brand', 'campaign', 'user', 'token', 'alert', 'webhook', 'curve')", "entity"),
        Index(None, "entity", "entity_id", "id"),
        Index(None, "operation_id", postgresql_where=text("operation_id IS NOT NULL")),
        Index("ix_catalog_change_at", "at", "id", postgresql_where=_ALONE),
        Index("ix_catalog_change_actor", "actor", "at", "id", postgresql_where=_ALONE),
        Index("ix_catalog_change_brand", "brand_id", "at", "id", postgresql_where=_ALONE),
        Index("ix_catalog_change_notes", "at", "id", postgresql_where=text("field = 'note'")),
    )
