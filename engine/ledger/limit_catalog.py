"""The catalog of scheduled changes of limits: each call one transaction."""

from __future__ import annotations

from sqlalchemy import Engine

from engine.domain.limit_changes import LimitChange, Period, Turn, every_turn
from engine.domain.names import clean_name
from engine.domain.periods import at_ms
from engine.errors import Conflict
from engine.ledger import limit_changes, limit_rows
from engine.ledger.changes import Entity
from engine.ledger.database import writing
from engine.ledger.limit_changes import Record, Scheduled
from engine.ledger.records import CampaignRecord


class LimitCatalog:
    """Scheduled changes of the daily and monthly limits of brands and campaigns. Each is a change of its owner."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def schedule(
        self, entity: Entity, owner_id: int, actor: str, period: Period, change: tuple[str, int | None],
        starts_ms: int | None, ends_ms: int | None = None,
    ) -> tuple[Record, int]:  # fmt: skip
        """A new change; starts_ms: None is now. Returns the owner and the change's id. Raises InvalidLimitChange, Conflict, NotFound."""
        actor = clean_name(actor, "actor")
        with writing(self._engine) as connection:
            return limit_changes.schedule(connection, entity, owner_id, actor, period, change, starts_ms, ends_ms)

    def preview(
        self, entity: Entity, owner_id: int, period: Period, change: tuple[str, int | None],
        starts_ms: int | None, ends_ms: int | None = None,
    ) -> tuple[LimitChange, list[Turn]]:  # fmt: skip
        """What `schedule` would make, with all turns to come; nothing is written. Raises as `schedule`."""
        with self._engine.connect() as connection:
            return limit_changes.preview(connection, entity, owner_id, period, change, starts_ms, ends_ms)

    def cancel(self, change_id: int, actor: str) -> Record:
        """Takes a change back; one that is in force ends now. Raises as `schedule`."""
        actor = clean_name(actor, "actor")
        with writing(self._engine) as connection:
            return limit_changes.cancel(connection, change_id, actor)

    def one(self, change_id: int) -> Scheduled:
        """A change. Raises NotFound."""
        with self._engine.connect() as connection:
            return limit_changes.one(connection, change_id)

    def every(
        self, entity: Entity | None = None, owner_id: int | None = None, *, over: bool = False
    ) -> list[Scheduled]:
        """The changes of a brand with its campaigns, of a campaign, or of all. over: also those of which nothing follows."""
        with self._engine.connect() as connection:
            return limit_changes.every(connection, entity, owner_id, over=over)

    def turns(self, entity: Entity, owner_id: int) -> list[Turn]:
        """What is to come of the changes of a brand, or of a campaign, in order."""
        with self._engine.connect() as connection:
            row = limit_changes.one_of(connection, entity, owner_id)
            return every_turn(limit_rows.limits_of(row), limit_rows.open_of(connection, entity, owner_id))

    def next_ms(self) -> int | None:
        """The instant of what the catalog takes over next; None where nothing is scheduled."""
        with self._engine.connect() as connection:
            return limit_changes.next_ms(connection)

    def take_over(self, now_ms: int) -> list[int]:
        """Takes over what has begun or ended by an instant of Redis' clock; returns the brands that must be published."""
        with self._engine.connect() as connection:
            due = limit_changes.due(connection, at_ms(now_ms))
        moved: dict[int, None] = {}
        for entity, owner_id in due:
            try:
                with writing(self._engine) as connection:
                    row = limit_changes.take_over(connection, entity, owner_id, now_ms)
            except Conflict:
                continue  # archived meanwhile
            moved[row.brand_id if isinstance(row, CampaignRecord) else row.id] = None
        return list(moved)
