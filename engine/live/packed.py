"""The packed form of a call, which `batches` writes and persist reads from the journal: one sum a campaign, and the
single spends as bytes.

Sums are `<campaign_id>,<micros>,<how many>;` per campaign. The log has a byte version, a byte width of an amount (4
or 8), a byte per spend with the place of its campaign among the sums, then the amounts, little-endian.
`lua/lib/packed.lua` and docs/protocol.md describe the same. Where each spend has an event id, the version is 2, and
the ids are beside the log as dedup names, `<brand>:<event id>`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Final, NamedTuple, TypeVar

from engine.domain.ids import TEXT_ID, brand_of
from engine.speedups import speedups

_Value = TypeVar("_Value")

VERSION: Final = 1
NAMED: Final = 2
_CODES: Final = {4: "I", 8: "Q"}
_NAMES: Final = re.compile(rf"[1-9]\d*:{TEXT_ID}(?:,[1-9]\d*:{TEXT_ID})*", re.ASCII)
_SUM: Final = re.compile(r"(\d{1,16}),(\d{1,16}),(\d{1,4});", re.ASCII)


class Sum(NamedTuple):
    """The sum of one campaign in a packed call."""

    campaign_id: int
    micros: int
    spends: int


class Unpacked(NamedTuple):
    """A packed call from the journal: its sums, and of each spend the place of its campaign among the sums, and its
    micros. bad: why the spends do not add up to the sums; then they are left out.
    """

    sums: list[Sum]
    places: bytes
    micros: tuple[int, ...]
    bad: str = ""
    events: list[str] | None = None
    """The event id of each spend; None where they have none."""

    @property
    def size(self) -> int:
        """How many spends the call had."""
        return sum(line.spends for line in self.sums)


def read(sums: str, log: bytes, names: str | None = None) -> Unpacked:
    """Reads a packed call, with the names of its events where it has some. Raises ValueError for malformed sums."""
    lines = read_sums(sums)
    try:
        places, micros = unpack(lines, log, VERSION if names is None else NAMED)
        return Unpacked(lines, places, micros, "", None if names is None else _events(lines, places, names))
    except DoesNotAddUp as why:
        return Unpacked(lines, b"", (), str(why))


class DoesNotAddUp(Exception):
    """A log does not add up to its sums."""


def _events(lines: Sequence[Sum], places: bytes, names: str) -> list[str]:
    parts = names.split(",")
    if len(parts) != len(places) or _NAMES.fullmatch(names) is None:
        raise DoesNotAddUp("it does not name an event for each of its spends")
    homes = [f"{brand_of(line.campaign_id)}:" for line in lines]
    events = []
    for place, name in zip(places, parts, strict=True):
        if not name.startswith(homes[place]):
            raise DoesNotAddUp(f"its event {name} is not of the brand of its spend")
        events.append(name[len(homes[place]) :])
    return events


def pack(
    campaign_ids: Sequence[int], campaigns: Sequence[int], micros: Sequence[int], version: int = VERSION
) -> tuple[str, bytes]:
    """The sums and the log of spends. campaigns: each campaign once."""
    if speedups.pack is not None and (packed := speedups.pack(campaign_ids, campaigns, micros, version)) is not None:
        return packed
    return pack_in_python(campaign_ids, campaigns, micros, version)


def pack_in_python(
    campaign_ids: Sequence[int], campaigns: Sequence[int], micros: Sequence[int], version: int
) -> tuple[str, bytes]:
    """The same, without the compiled step: its reference, and where columns are no plain lists or tuples of ints."""
    if len(campaigns) == 1:
        return f"{campaigns[0]},{sum(micros)},{len(micros)};", _log(version, bytes(len(micros)), micros)
    index = {campaign_id: place for place, campaign_id in enumerate(campaigns)}
    order = bytes(each_of(index, campaign_ids))
    sums = [0] * len(index)
    for place, amount in zip(order, micros):  # noqa: B905  # _log refuses columns that differ in length
        sums[place] += amount
    log = _log(version, order, micros)
    return "".join([f"{campaign},{sums[place]},{order.count(place)};" for campaign, place in index.items()]), log


def each_of(found: Mapping[int, _Value], keys: Sequence[int]) -> Sequence[_Value]:
    """The values of many keys, in order."""
    return itemgetter(*keys)(found) if len(keys) > 1 else [found[key] for key in keys]


def pack_one(micros: Sequence[int]) -> bytes:
    """The log of spends of a single campaign."""
    return _log(VERSION, bytes(len(micros)), micros)


def _log(version: int, places: bytes, micros: Sequence[int]) -> bytes:
    size = len(places)
    try:
        return struct.pack(f"<BB{size}s{size}I", version, 4, places, *micros)
    except struct.error:
        # An amount needs the wider form.
        return struct.pack(f"<BB{size}s{size}Q", version, 8, places, *micros)


def read_sums(sums: str) -> list[Sum]:
    """Parses the sums of a call. Raises ValueError."""
    lines = [Sum(*map(int, match.groups())) for match in _SUM.finditer(sums)]
    if not lines or _SUM.sub("", sums):
        raise ValueError(f"not the sums of a call: {sums[:60]!r}")
    return lines


def unpack(lines: Sequence[Sum], log: bytes, version: int = VERSION) -> tuple[bytes, tuple[int, ...]]:
    """The place of each spend's campaign among the sums, and the micros of each. Raises DoesNotAddUp."""
    size = sum(line.spends for line in lines)
    code = _CODES.get(log[1]) if len(log) > 1 and log[0] == version else None
    if code is None or len(log) != 2 + size * (1 + log[1]):
        raise DoesNotAddUp("its log is of another version, width or length than its sums")
    order, micros = log[2 : 2 + size], struct.unpack_from(f"<{size}{code}", log, 2 + size)
    totals = [0] * len(lines)
    try:
        for place, amount in zip(order, micros, strict=True):
            totals[place] += amount
    except IndexError:
        raise DoesNotAddUp("its log names a campaign that is not among its sums") from None
    if 0 in micros:
        raise DoesNotAddUp("its log has a spend of nothing")
    for place, line in enumerate(lines):
        if totals[place] != line.micros or order.count(place) != line.spends:
            raise DoesNotAddUp(
                f"its log has {order.count(place)} spends of campaign {line.campaign_id} with {totals[place]} micros, its sums"
                f" {line.spends} with {line.micros}"
            )
    return order, micros
