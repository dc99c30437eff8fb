"""The table of the jobs' runs. `models.py` brings it along."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, Identity, Index, func
from sqlalchemy.orm import Mapped, mapped_column

from engine.ledger.base import Base


class JobRun(Base):
    """One row a run of a job, by which the pages say what ran, and what is overdue."""

    __tablename__ = "job_run"
    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    job: Mapped[str]
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    finished_at: Mapped[datetime | None]
    outcome: Mapped[str] = mapped_column(server_default="running")
    detail: Mapped[str] = mapped_column(server_default="")
    __table_args__ = (
        CheckConstraint("outcome IN ('running', 'done', 'failed', 'waiting')", "outcome"),
        CheckConstraint("(outcome = 'running') = (finished_at IS NULL)", "finished"),
        Index(None, "job", "id"),
    )
