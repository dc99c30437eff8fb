"""Spends: the two verbs, calls that come again, and events that come again.

`record` states a fact, so it is counted whatever the budgets say. `try` asks, and is refused, consuming nothing, where a budget would be passed
or the campaign may not run. The spends of a call are judged in order, each by what the ones before it left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from engine.domain.causes import RATE
from engine.domain.ids import brand_of
from tests.model.answers import ACCEPTED, CONFLICT, DUPLICATE, RECORDED, REFUSED, UNKNOWN_CAMPAIGN, Answer
from tests.model.journal import COUNTED, EARLIER, Entry, Row, Spend, Verdict
from tests.model.late import booked_day, refusal_then
from tests.model.plan import ask, count, is_asked, refusal
from tests.model.shard import Call, Seen, Shard, event_name

RECORD: Final = "record"
TRY: Final = "try"

_UNKNOWN: Final = Verdict(UNKNOWN_CAMPAIGN)
_CONFLICT: Final = Verdict(CONFLICT)


def charge(shard: Shard, verb: str, request_id: str, spends: Sequence[Spend], clock: int) -> list[Answer]:
    """One call. Raises shard.NotReady; nothing has changed then."""
    now = shard.now(clock)
    content = tuple(spends)
    brands = shard.named((spend.campaign_id for spend in content), now)
    before = _before(shard, verb, request_id, content, now)
    steps = tuple(shard.expire(brands, now)) if verb == TRY else ()

    verdicts: list[Verdict] = []
    logged: list[Verdict] = []
    rows: list[Row] = []
    fresh = False
    with shard.watching(brands, now) as changes:
        for position, spend in enumerate(content):
            known = before[position] if before else _UNKNOWN
            # What was unknown before is judged afresh: its campaign may be there by now.
            verdict = _judge(shard, verb, spend, now) if known == _UNKNOWN else known
            verdicts.append(verdict)
            logged.append(Verdict(EARLIER) if known.word == COUNTED else verdict)
            if known == _UNKNOWN and verdict != _UNKNOWN:
                fresh = True
                if verdict.word == COUNTED:
                    day = booked_day(shard, spend, now)
                    row = Row(position, spend.campaign_id, spend.micros, spend.event_id, "spend", None, day)
                    row = row._replace(flight=shard.campaigns[spend.campaign_id].counter(now))
                    rows.append(row)

    if rows or steps:
        mixed = tuple(logged) if 0 < len(rows) < len(content) else ()
        told = (request_id, verb, content) if rows else ("", "", ())
        shard.append(Entry(shard.n + 1, now, *told, mixed, tuple(rows), steps, frozenset(changes), trips=shard.trips))
    if fresh:
        shard.requests.remember(request_id, Call(verb, content, tuple(verdicts)), now)
    shard.kept_now = now
    fresh_ones = [
        (s.campaign_id, v)
        for i, (s, v) in enumerate(zip(content, verdicts, strict=True))
        if not before or before[i] == _UNKNOWN
    ]
    awaited = {campaign for campaign, verdict in fresh_ones if verdict.causes == (RATE,)}
    return [
        _answer(shard, verb, spend, verdict, now, spend.campaign_id in awaited)
        for spend, verdict in zip(content, verdicts, strict=True)
    ]


def _before(
    shard: Shard, verb: str, request_id: str, content: tuple[Spend, ...], now: int
) -> tuple[Verdict, ...] | None:
    """What a remembered call of this id was answered. Another verb or other content is a conflict throughout."""
    call = shard.requests.recall(request_id, now)
    if call is None:
        return None
    if call.content == content and call.verb in ("", verb):
        return call.verdicts
    return (_CONFLICT,) * len(content)


def _judge(shard: Shard, verb: str, spend: Spend, now: int) -> Verdict:
    """What becomes of one spend; counts it where it is counted. A refusal does not use up an event id."""
    campaign = shard.campaigns.get(spend.campaign_id)
    if campaign is None:
        return _UNKNOWN
    brand = shard.brands[brand_of(spend.campaign_id)]
    if spend.event_id is not None:
        seen = shard.events.recall(event_name(spend.campaign_id, spend.event_id), now)
        if seen is not None:
            same = (seen.campaign_id, seen.micros) == (spend.campaign_id, spend.micros)
            return Verdict(DUPLICATE) if same else _CONFLICT
    day, causes = booked_day(shard, spend, now), ()
    if verb == TRY:
        late = day != brand.zone.day_of(now)
        causes = (
            refusal_then(brand, campaign, spend.micros, day, now)
            if late
            else refusal(brand, campaign, spend.micros, now)
        )
        if is_asked(causes) or (not causes and not late):
            ask(brand, campaign, spend.micros, now)
    if causes:
        return Verdict(REFUSED, causes)
    count(brand, campaign, spend.micros, now, day)
    if spend.event_id is not None:
        seen = Seen(spend.campaign_id, spend.micros, day, campaign.counter(now))
        shard.events.remember(event_name(spend.campaign_id, spend.event_id), seen, now)
    return Verdict(COUNTED)


def _answer(shard: Shard, verb: str, spend: Spend, verdict: Verdict, now: int, awaited: bool) -> Answer:
    """The verdict in the bidder's words, with the figures after the whole call; a refusal keeps the causes it had."""
    word = {COUNTED: RECORDED if verb == RECORD else ACCEPTED}.get(verdict.word, verdict.word)
    causes = verdict.causes if verdict.word == REFUSED else None
    return shard.answer(spend.campaign_id, word, now, causes, awaited=awaited)
