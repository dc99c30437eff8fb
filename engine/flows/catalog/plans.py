"""Compares the plans in Redis with the catalog, brand by brand and campaign by campaign."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from engine.domain import brake
from engine.domain.budget import BUDGETS, LIFTED
from engine.domain.flights import IN_PLAN
from engine.domain.ids import shard_of
from engine.ledger.records import BrandRecord, CampaignRecord
from engine.live.admin import REST_S
from engine.live.inspect import PAGE, Inspector
from engine.live.keys import keys_of_brand

_STEPS: Final = {"n1": "next step of limits", "n2": "step of limits after that"}
_OF_BRAND: Final = {
    "v": "version", **{kind.stored: kind.words for kind in BUDGETS}, "archived": "archive or pause", "p": "pacing", "zone": "time zone", "b": "rollover", **_STEPS,
}  # fmt: skip
_OF_CAMPAIGN: Final = {
    "v": "version", "on": "switch", "archived": "archived", "schedule": "schedule", "x": "own budgets", "f1": "present flight", "f2": "next flight", "br": "brake",
    "p": "pacing", **_STEPS,
}  # fmt: skip

_CURVES: Final = tuple(f"c{number}" for number in range(1, 10))


_LATER: Final = 3 + len(_STEPS)
"""Fields at the end that only brands with pacing, a time zone, a rollover or scheduled changes have."""
_ROLLOVER: Final = -1 - len(_STEPS)
_OWN: Final = 4
"""Fields before those that only campaigns with limits or flights of their own have."""


class Apart(NamedTuple):
    """A brand or campaign that differs. missing: Redis does not have it at all."""

    entity: str
    brand_id: int
    text: str
    micros: int = 0
    live_is_older: bool = False
    missing: bool = False


def plans_off(
    inspector: Inspector, brands: Iterable[BrandRecord], campaigns: Iterable[CampaignRecord], *, rests: bool = False
) -> Iterator[Apart]:
    """The differences between Redis and these rows, without shards whose server, of several, is away. rests: pauses after
    each page.
    """
    listed, own = list(brands), list(campaigns)
    found = _read(inspector, [keys_of_brand(b.id).brand(b.id) for b in listed], tuple(_OF_BRAND), rests)
    for b, plan in zip(listed, found, strict=True):
        if inspector.lacks(shard_of(b.id)):
            continue
        limits = (_limit(kind.limit_of(b)) for kind in BUDGETS)
        wanted = [
            str(b.version),
            *limits,
            b.stops,
            _named(b.pace).get("p", ""),
            b.zone,
            _limit(b.rollover_cap_micros),
            *_steps(b),
        ]
        if plan is not None:
            plan[-_LATER:] = [value or "" for value in plan[-_LATER:]]
            # Its cap; the rest of the field is of the present day.
            plan[_ROLLOVER] = (plan[_ROLLOVER] or "").split(",")[0]
        yield from _compare(f"brand {b.id}", b.id, plan, wanted, _OF_BRAND.values())
    paced = [(f"brand {b.id}", b.id, keys_of_brand(b.id).brand(b.id), b.pace) for b in listed if b.pace]
    paced += [(f"campaign {c.id}", c.brand_id, keys_of_brand(c.brand_id).campaign(c.id), c.pace) for c in own if c.pace]
    yield from _curves_off(inspector, [row for row in paced if not inspector.lacks(shard_of(row[1]))], rests)
    found = _read(inspector, [keys_of_brand(c.brand_id).campaign(c.id) for c in own], tuple(_OF_CAMPAIGN), rests)
    for c, switch in zip(own, found, strict=True):
        if inspector.lacks(shard_of(c.brand_id)):
            continue
        wanted = [
            str(c.version), _bit(c.enabled), _bit(c.archived_at is not None), c.schedule.compiled, c.limits.compiled,
            *(flight.compiled for flight in c.flights), *("",) * (IN_PLAN - len(c.flights)), c.brake.compiled, _named(c.pace).get("p", ""),
            *_steps(c),
        ]  # fmt: skip
        if switch is not None:
            switch[_OWN:] = ["" if value in (None, LIFTED, brake.LIFTED) else value for value in switch[_OWN:]]
        yield from _compare(f"campaign {c.id}", c.brand_id, switch, wanted, _OF_CAMPAIGN.values())


def _read(
    inspector: Inspector, keys: Sequence[str], names: Sequence[str], rests: bool
) -> Iterator[list[str | None] | None]:
    for start in range(0, len(keys), PAGE):
        yield from inspector.fields(keys[start : start + PAGE], names)
        if rests:
            time.sleep(REST_S)


def _compare(
    name: str, brand_id: int, live: list[str | None] | None, wanted: list[str], fields: Iterable[str]
) -> Iterator[Apart]:
    if live is None or live[0] is None:
        text = f"{name} is not in Redis, the catalog has it at version {wanted[0]}"
        yield Apart(name, brand_id, text, 0, True, missing=True)
        return
    older = live[0].isdigit() and int(live[0]) < int(wanted[0])
    for field, is_so, agreed in zip(fields, live, wanted, strict=True):
        if is_so != agreed:
            micros = 0
            if field.endswith("budget") and (is_so or "").isdigit() and agreed.isdigit():
                micros = int(is_so or 0) - int(agreed)
            text = f"{name} has {field} {is_so or 'none'} in Redis, the catalog says {agreed or 'none'}"
            yield Apart(name, brand_id, text, micros, older)


def _named(pace: Sequence[str]) -> dict[str, str]:
    """The fields of a pacing."""
    return dict(part.split("=", 1) for part in pace)


def _steps(row: BrandRecord | CampaignRecord) -> list[str]:
    """The fields of scheduled changes, nothing where there are none."""
    texts = [step.compiled for step in row.steps]
    return texts + [""] * (len(_STEPS) - len(texts))


def _curves_off(
    inspector: Inspector, paced: Sequence[tuple[str, int, str, Sequence[str]]], rests: bool
) -> Iterator[Apart]:
    """The curves that differ, of rows with pacing: (entity, brand, key, pace). Who has none is not read again."""
    for (entity, brand_id, _, pace), live in zip(
        paced, _read(inspector, [row[2] for row in paced], _CURVES, rests), strict=True
    ):
        wanted = _named(pace)
        for field, is_so in zip(_CURVES, live or (), strict=False):
            if (is_so or "") != wanted.get(field, ""):
                yield Apart(entity, brand_id, f"{entity} has another curve {field} in Redis than the catalog")


def _limit(micros: int | None) -> str:
    return "" if micros is None else str(micros)


def _bit(value: bool) -> str:
    return "1" if value else "0"
