"""The table of persist workers. `models.py` brings it along."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func
from sqlalchemy.orm import Mapped, mapped_column

from engine.ledger.base import Base


class PersistWorker(Base):
    """A persist worker. seen_at: when it last renewed its row; began_at: since when it has done so without a pause."""

    __tablename__ = "persist_worker"
    name: Mapped[str] = mapped_column(primary_key=True)
    began_at: Mapped[datetime] = mapped_column(server_default=func.now())
    seen_at: Mapped[datetime] = mapped_column(server_default=func.now())
