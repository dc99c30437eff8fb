"""The table of packed rows: a journal entry's spends as it wrote them, in one row. `models.py` brings it along.

The view `spend` has every spend of both forms as a row of `spend_log`; `spends_since` and `spends_of` read it by time and by brand.
Migration 0010 has their text.
"""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import ARRAY, BigInteger, CheckConstraint, Index, Integer, LargeBinary, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from engine.ledger.base import Base


class SpendPack(Base):
    """Spends of one shard in one row. Either a packed call (`log`, with `events` where each has an id, of one entry n), or single spends
    (`singles`) of several entries, from n to last_n. Partitioned by day, as `spend_log`.

    campaigns: each once; of a packed call in the order of their places in its log. counts: how many spends each has. singles: a line an entry, `ms n request_id spends`, where ms and
    n count from the row's own, and spends are the entry's text.
    """

    __tablename__ = "spend_pack"
    day: Mapped[date] = mapped_column(primary_key=True)
    shard: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    generation: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    n: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    last_n: Mapped[int]
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]
    spends: Mapped[int] = mapped_column(Integer)
    kind: Mapped[str]
    hold_id: Mapped[str | None]
    request_id: Mapped[str | None]
    brands: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    campaigns: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    counts: Mapped[list[int]] = mapped_column(ARRAY(Integer))
    log: Mapped[bytes | None] = mapped_column(LargeBinary)
    events: Mapped[str | None]
    singles: Mapped[str | None]
    __table_args__ = (
        CheckConstraint("shard BETWEEN 0 AND 63 AND generation > 0 AND n > 0 AND n <= last_n", "place"),
        CheckConstraint(
            "abs(day - (first_at AT TIME ZONE 'UTC')::date) <= 1 AND abs(day - (last_at AT TIME ZONE 'UTC')::date) <= 1"
            " AND first_at <= last_at",
            "day",
        ),
        CheckConstraint("spends > 0 AND kind IN ('spend', 'late', 'over')", "kind"),
        CheckConstraint(
            "cardinality(brands) > 0 AND cardinality(campaigns) > 0 AND cardinality(counts) = cardinality(campaigns)",
            "home",
        ),
        CheckConstraint(
            "CASE WHEN singles IS NULL THEN log IS NOT NULL AND request_id IS NOT NULL AND n = last_n AND first_at = last_at"
            " ELSE log IS NULL AND events IS NULL AND request_id IS NULL AND hold_id IS NULL AND kind = 'spend' END",
            "form",
        ),
        Index(None, "shard", "last_at"),
        Index(None, "last_at", postgresql_using="brin", postgresql_with={"autosummarize": "on"}),
        {"postgresql_partition_by": "RANGE (day)"},
    )
