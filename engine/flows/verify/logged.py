"""What was logged for each counter, up to the journal number at which that counter was read: rows, quarantine, and
entries not yet persisted.

Thousands of counters are read slice by slice, so each slice has a number of its own. All are compared in one pass
over the rows, the quarantine and the journal: a pass per slice would cost the square of a large brand's campaigns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final, NamedTuple

from sqlalchemy import Connection

from engine.domain.periods import date_of, days_of_month, month_of_date
from engine.flows.persist.ingest import counted_by
from engine.flows.persist.reading import Read, read
from engine.ledger import audit, quarantine, spend_read, verified
from engine.ledger.cursors import read_cursors
from engine.ledger.verified import Watermark
from engine.live.journal import START, Entry, Journal, NoJournal

_PAGE: Final = 2000


class Owner(NamedTuple):
    """The owner of a hash: a brand, or one of its campaigns."""

    brand_id: int
    campaign_id: int | None

    def __str__(self) -> str:
        return f"brand {self.brand_id}" if self.campaign_id is None else f"campaign {self.campaign_id}"


Key = tuple[int, int, date]
"""(brand, campaign, day)"""


@dataclass(slots=True)
class Logged:
    """Micros of an owner. Days without corrections, which do not change the counter of an ended day."""

    today: int = 0
    yesterday: int = 0
    month: int = 0


@dataclass(frozen=True, slots=True)
class Log:
    """What is logged for each owner, and whether the shard has closed yesterday. closed_for: brands for which it is closed before it is
    for all.
    """

    of: Mapping[Owner, Logged]
    yesterday_closed: bool
    closed_for: frozenset[int] = frozenset()


def read_log(
    conn: Connection, journal: Journal, shard: int, up_to: Mapping[Owner, int], today: date, pass_id: int
) -> Log:
    """The log of a shard's owners in one snapshot. up_to: {owner: the journal number at which its counters were read}.
    pass_id: of verify, whose sums are used.
    """
    sums = _Sums(up_to, today)
    cursor = read_cursors(conn)[shard]
    # The journal first: its entries above the cursor may be trimmed before the sums of a large log are read.
    if cursor.n < max(up_to.values(), default=0):
        # Otherwise the cursor moved after the read, or an older Redis came back: V9 reports which.
        _add_waiting(sums, journal, shard, cursor.entry_id, cursor.n, max(up_to.values()))
    for n, key, micros in quarantine.uncounted(conn, {owner.brand_id for owner in up_to}):
        sums.add(n, key, micros)
    mark = verified.mark_of(conn, pass_id, shard)
    # Another verify may have gone past the counters meanwhile, or an older Redis came back: then all rows are read.
    confirmed = (pass_id, mark) if mark is not None and mark.n <= min(up_to.values(), default=0) else None
    _add_rows(sums, conn, up_to, confirmed)
    closed = shard in audit.closed_shards(conn, sums.yesterday)
    brands = frozenset() if closed else audit.closed_brands(conn, shard, sums.yesterday)
    return Log(sums.of, closed, brands)


class _Sums:
    """Adds amounts to their brand and campaign, where these were read at or after the amount's journal number."""

    def __init__(self, up_to: Mapping[Owner, int], today: date) -> None:
        self.of: dict[Owner, Logged] = {owner: Logged() for owner in up_to}
        self.today = today
        self.yesterday = date.fromordinal(today.toordinal() - 1)
        self.month = month_of_date(today)
        self._up_to = up_to

    def add(self, n: int | None, key: Key, micros: int, corrections: int = 0) -> None:
        brand_id, campaign_id, day = key
        for owner in (Owner(brand_id, None), Owner(brand_id, campaign_id)):
            up_to = self._up_to.get(owner)
            if up_to is None or (n is not None and n > up_to):
                continue
            of_owner = self.of[owner]
            if day == self.today:
                of_owner.today += micros - corrections
            elif day == self.yesterday:
                of_owner.yesterday += micros - corrections
            of_owner.month += micros if month_of_date(day) == self.month else 0


def _add_rows(
    sums: _Sums, conn: Connection, up_to: Mapping[Owner, int], confirmed: tuple[int, Watermark] | None
) -> None:
    first = date_of(next(days_of_month(sums.month)))
    brand_ids = sorted({owner.brand_id for owner in up_to})
    brands = {owner.brand_id: n for owner, n in up_to.items() if owner.campaign_id is None}
    campaigns = {owner.campaign_id: n for owner, n in up_to.items() if owner.campaign_id is not None}
    found = [
        *(spend_read.open_totals(conn, "brand_id", brands, brand_ids, first, sums.today, confirmed) if brands else ()),
        *(
            spend_read.open_totals(conn, "campaign_id", campaigns, brand_ids, first, sums.today, confirmed)
            if campaigns
            else ()
        ),
    ]
    for total in found:
        of_owner = sums.of.get(Owner(total.brand_id, total.campaign_id))
        if of_owner is None:
            # A row under another brand than its campaign's: V5 reports it.
            continue
        of_owner.today += total.today
        of_owner.yesterday += total.yesterday
        of_owner.month += total.month


def _add_waiting(sums: _Sums, journal: Journal, shard: int, entry_id: str, cursor_n: int, up_to_n: int) -> None:
    """Adds the entries between the cursor and the highest n."""
    for item in entries(journal, shard, entry_id):
        if item.n is None or item.n <= cursor_n:
            continue
        if item.n > up_to_n:
            return
        for key, micros in counted_by(item).items():
            sums.add(item.n, key, micros, _corrections(item, key))


def _corrections(item: Read, key: Key) -> int:
    if not isinstance(item.entry, Entry):
        return 0
    _, campaign_id, day = key
    return sum(
        spend.amount_micros
        for spend in item.entry.spends()
        if spend.kind == "correction"
        and spend.campaign_id == campaign_id
        and spend.day is not None
        and date_of(spend.day) == day
    )


def entries(journal: Journal, shard: int, from_id: str) -> Iterator[Read]:
    """A journal from an entry on, inclusive; marks entries that cannot be read. A key of another type has no entries."""
    while True:
        try:
            raw = journal.read(shard, from_id if from_id != START else "-", _PAGE)
        except NoJournal:
            return
        for item in raw:
            yield read(*item)
        if len(raw) < _PAGE:
            return
        from_id = f"({raw[-1][0].decode()}"


def blocks(owners: Mapping[str, Owner], most: int) -> Iterator[dict[str, Owner]]:
    """Owners in blocks of whole brands, each of at least `most` hashes but the last: so every brand's rows are summed once."""
    by_brand: dict[int, dict[str, Owner]] = {}
    for key, owner in owners.items():
        by_brand.setdefault(owner.brand_id, {})[key] = owner
    block: dict[str, Owner] = {}
    for of_brand in by_brand.values():
        block |= of_brand
        if len(block) >= most:
            yield block
            block = {}
    if block:
        yield block
