"""Reconcile: finds where counters and log differ, explains it, and repairs the counter by adding a logged difference.
It never sets a counter.

The differences are verify's, exact at a journal number. A counter that something other than the scripts changed gets
the difference added, with an entry in the journal and a row in counter_correction. Signs of lost history or a damaged
ledger are reported and left alone: there the counter may be right and the log wrong. docs/decisions/0014 explains why
corrections are no part of the sums.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from sqlalchemy import Engine

from engine.flows.catalog.status import StatusWriter
from engine.flows.verify.counters import Counters
from engine.flows.verify.difference import Difference
from engine.flows.verify.findings import NotVerifiable, confirmed
from engine.flows.verify.journals import Journals
from engine.flows.verify.keyspace import Keyspace
from engine.flows.verify.logged import Owner
from engine.flows.verify.passes import Pass, Passes
from engine.ledger import quarantine
from engine.live.admin import LiveRedis
from engine.live.repair import adjust

_ROUNDS = 5
"""How often a shard is compared again while another reconcile works on it."""


@dataclass(frozen=True, slots=True)
class Repair:
    """A difference and what was done about it. after: the counter's new value, None where nothing was added (a dry run)."""

    difference: Difference
    name: str
    after: int | None

    def __str__(self) -> str:
        done = (
            f"added {-self.difference.apart:+d}, the counter is {self.after} now"
            if self.after is not None
            else f"would add {-self.difference.apart:+d}"
        )
        return f"{self.difference}: the counter was changed by something other than the scripts; {done} ({self.name})"


@dataclass(slots=True)
class Reconciled:
    """The result of a reconcile. left: differences that are not a counter's error, and what to do about each."""

    counters: int = 0
    repairs: list[Repair] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    @property
    def difference_micros(self) -> int:
        """The difference in money: of each brand or campaign the largest, not the sum over its days and months."""
        worst: dict[str, int] = {}
        for repair in self.repairs:
            owner = str(repair.difference.owner)
            worst[owner] = max(worst.get(owner, 0), abs(repair.difference.apart))
        return sum(worst.values())


class Reconciler:
    """Repairs counters."""

    def __init__(
        self,
        db: Engine,
        live: LiveRedis,
        instance: str,
        counters: Counters,
        passes: Passes,
        journals: Journals,
        keyspace: Keyspace,
        status: StatusWriter,
    ) -> None:
        self._db = db
        self._live = live
        self._instance = instance
        self._counters = counters
        self._passes = passes
        self._journals = journals
        self._keyspace = keyspace
        self._status = status

    def reconcile(self, *, dry_run: bool = False, progress: Callable[[str], None] = lambda line: None) -> Reconciled:
        """Compares every counter of the open periods with the log and repairs differences. Raises ServerAway.

        May be killed and run again, twice at once, and while spends go on: each difference is added once.
        """
        # Rows are evidence here, so all of them are read, and nothing that verify confirmed before is taken for granted.
        one = self._passes.full()
        try:
            return self._all(one, dry_run, progress)
        finally:
            self._passes.leave(one)

    def _all(self, one: Pass, dry_run: bool, progress: Callable[[str], None]) -> Reconciled:
        done = Reconciled()
        brands, campaigns = self._counters.owners()
        self._ledger_off = {wrong.brand_id for wrong in self._counters.daily_sums_off(one)}
        for shard, owners in sorted(brands.items()):
            both = {**owners, **campaigns.get(shard, {})}
            done.counters += len(both)
            for _ in range(_ROUNDS):
                if self._shard(shard, both, one, dry_run, done, progress):
                    break
            else:
                self._leave(done, f"shard {shard}: another reconcile is at work on it; run it again", progress)
        for brand_id in self._keyspace.brands_with_holds():
            for text, _ in confirmed(lambda brand_id=brand_id: self._keyspace.holds_off(brand_id)):  # type: ignore[misc]  # mypy cannot infer a default
                remedy = f"only a rebuild of its shard makes it anew: `budget-engine rebuild --shard {brand_id % 64}`"
                self._leave(done, f"brand {brand_id} {text}: {remedy}", progress)
        changed = {repair.difference.owner.brand_id for repair in done.repairs if repair.after is not None}
        if changed:
            self._status.refresh(changed)
        return done

    def _shard(
        self,
        shard: int,
        owners: dict[str, Owner],
        one: Pass,
        dry_run: bool,
        done: Reconciled,
        progress: Callable[[str], None],
    ) -> bool:
        """Reconciles one shard; False when it must be compared again."""
        try:
            # The oldest comparison first: where another adjustment followed it, all are compared again.
            found = sorted(self._counters.differences(shard, owners, one), key=lambda off: off.n)
        except NotVerifiable as why:
            self._leave(done, str(why), progress)
            return True
        for reason in self._hindrances(shard) if found else ():
            text = f"{len(found)} differences, first {found[0]}; not repaired: {reason}"
            self._leave(done, text, progress)
            return True
        last_n = 0
        for off in found:
            if off.owner.brand_id in self._ledger_off:
                why_not = "campaign_day and spend_log disagree, so the counter may be right: restore the rows of PostgreSQL, see V2"
                self._leave(done, f"{off}; not repaired: {why_not}", progress)
                continue
            name, after = name_of(off), None
            if not dry_run:
                made = adjust(
                    self._live, self._instance, shard, off.key, off.field, -off.apart, name, max(off.n, last_n)
                )
                if made is None:
                    return False
                after, last_n = made.value, made.n
            done.repairs.append(Repair(off, name, after))
            progress(str(done.repairs[-1]))
        return True

    def _hindrances(self, shard: int) -> Iterator[str]:
        """Why the log of a shard cannot be trusted for its counters."""
        for problem in confirmed(lambda: self._journals.problems(shard)):
            yield f"its history does not fit, shard {shard}{problem}"
        with self._db.connect() as conn:
            unread = [
                row for row in quarantine.rows(conn, waiting_only=False) if row.shard == shard and row.n is not None
            ]
        unread = [row for row in unread if row.state != "persisted" and not row.sums and _counted_something(row.fields)]
        if unread:
            yield f"entry {unread[0].id} in quarantine counted what cannot be read from it: `budget-engine quarantine list`"

    def _leave(self, done: Reconciled, text: str, progress: Callable[[str], None]) -> None:
        done.left.append(text)
        progress(text)


def name_of(off: Difference) -> str:
    """A correction's name: the same for the same difference, whoever finds it."""
    what = f"{off.key}|{off.field}|{off.counted}|{off.logged}|{off.n}"
    return f"correction-{hashlib.sha1(what.encode(), usedforsecurity=False).hexdigest()[:24]}"


def _counted_something(fields: Collection[str]) -> bool:
    return "b" in fields or "h" in fields
