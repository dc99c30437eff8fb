"""V10: the hot Redis has only documented keys of the documented types. None may expire or be evicted, and held sums
equal their holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from engine.domain.ids import SHARDS, brand_of, shard_of
from engine.errors import ServerAway
from engine.flows.verify.findings import Check, confirmed
from engine.ledger.catalog import Catalog
from engine.live.inspect import BrandHolds, Inspector, SeenKey
from engine.live.keys import PREFIX, keys_of_brand

_KEY: Final = re.compile(r"budget:\{(\d{1,2})\}:([a-z]+)(?::(\d+))?")
_KINDS: Final = {
    "shard": "hash", "registry": "hash", "journal": "stream", "requests": "hash", "events": "hash",
    "brand": "hash", "campaign": "hash", "holds": "hash", "expiry": "zset",
}  # fmt: skip
_FIXED: Final = ("shard", "registry", "journal")
_NOT_THE_HOT_STATE: Final = (f"{PREFIX}scheduler:",)
"""RQ's heartbeat key, where both share one Redis."""


class Keyspace:
    """Checks every key."""

    def __init__(self, catalog: Catalog, inspector: Inspector) -> None:
        self._catalog = catalog
        self._inspector = inspector

    def check(self) -> Check:
        """V10."""
        check = Check(
            "V10", "keyspace: only documented keys and types, none expires, nothing is evicted, held = its holds"
        )
        infos = self._inspector.infos()
        for where, info in infos.items():
            at = f" at {where}" if len(infos) > 1 else ""
            policy = str(info.get("maxmemory_policy", "not told"))
            if policy not in ("noeviction", "not told"):
                check.find(f"maxmemory-policy{at} is {policy}: Redis may drop budgets; set noeviction")
            if evicted := int(info.get("evicted_keys", 0)):
                check.find(f"Redis{at} has evicted {evicted} keys since its start: run `budget-engine rebuild --all`")
        brands = {brand.id for brand in self._catalog.brands(include_archived=True)}
        with_holds = self._scan(check, brands, any(map(_may_expire, infos.values())))
        # A sum may exist without its keys, so every brand is checked that has either.
        for brand_id in sorted(with_holds | self._with_sum(brands)):
            if self._inspector.lacks(shard_of(brand_id)):
                continue
            for text, micros in confirmed(lambda brand_id=brand_id: self.holds_off(brand_id)):  # type: ignore[misc]  # mypy cannot infer a default
                check.find(
                    f"brand {brand_id} {text}; `budget-engine rebuild --shard {brand_id % SHARDS}` makes it anew",
                    f"brand {brand_id}",
                    micros,
                    brand_id,
                )
        return check

    def _scan(self, check: Check, brands: set[int], with_ttl: bool) -> set[int]:
        """Looks at every key; returns the brands that have holds."""
        count = others = 0
        with_holds: set[int] = set()
        try:
            for page in self._inspector.pages(with_ttl=with_ttl):
                for key in page:
                    if not key.name.startswith(PREFIX) or key.name.startswith(_NOT_THE_HOT_STATE):
                        others += 1
                        continue
                    count += 1
                    for problem in _problems(key, brands):
                        check.find(f"{key.name} {problem}")
                    found = _KEY.fullmatch(key.name)
                    if found and found[2] in ("holds", "expiry") and found[3] and int(found[3]) in brands:
                        with_holds.add(int(found[3]))
        except ServerAway as gone:
            if not gone.partial:
                raise
            check.find(f"keys were not looked at: {gone}")
        check.checked = f"{count} keys" + (f", and {others} of others" if others else "")
        return with_holds

    def brands_with_holds(self) -> set[int]:
        """Brands whose hash says that something is held."""
        return self._with_sum({brand.id for brand in self._catalog.brands(include_archived=True)})

    def _with_sum(self, brands: set[int]) -> set[int]:
        listed = sorted(brands)
        sums = self._inspector.fields([keys_of_brand(b).brand(b) for b in listed], ["held"])
        return {b for b, got in zip(listed, sums, strict=True) if got is not None and got[0] not in (None, "0")}

    def holds_off(self, brand_id: int) -> Iterator[tuple[str, int]]:
        """What is wrong with a brand's sum of holds, and by how many micros."""
        try:
            found = self._inspector.holds(brand_id)
        except ValueError as error:
            yield f"has a hold that does not read: {error}", 0
            return
        if found is None:
            return
        total = sum(micros for micros, _ in found.holds.values())
        if found.held != total:
            yield (
                f"has {found.held} micros held, its {len(found.holds)} holds are {total} ({found.held - total:+d})",
                found.held - total,
            )
        yield from _own_sums_off(found)
        expires = {name: at for name, (_, at) in found.holds.items()}
        if expires != found.expiry:
            apart = sorted(
                name for name in expires.keys() | found.expiry.keys() if expires.get(name) != found.expiry.get(name)
            )
            micros = sum(found.holds[name][0] for name in apart if name in found.holds)
            yield f"has {len(apart)} holds that are not in its expiry as they should be, first {apart[0]}", micros


def _own_sums_off(found: BrandHolds) -> Iterator[tuple[str, int]]:
    """Where a brand's sums of its campaigns' holds are wrong."""
    if found.own is None:
        return
    sums: dict[int, int] = {}
    for name, (micros, _) in found.holds.items():
        campaign_id = int(name.partition(":")[0])
        sums[campaign_id] = sums.get(campaign_id, 0) + micros
    for campaign_id in sorted(sums.keys() | found.own.keys()):
        apart = found.own.get(campaign_id, 0) - sums.get(campaign_id, 0)
        if apart:
            kept = found.own.get(campaign_id, 0)
            yield f"has {kept} micros held of campaign {campaign_id}, its holds are {kept - apart} ({apart:+d})", apart


def _may_expire(info: Mapping[str, Any]) -> bool:
    """Whether any key of the server has a time to live, by its own count; True where it does not report one."""
    counts = [of_db.get("expires") for name, of_db in info.items() if re.fullmatch(r"db\d+", name)]
    return not counts or any(count != 0 for count in counts)


def _problems(key: SeenKey, brands: set[int]) -> Iterator[str]:
    """What is wrong with one key, as the end of a sentence."""
    found = _KEY.fullmatch(key.name)
    if found is None or found[2] not in _KINDS or int(found[1]) >= SHARDS or not _numbered(found[2], found[3]):
        yield "is not a key of ours"
        return
    shard, kind = int(found[1]), found[2]
    if key.kind != _KINDS[kind]:
        yield f"is a {key.kind}, not a {_KINDS[kind]}"
    if key.ttl_ms != -1:
        yield f"expires in {key.ttl_ms} ms: nothing that counts money may"
    if kind in ("brand", "campaign", "holds", "expiry"):
        number = int(found[3])
        brand_id = brand_of(number) if kind == "campaign" else number
        if shard_of(brand_id) != shard:
            yield f"does not belong to shard {shard}"
        elif brand_id not in brands:
            yield "is of a brand that the catalog does not have"


def _numbered(kind: str, number: str | None) -> bool:
    if kind in _FIXED:
        return number is None
    return number in ("0", "1") if kind in ("requests", "events") else number is not None
