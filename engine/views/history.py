"""What happened last: spends, changes of status, and who changed what; of every brand, or of those that a person sees."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Engine

from engine.domain.causes import sentence
from engine.domain.periods import DAY_MS, at_ms, ms_of
from engine.ledger import history, reports
from engine.ledger.reports import CatalogLine, SpendLine
from engine.views.models import ChangeLine
from engine.views.strip import MOST_STRETCHES, Stretch, stretches


class History:
    """The newest rows of the log and of the trails. within: the ids of brands; None for every brand."""

    def __init__(self, db: Engine) -> None:
        self._db = db

    def latest_spends(self, limit: int = 12, within: Collection[int] | None = None) -> list[SpendLine]:
        """The newest rows of the spend log."""
        return reports.latest_spends(self._db, limit, within=within)

    def latest_changes(self, limit: int = 12, within: Collection[int] | None = None) -> list[ChangeLine]:
        """The newest status changes, with their causes in the words of their own instant."""
        # A schedule may have been changed since, so its next opening then is not shown.
        return [
            ChangeLine(row, sentence(row.reasons, None, ms, None, row.zones.local(ms)))
            for row in reports.latest_status_changes(self._db, limit, within=within)
            for ms in (ms_of(row.at),)
        ]

    def spends_of(self, campaign_id: int, limit: int = 20) -> list[SpendLine]:
        """The newest rows of a campaign in the spend log, of the last 31 days."""
        return reports.latest_spends(self._db, limit, campaign_id=campaign_id)

    def changes_of(self, campaign_id: int, limit: int = 50, before_id: int | None = None) -> list[CatalogLine]:
        """Who changed what of a campaign, newest first; with `before_id` those before that line."""
        return reports.catalog_changes(self._db, limit, "campaign", campaign_id, before_id=before_id)

    def statuses_of(self, campaign_id: int, now_ms: int) -> tuple[Stretch, ...]:
        """When a campaign ran and what stopped it in the last seven days, oldest first."""
        since_ms = now_ms - 7 * DAY_MS
        with self._db.connect() as connection:
            found = history.statuses(connection, campaign_id, at_ms(since_ms), MOST_STRETCHES)
        return stretches([(ms_of(at), reasons) for at, reasons in found], since_ms, now_ms)

    def catalog_changes(
        self,
        limit: int = 100,
        before_id: int | None = None,
        within: Collection[int] | None = None,
        *,
        users: bool = True,
    ) -> list[CatalogLine]:
        """Who changed what in the catalog, newest first; with `before_id` those before that line, so that all can be walked through.

        users: whether changes of users are among them.
        """
        return reports.catalog_changes(self._db, limit, before_id=before_id, within=within, users=users)
