"""The quarantine for people: listing entries, ingesting them after all, or giving them up with a name and a reason."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from sqlalchemy import Engine

from engine.errors import BudgetError, InvalidInput
from engine.flows.persist import ingest
from engine.flows.persist.persister import Persister
from engine.ledger import quarantine
from engine.ledger.database import writing
from engine.ledger.quarantine import QuarantineRow

log = logging.getLogger(__name__)


class Quarantined:
    """Journal entries that could not be persisted."""

    def __init__(self, db: Engine, persister: Persister) -> None:
        self._db = db
        self._persister = persister

    def rows(self, *, waiting_only: bool = True) -> list[QuarantineRow]:
        """The entries, oldest first."""
        with self._db.connect() as conn:
            return quarantine.rows(conn, waiting_only=waiting_only)

    def retry(self, row_id: int, actor: str) -> int:
        """Ingests an entry; returns its rows. Raises NotFound, BudgetError when it is refused again: the new reason
        is stored.
        """
        try:
            with writing(self._db) as conn:
                rows = ingest.retry(conn, quarantine.lock(conn, row_id), self._persister.make_partitions)
                quarantine.end(conn, row_id, "persisted", actor)
                return rows
        except ingest.REFUSED as error:
            why = _one_line(error)
        except BudgetError as error:
            if not self._waits(row_id):
                raise
            why = _one_line(error)
        with writing(self._db) as conn:
            quarantine.set_reason(conn, row_id, why)
        raise BudgetError(f"entry {row_id} stays in quarantine: {why}")

    def retry_all(self, actor: str) -> tuple[dict[int, int], dict[int, str]]:
        """Tries every waiting entry: rows of those that were ingested, and why the others were not."""
        booked: dict[int, int] = {}
        stayed: dict[int, str] = {}
        for row in self.rows():
            try:
                booked[row.id] = self.retry(row.id, actor)
            except BudgetError as error:
                stayed[row.id] = str(error)
        return booked, stayed

    def drop(self, row_ids: Iterable[int], actor: str, reason: str) -> None:
        """Gives entries up. Their bytes stay, and what the script counted for them stays counted. Raises InvalidInput, NotFound."""
        told = " ".join(reason.split())
        if not told:
            raise InvalidInput("a reason is missing: say why the entry is given up, with --reason", "reason")
        with writing(self._db) as conn:
            for row_id in row_ids:
                row = quarantine.lock(conn, row_id)
                quarantine.set_reason(conn, row_id, f"dropped: {told}; it was there because: {row.reason}")
                quarantine.end(conn, row_id, "dropped", actor)
                log.warning("quarantine: entry %d (%d micros) dropped by %s: %s", row_id, row.micros, actor, told)

    def _waits(self, row_id: int) -> bool:
        return any(row.id == row_id for row in self.rows())


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:400]
