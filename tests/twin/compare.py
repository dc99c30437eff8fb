"""Converts the contents of Redis and PostgreSQL to the format of the reference model, to compare them by `==`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

from engine.client.holds import HoldResult, RefundResult
from engine.domain.causes import RATE, reasons_of
from engine.domain.ids import brand_of
from engine.domain.periods import MINUTE_MS, day_of, ms_of
from engine.live import journal, outcome_runs
from engine.live.keys import keys_of_brand, keys_of_campaign, shard_keys
from engine.live.replies import SpendResult
from engine.live.scripts import Script
from engine.live.transport.pool import Call, ConnectionPool
from tests.model import Answer, Asked, Change, Entry, Figures, ReferenceModel, Row, Shard, Step, Verdict
from tests.model.pacing import Rate
from tests.model.plan import LIFETIME, Brand, Campaign, periods_of

VERDICTS = {"k": "counted", "p": "earlier", "d": "duplicate", "c": "conflict", "u": "unknown_campaign"}


def answer_of(result: SpendResult | HoldResult | RefundResult) -> Answer:
    """A client's result in the format of the model."""
    got = result.figures
    figures = got and Figures(got.daily_spend, got.monthly_spend, got.daily_limit, got.monthly_limit)
    # When a minute's limit lets an amount pass is no part of the model.
    refused = result.outcome == "refused" and not isinstance(result, RefundResult) and result.reasons != (RATE,)
    retry = result.retry_at if refused else None
    mark = getattr(result, "mark", "")
    at, rate = None if retry is None else ms_of(retry), round(result.pass_rate * 1_000_000)
    return Answer(result.outcome, result.reasons, figures, mark, result.detail, at, rate)


def entry_of(entry_id: bytes, fields: dict[bytes, bytes]) -> tuple[Entry, str]:
    """A journal entry in the format of the model, with the text of its call."""
    entry = journal.decode(entry_id, fields)
    rows = tuple(
        Row(s.position, s.campaign_id, s.amount_micros, s.event_id, s.kind, s.hold_id, day_of(entry.ms) if s.day is None else s.day, s.refund_id,
            (entry.flights or {}).get(s.campaign_id))
        for s in entry.spends()
    )  # fmt: skip
    steps = tuple(
        Step(s.campaign_id, s.hold_id, s.state, s.held_micros, s.settled_micros, s.expires_ms)
        for s in entry.hold_steps()
    )
    verdicts = tuple(
        Verdict("refused", reasons_of(int(code[1:]))) if code[0] == "x" else Verdict(VERDICTS[code])
        for code in outcome_runs.expand(entry.outcomes)
    )
    changes = frozenset(Change(c.campaign_id or c.brand_id, c.cause, c.direction) for c in entry.changes)
    verb = {"r": "record", "t": "try", "": ""}[entry.verb]
    asked = tuple(Asked(r.campaign_id, r.event_id, r.micros, r.day, r.refund_id) for r in entry.refunds() if r.asked)
    trips = tuple(sorted(entry.trips))
    made = Entry(
        entry.n, entry.ms, entry.request_id, verb, (), verdicts, rows, in_order(steps), changes, entry.generation, asked, trips, frozenset((entry.zones or {}).items()),
        frozenset(entry.carries),
    )  # fmt: skip
    return made, _text_of(entry)


def _text_of(entry: journal.Entry) -> str:
    """The spends of a call as text, also of a packed one."""
    if entry.packed is None:
        return entry.body
    lines, places, amounts, _, events = entry.packed
    spends = zip(places, amounts, events or [None] * len(places), strict=True)
    return "".join(journal.spend_text(lines[place].campaign_id, micros, event, None) for place, micros, event in spends)


def told(entry: Entry) -> tuple[Entry, str]:
    """The model's entry as far as the stream has it: the verb where there are outcomes, the content as text."""
    body = "".join(journal.spend_text(*spend) for spend in entry.content)
    verb = entry.verb if entry.verdicts else ""
    steps = in_order(entry.steps)
    return Entry(
        entry.n,
        entry.ms,
        entry.request_id,
        verb,
        (),
        entry.verdicts,
        entry.rows,
        steps,
        entry.changes,
        entry.generation,
        entry.asked,
        entry.trips,
        entry.zones,
        entry.carries,
    ), body


def in_order(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Sorts the expired holds of several brands, which have no order; the other steps keep theirs."""
    return (*sorted(s for s in steps if s.state == "expired"), *(s for s in steps if s.state != "expired"))


_TEXT: Final = """#!lua flags=no-writes
local replies, at = {}, 0
for i, key in ipairs(KEYS) do
  if string.find(key, 'journal$') then
    at = at + 1
    replies[i] = redis.call('XRANGE', key, ARGV[at], '+')
  elseif string.find(key, ':expiry:') then
    replies[i] = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  else
    replies[i] = redis.call('HGETALL', key)
  end
end
return replies
"""
_VIEW: Final = Script("view", _TEXT, hashlib.sha1(_TEXT.encode(), usedforsecurity=False).hexdigest())


def pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    """A dict of a flat reply with names and values in turn."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


class RedisView:
    """Reads the state of some shards in one round trip."""

    def __init__(self, wire: ConnectionPool, shards: Sequence[int], brands: Sequence[int], campaigns: Sequence[int]):
        self._wire = wire
        self._shards = shards
        self._brands = brands
        self._campaigns = campaigns
        self._read_to = dict.fromkeys(shards, "-")
        self._seen = dict.fromkeys(shards, 0)
        self._keys = [key for shard in shards for key in (shard_keys(shard).shard, shard_keys(shard).journal)]
        for brand in brands:
            self._keys += [keys_of_brand(brand).brand(brand), *keys_of_brand(brand).holds(brand)]
        self._keys += [keys_of_campaign(campaign).campaign(campaign) for campaign in campaigns]

    def begin_anew(self, shard: int, seen: int) -> None:
        """Notes that the shard's journal begins anew after the first `seen` entries of the model."""
        self._read_to[shard], self._seen[shard] = "-", seen

    def keys(self) -> list[str]:
        """Every key that these shards may have."""
        keys = [key for shard in self._shards for key in shard_keys(shard).fixed]
        for brand in self._brands:
            keys += [keys_of_brand(brand).brand(brand), *keys_of_brand(brand).holds(brand)]
        return keys + [keys_of_campaign(campaign).campaign(campaign) for campaign in self._campaigns]

    def check(self, twin: ReferenceModel, *, all_periods: bool) -> None:
        """Compares every counter, sum on hold, open hold, version, rotation and new journal entry."""
        call = Call(_VIEW, self._keys, [self._read_to[shard] for shard in self._shards])
        replies = iter(self._wire.call(call, 20.0))
        for shard in self._shards:
            state = twin.shards[shard]
            now, n, mark = map(pairs(next(replies)).get, (b"now", b"n", b"mark"))
            assert (bool(mark), int(now or 0), int(n or 0)) == (state.marked, state.kept_now, state.n if mark else 0)
            self._check_journal(shard, state, ((entry_id, pairs(flat)) for entry_id, flat in next(replies)))
        for brand in self._brands:
            self._check_brand(twin, brand, *(pairs(next(replies)) for _ in range(3)), all_periods)
        for campaign in self._campaigns:
            fields = pairs(next(replies))
            state = twin.shard(campaign)
            there = state.campaigns.get(campaign)
            assert bool(fields) == (there is not None and state.marked), campaign
            if fields and there:
                plan = (
                    int(fields[b"v"]),
                    fields[b"on"] == b"1",
                    fields[b"archived"] == b"1",
                    fields[b"schedule"].decode(),
                )
                assert plan == (there.version, there.enabled, there.archived, there.schedule.compiled), campaign
                same_counters(fields, there, state.kept_now, all_periods)
                same_own_budgets(fields, there)
                same_pacing(fields, there, state.kept_now)
                same_brake(fields, there, state.kept_now)

    def _check_journal(self, shard: int, state: Shard, raw: Iterable[tuple[bytes, dict[bytes, bytes]]]) -> None:
        for entry_id, fields in raw:
            assert self._seen[shard] < len(state.journal), f"an entry that the twin does not have: {fields}"
            assert entry_of(entry_id, fields) == told(state.journal[self._seen[shard]])
            self._read_to[shard] = "(" + entry_id.decode()
            self._seen[shard] += 1
        if state.marked:
            assert self._seen[shard] == len(state.journal), f"not written: {state.journal[self._seen[shard] :]}"

    @staticmethod
    def _check_brand(
        twin: ReferenceModel,
        brand_id: int,
        fields: dict[bytes, bytes],
        holds: dict[bytes, bytes],
        expiry: dict[bytes, bytes],
        all_periods: bool,
    ) -> None:
        state = twin.shards[brand_id % 64]
        brand = state.brands.get(brand_id)
        assert bool(fields) == (brand is not None and state.marked), brand_id
        if not fields or brand is None:
            return
        limits = tuple(int(fields[name]) if fields[name] else None for name in (b"daily", b"monthly"))
        since = {
            f"{name}_budget": int(at) for name in ("daily", "monthly") if (at := fields.get(f"{name}_at".encode()))
        }
        got = (int(fields[b"v"]), limits, int(fields[b"archived"]), since, int(fields.get(b"held", 0)))
        stops = brand.archived + 2 * brand.paused
        assert got == (brand.version, brand.limits, stops, brand.since, brand.held), brand_id
        of_campaigns = {int(name[2:]): int(value) for name, value in fields.items() if name[:2] == b"h:"}
        if fields.get(b"own") == b"1":
            there = {campaign for campaign, _ in brand.holds}
            assert of_campaigns == {campaign: brand.held_by(campaign) for campaign in there}
        else:
            assert not of_campaigns
            assert not any(
                c.limits.compiled or c.flights or c.pace or c.brake.round or c.steps
                for c in state.campaigns.values()
                if brand_of(c.campaign_id) == brand_id
            )
        same_pacing(fields, brand, state.kept_now)
        same_steps(fields, brand)
        same_carry(fields, brand)
        assert {name.decode(): value.decode() for name, value in holds.items()} == {
            f"{campaign}:{hold}": f"{of.held},{of.expires_ms}" + (f",{of.number}" if of.number else "")
            for (campaign, hold), of in brand.holds.items()
        }
        assert {name.decode(): int(score) for name, score in expiry.items()} == {
            f"{campaign}:{hold}": of.expires_ms for (campaign, hold), of in brand.holds.items()
        }
        same_counters(fields, brand, state.kept_now, all_periods)
        assert fields.get(b"zone", b"").decode() == brand.zone.text


def same_counters(fields: dict[bytes, bytes], there: Brand | Campaign, now: int, all_periods: bool) -> None:
    """Each period's counter; only open periods where a close or rebuild may have removed the others."""
    got = {name.decode(): int(value) for name, value in fields.items() if name[:2] in (b"d:", b"m:")}
    open_, spent = periods_of(now, there.zone), there.spent
    rolling = {period for period in {*got, *spent} if not period.startswith("f:")}
    for period in rolling if all_periods else open_:
        assert got.get(period, 0) == spent[period], f"{period}: Redis {got.get(period, 0)}, twin {spent[period]}"


def same_pacing(fields: dict[bytes, bytes], there: Brand | Campaign, now: int) -> None:
    """What was published of its pacing, what its present minute spent, and the last pass rate that is known."""
    names = [b"p", *(b"c%d" % number for number in range(1, 10))]
    assert {f"{name.decode()}={fields[name].decode()}" for name in names if name in fields} == set(there.pace)
    minute, spent, *rate = map(int, fields.get(b"s", b"0,0").split(b","))
    assert (spent if minute == now // MINUTE_MS else 0) == there.in_minute(now)
    assert (rate and Rate(minute, *rate)) == (there.rate or [])


def same_steps(fields: dict[bytes, bytes], there: Brand | Campaign) -> None:
    """The steps of its limits."""
    assert [fields[name].decode() for name in (b"n1", b"n2") if name in fields] == [s.compiled for s in there.steps]


def same_carry(fields: dict[bytes, bytes], there: Brand) -> None:
    """The cap of its rollover, and the carry that was last written."""
    day, left, before = there.kept
    carry = f"{there.cap},{day},{left},{'' if before is None else before}"
    assert fields.get(b"b", b"").decode() == ("" if there.cap is None else carry)


def same_brake(fields: dict[bytes, bytes], there: Campaign, now: int) -> None:
    """A campaign's brake, and since when its breaker is open."""
    assert fields.get(b"br", b"").decode() == there.brake.compiled
    since = fields.get(b"bk", b"")
    assert (int(since) if since.isdigit() else None) == there.broken_ms


_SINCE: Final = {
    b"own_daily_at": "campaign_daily_budget",
    b"own_monthly_at": "campaign_monthly_budget",
    b"lifetime_at": "flight_budget",
}


def same_own_budgets(fields: dict[bytes, bytes], there: Campaign) -> None:
    """A campaign's own limits, when each last turned, and its lifetime counter, which is there only where it has such a limit."""
    same_steps(fields, there)
    limits = fields.get(b"x", b"").decode()
    assert (limits if limits != "::" else "") == there.limits.compiled
    assert {cause: int(fields[name]) for name, cause in _SINCE.items() if fields.get(name)} == there.since
    plan = [fields[name].decode() for name in (b"f1", b"f2") if name in fields]
    assert plan == [flight.compiled for flight in there.flights]
    counters = {name.decode(): int(value) for name, value in fields.items() if name[:2] == b"f:" and name != b"f:0"}
    assert counters == {name: there.spent[name] for name in counters}
    assert counters.keys() >= {flight.field for flight in there.flights}
    assert counters.keys() >= {name for name, micros in there.spent.items() if micros and name[:2] == "f:"} - {LIFETIME}
    lifetime = None if there.limits.lifetime is None else there.spent[LIFETIME]
    assert (int(fields[b"f:0"]) if b"f:0" in fields else None) == lifetime
