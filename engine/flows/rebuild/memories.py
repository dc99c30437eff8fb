"""What a rebuilt shard must remember by PostgreSQL's word: the request and event ids of the promised windows, as the scripts keep them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from sqlalchemy import Connection, Engine

from engine.domain.periods import HOUR_MS, MINUTE_MS, at_ms, day_number, ms_of
from engine.flows.rebuild.contents import stored
from engine.ledger import flight_sums, holds, refunds, spend_read
from engine.ledger.spend_read import RecentSpend
from engine.live.grammar import whole
from engine.live.inspect import Inspector
from engine.live.journal import COUNTED, EARLIER, digest_of, spend_text
from engine.live.keys import ShardKeys
from engine.live.outcome_runs import expand, pack
from engine.live.scripts import serves

_WINDOW: Final = ("active", "until", "window")
_ENDS: Final = {"settled": "s", "over": "o", "late": "t", "released": "l", "expired": "e"}


@dataclass(frozen=True, slots=True)
class Windows:
    """For how long ids are remembered."""

    request_ms: int
    event_ms: int

    @classmethod
    def of(cls, request_id_minutes: int, event_id_hours: int) -> Windows:
        return cls(request_id_minutes * MINUTE_MS, event_id_hours * HOUR_MS)

    @property
    def both_ms(self) -> tuple[int, int]:
        """As scripts take them."""
        return self.request_ms, self.event_ms


@dataclass(slots=True)
class Memories:
    """Ids and what is remembered under each: of calls, and of events, refunds and the ends of holds."""

    requests: dict[str, str] = field(default_factory=dict)
    events: dict[str, str] = field(default_factory=dict)


class Active(NamedTuple):
    """Which of its two hashes a shard writes new ids into, of requests and of events."""

    requests: int
    events: int


def active_hashes(inspector: Inspector, keys: ShardKeys, windows: Windows, now: int) -> Active | None:
    """Those of a shard whose memories are whole and of windows that have not ended `now` (epoch ms); None where they must be written anew."""
    (state,) = inspector.fields([keys.shard], ["layout", *(f"{m}_{f}" for m in ("req", "ev") for f in _WINDOW)])
    guards = inspector.fields([*keys.requests, *keys.events], ["#"])
    if state is None or not serves(state[0] or "") or any(guard != ["1"] for guard in guards):
        return None
    active: list[int] = []
    for at, width in ((1, windows.request_ms), (4, windows.event_ms)):
        which, until, window = (whole(value) for value in state[at : at + 3])
        # Were a window over, the next call would forget one of the hashes, and with it what is added now.
        if which not in (0, 1) or window != width or until is None or not until - width <= now < until:
            return None
        active.append(which)
    return Active(*active)


def read_memories(
    db: Engine, shard: int, brand_ids: Sequence[int], windows: Windows, now: int, since_ms: int = 0
) -> Memories:
    """Those of the windows that end `now` (epoch ms). since_ms: only those that were counted then or later."""
    found, bodies = Memories(), dict[str, list[str]]()
    requests_ms, events_ms = max(now - windows.request_ms, since_ms), max(now - windows.event_ms, since_ms)
    events_since, requests_since = at_ms(events_ms), at_ms(requests_ms)
    again: set[tuple[int, str]] = set()
    with db.connect() as conn:
        flights = flight_sums.of_entries(conn, shard, min(events_since, requests_since).date())
        for row in spend_read.recent_spends(conn, shard, events_since, requests_since):
            if row.event_id is not None and row.recorded_at >= events_since:
                _remember_event(found.events, row, flights.get((row.generation, row.n, row.campaign_id)))
                if row.kind != "spend":
                    again.add((row.brand_id, row.event_id))
            if row.kind == "spend" and row.hold_id is None and row.recorded_at >= requests_since:
                occurred = None if row.occurred_at is None else ms_of(row.occurred_at)
                text = spend_text(row.campaign_id, row.amount_micros, row.event_id, occurred)
                bodies.setdefault(row.request_id, []).append(text)
        for request_id, lines in bodies.items():
            found.requests[request_id] = f"*{digest_of(''.join(lines))} {COUNTED}*{len(lines)}"
        _remember_mixed(conn, found.requests, shard, requests_ms)
        _remember_refunds(conn, found.events, shard, now - windows.event_ms, again if since_ms else set())
        for ended in holds.ended_since(conn, brand_ids, events_since):
            how = f"{_ENDS[ended.state]},{ended.held_micros},{ended.settled_micros}"
            found.events[f"!{ended.campaign_id}:{ended.hold_id}"] = how
    return found


def _remember_event(events: dict[str, str], row: RecentSpend, flight: int | None) -> None:
    if row.kind == "spend":
        in_flight = "" if flight is None else f",{flight}"
        value = f"{row.campaign_id},{row.amount_micros},{day_number(row.day)}{in_flight}"
        events[f"{row.brand_id}:{row.event_id}"] = value
        return
    # Its request id is that of a refund: the event, and after a comma the part's own id.
    part = row.request_id.removeprefix(f"refund:{row.event_id}")
    events[f"-{row.brand_id}:{row.event_id}{part}"] = f"{row.campaign_id},{-row.amount_micros}"
    total = f"={row.brand_id}:{row.event_id}"
    events[total] = str(stored(int(events.get(total, "0")) - row.amount_micros))


def _remember_mixed(conn: Connection, requests: dict[str, str], shard: int, since_ms: int) -> None:
    for item in spend_read.recent_mixed(conn, shard, at_ms(since_ms)):
        # What no script remembers would take the shard out of use again with its next repeat.
        with suppress(ValueError):
            codes = [COUNTED if code == EARLIER else code for code in expand(item.outcomes)]
            requests[item.request_id] = f"{item.digest} {pack(codes)}"


def _remember_refunds(
    conn: Connection, events: dict[str, str], shard: int, since_ms: int, again: set[tuple[int, str]]
) -> None:
    """The refunds that are not given back, and the whole sums of those events of which only the last refunds were read."""
    for refund in refunds.remembered(conn, shard, at_ms(since_ms)):
        name = f"-{refund.brand_id}:{refund.event_id}" + (f",{refund.refund_id}" if refund.refund_id else "")
        events[name] = f"{refund.campaign_id},{refund.micros},{refund.cause or 'w'}"
    for (brand_id, event_id), micros in refunds.applied_sums(conn, again).items():
        events[f"={brand_id}:{event_id}"] = str(stored(micros))
