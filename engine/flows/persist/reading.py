"""Reads one raw entry of the journal, whole, so that no error comes later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from engine.flows.persist.entry_laws import check_entry, check_size
from engine.live.grammar import whole
from engine.live.journal import Entry, decode

_REASON: Final = 400
"""Characters that are kept of the reason for a quarantine."""


@dataclass(frozen=True, slots=True)
class Broken:
    """An entry that cannot be read. n is None where not even its number can."""

    entry_id: str
    ms: int
    n: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Read:
    """One raw entry of the journal, and the result of reading it."""

    fields: Mapping[bytes, bytes]
    entry: Entry | Broken

    size = 1

    @property
    def entry_id(self) -> str:
        return self.entry.entry_id

    last_id = entry_id

    @property
    def n(self) -> int | None:
        return self.entry.n

    last_n = n

    @property
    def generation(self) -> int | None:
        """Of the mark of a rebuild."""
        return self.entry.generation if isinstance(self.entry, Entry) else None


def read(entry_id: bytes, fields: Mapping[bytes, bytes]) -> Read:
    """Reads a whole entry, spends and steps included, so that no error comes later."""
    try:
        check_size(fields)
        entry = decode(entry_id, fields)
        check_entry(entry)
        return Read(fields, entry)
    except Exception as bad:  # noqa: BLE001  # whatever an entry has, it stops nothing else
        name = entry_id.decode()
        return Read(fields, Broken(name, int(name.partition("-")[0]), whole(fields.get(b"n")), str(bad)[:_REASON]))
