"""The base of every table of the ledger: names of constraints, and the column type of each Python type."""

from __future__ import annotations

import uuid
from datetime import date, datetime
from typing import Any, ClassVar, Final

from sqlalchemy import ARRAY, BigInteger, Boolean, Date, DateTime, Index, MetaData, Text, Uuid
from sqlalchemy.orm import DeclarativeBase

NAMING: Final = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        int: BigInteger,
        str: Text,
        datetime: DateTime(timezone=True),
        date: Date,
        list[str]: ARRAY(Text),
        uuid.UUID: Uuid,
        bool: Boolean,
    }


def bloom(column: str) -> Index:
    """An index of a text column whose values come at random: a bloom filter for each 256 kB of rows. Make one for each use."""
    return Index(
        None,
        column,
        postgresql_using="brin",
        postgresql_ops={column: "text_bloom_ops (n_distinct_per_range = 2000)"},
        postgresql_with={"pages_per_range": 32, "autosummarize": "on"},
    )
