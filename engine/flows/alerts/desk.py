"""Decides alerts: what holds now is compared with what is open, and each brand's changes are written whole or not at all.

A brand whose alerts cannot be decided is named, and the others are decided all the same. Some brands share a transaction, each with a
savepoint of its own: on a day on which a thousand alerts open, a commit each would take longer than all the rest.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError

from engine.domain.alerts import BY_KIND, EndReason, Event, Facts, Holding, Key, Rules, ends_because, holding_of
from engine.errors import ServerAway, WrongVersion
from engine.ledger import alert_rules, alerts, webhooks
from engine.ledger.alerts import Change
from engine.ledger.database import writing

log = logging.getLogger(__name__)

_NAMED: Final = 3
_TOGETHER: Final = 100
"""Brands with changes in one transaction."""
LONGEST_S: Final = 20.0
"""Seconds after which a run leaves what is to be written to the next one, because other jobs wait behind it."""


class Seen(Protocol):
    """What was read of the brands: figures, why some could not be read, and those whose figures are not live."""

    facts: list[Facts]
    failed: dict[int, str]
    unknown: set[int]


@dataclass(slots=True)
class Decided:
    """What a run did. failed: why a brand could not be decided. left: brands with changes that the next run writes."""

    brands: int = 0
    opened: int = 0
    ended: int = 0
    left: int = 0
    failed: dict[int, str] = field(default_factory=dict)

    def __str__(self) -> str:
        done = f"{self.brands} brands: {self.opened} alerts opened, {self.ended} ended"
        done += f"; the next run goes on with {self.left} brands" if self.left else ""
        if not self.failed:
            return done
        named = "; ".join(f"brand {id_}: {why}" for id_, why in sorted(self.failed.items())[:_NAMED])
        return f"{done}; {len(self.failed)} brands could not be decided: {named}"


class _Changes(NamedTuple):
    """What is to be written of a brand, of the engine where there is none: alerts to open, and the ids of alerts to end, with why."""

    brand_id: int | None
    news: Sequence[Holding]
    ends: Sequence[tuple[int, EndReason]]


class Alerts:
    """The alerts of one installation."""

    def __init__(self, db: Engine) -> None:
        self._db = db

    def run(self, read: Callable[[Rules], Seen], look: Callable[[], Iterable[Holding]]) -> Decided:
        """Decides what is wrong with the engine by `look`, and then the brands that `read` sees: with Redis away the engine's alert
        comes all the same. Raises ServerAway, WrongVersion.
        """
        rules = self.rules()
        engine = self.decide_engine(look(), rules)
        seen = read(rules)
        done = self.decide(seen.facts, rules, seen.failed, seen.unknown)
        done.opened, done.ended = done.opened + engine.opened, done.ended + engine.ended
        return done

    def decide_engine(self, holding: Iterable[Holding], rules: Rules) -> Decided:
        """Opens and ends the alerts of the engine itself."""
        asked = rules.of("health").asked
        held = {each.key: each for each in holding if asked}
        with self._db.connect() as conn:
            opened = alerts.open_events(conn).get(None, [])
        why: EndReason = "recovered" if asked else "off"
        changes = _compared(None, held, opened, [(event.id, why) for event in opened if event.key not in held])
        done = Decided()
        if changes.news or changes.ends:
            with writing(self._db) as conn:
                done.opened, done.ended = self._put(conn, changes)
        return done

    def rules(self) -> Rules:
        """All rules."""
        with self._db.connect() as conn:
            return alert_rules.read(conn)

    def decide(
        self,
        facts: Iterable[Facts],
        rules: Rules,
        failed: Mapping[int, str] | None = None,
        unknown: Collection[int] = (),
    ) -> Decided:
        """Opens and ends the alerts of brands. failed, unknown: brands of which nothing can be said, so nothing changes; what is open of
        others that are not among the facts ends. Raises ServerAway where PostgreSQL is away, WrongVersion.
        """
        with self._db.connect() as conn:
            opened = alerts.open_events(conn)
        done = Decided(failed=dict(failed or {}))
        seen: set[int | None] = {None, *done.failed, *unknown}
        changes: list[_Changes] = []
        for each in facts:
            seen.add(each.brand_id)
            done.brands += 1
            try:
                found = _of_brand(each, rules, opened.get(each.brand_id, ()))
            except Exception as error:  # noqa: BLE001  # it is named, and the others are decided
                done.failed[each.brand_id] = _why(each.brand_id, error)
            else:
                changes += [found] if found.news or found.ends else []
        began = time.monotonic()
        for start in range(0, len(changes), _TOGETHER):
            if time.monotonic() - began > LONGEST_S:
                done.left = len(changes) - start
                break
            self._write_each(changes[start : start + _TOGETHER], done)
        gone = [event.id for brand_id, events in opened.items() if brand_id not in seen for event in events]
        if gone:
            with writing(self._db) as conn:
                ended = self._end(conn, [(id_, "off") for id_ in gone])
                webhooks.write(conn, ended)
            done.ended += len(ended)
        return done

    def _write_each(self, changes: Sequence[_Changes], done: Decided) -> None:
        """Some brands in one transaction: one that cannot be written is left out of it."""
        with writing(self._db) as conn:
            for each in changes:
                try:
                    with conn.begin_nested():
                        opened, ended = self._put(conn, each)
                except (ServerAway, OperationalError, WrongVersion):
                    raise
                except Exception as error:  # noqa: BLE001  # as above
                    done.failed[each.brand_id or 0] = _why(each.brand_id, error)
                else:
                    done.opened, done.ended = done.opened + opened, done.ended + ended

    def _put(self, conn: Connection, changes: _Changes) -> tuple[int, int]:
        """Writes them with the messages about them; returns how many alerts were opened and ended."""
        ended = self._end(conn, changes.ends)
        made = [alerts.open_(conn, each, BY_KIND[each.key.kind].again_ms) for each in changes.news]
        webhooks.write(conn, [*ended, *(each for each in made if each is not None)])
        return sum(each is not None for each in made), len(ended)

    def _end(self, conn: Connection, ends: Iterable[tuple[int, EndReason]]) -> list[Change]:
        found = (alerts.end(conn, id_, why) for id_, why in ends)
        return [each for each in found if each is not None]


def _of_brand(facts: Facts, rules: Rules, opened: Sequence[Event]) -> _Changes:
    held = {each.key: each for each in holding_of(facts, rules)}
    ends = [(event.id, why) for event in opened if (why := ends_because(event, facts, rules, held))]
    return _compared(facts.brand_id, held, opened, ends)


def _compared(
    brand_id: int | None, held: Mapping[Key, Holding], opened: Sequence[Event], ends: Sequence[tuple[int, EndReason]]
) -> _Changes:
    ending = {id_ for id_, _ in ends}
    stays = {event.key for event in opened if event.id not in ending}
    return _Changes(brand_id, [each for key, each in held.items() if each.opens and key not in stays], ends)


def _why(brand_id: int | None, error: Exception) -> str:
    log.error("the alerts of brand %s could not be decided", brand_id, exc_info=error)
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
