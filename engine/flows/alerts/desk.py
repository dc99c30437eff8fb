"""Decides alerts: what holds now is compared with what is open, and each brand's changes are one transaction.

A brand whose alerts cannot be decided is named, and the others are decided all the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError

from engine.domain.alerts import BY_KIND, EndReason, Event, Facts, Holding, Key, Rules, ends_because, holding_of
from engine.errors import ServerAway, WrongVersion
from engine.ledger import alert_rules, alerts, webhooks
from engine.ledger.alerts import Change
from engine.ledger.database import writing

log = logging.getLogger(__name__)

_NAMED: Final = 3


class Seen(Protocol):
    """What was read of the brands: figures, why some could not be read, and those whose figures are not live."""

    facts: list[Facts]
    failed: dict[int, str]
    unknown: set[int]


@dataclass(slots=True)
class Decided:
    """What a run did. failed: why a brand could not be decided."""

    brands: int = 0
    opened: int = 0
    ended: int = 0
    failed: dict[int, str] = field(default_factory=dict)

    def __str__(self) -> str:
        done = f"{self.brands} brands: {self.opened} alerts opened, {self.ended} ended"
        if not self.failed:
            return done
        named = "; ".join(f"brand {id_}: {why}" for id_, why in sorted(self.failed.items())[:_NAMED])
        return f"{done}; {len(self.failed)} brands could not be decided: {named}"


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
        done = Decided()
        self._write(held, opened, [(event.id, why) for event in opened if event.key not in held], done)
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
        for each in facts:
            seen.add(each.brand_id)
            done.brands += 1
            try:
                self._decide_brand(each, rules, opened.get(each.brand_id, ()), done)
            except (ServerAway, OperationalError, WrongVersion):
                raise
            except Exception as error:
                log.exception("the alerts of brand %d could not be decided", each.brand_id)
                done.failed[each.brand_id] = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
        gone = [event.id for brand_id, events in opened.items() if brand_id not in seen for event in events]
        if gone:
            with writing(self._db) as conn:
                ended = self._end(conn, [(id_, "off") for id_ in gone])
                webhooks.write(conn, ended)
            done.ended += len(ended)
        return done

    def _decide_brand(self, facts: Facts, rules: Rules, opened: Sequence[Event], done: Decided) -> None:
        held = {each.key: each for each in holding_of(facts, rules)}
        ends = [(event.id, why) for event in opened if (why := ends_because(event, facts, rules, held))]
        self._write(held, opened, ends, done)

    def _write(
        self, held: Mapping[Key, Holding], opened: Sequence[Event], ends: Sequence[tuple[int, EndReason]], done: Decided
    ) -> None:
        """One transaction, and none where nothing changes."""
        ending = {id_ for id_, _ in ends}
        stays = {event.key for event in opened if event.id not in ending}
        news = [each for key, each in held.items() if each.opens and key not in stays]
        if not news and not ends:
            return
        with writing(self._db) as conn:
            ended = self._end(conn, ends)
            made = [alerts.open_(conn, each, BY_KIND[each.key.kind].again_ms) for each in news]
            webhooks.write(conn, [*ended, *(each for each in made if each is not None)])
        done.ended += len(ended)
        done.opened += sum(each is not None for each in made)

    def _end(self, conn: Connection, ends: Iterable[tuple[int, EndReason]]) -> list[Change]:
        found = (alerts.end(conn, id_, why) for id_, why in ends)
        return [each for each in found if each is not None]
