"""The manifest of an exported day: its files with their digests, and what its rows add up to. It is read as a stranger's text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, NamedTuple

from engine.errors import BudgetError
from engine.ledger.day_rows import Part, Sums

NAME: Final = "manifest.json"
FORMAT: Final = "budget-engine spend_log"
SCHEMA_VERSION: Final = 1
"""Raised with every change of the columns, their types or their meaning; a day of another version is exported anew."""
LARGEST: Final = 64 << 20
"""Bytes of a manifest that are read: about 600,000 brands."""
_FILE: Final = re.compile(r"shard-[0-6][0-9]\.parquet", re.ASCII)
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


class NotWhole(BudgetError):
    """An exported day is not what its manifest says, or has none that can be read."""


class Place(NamedTuple):
    """Where a row is in the log of its shard."""

    generation: int
    n: int
    position: int


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file: the rows of one shard, in order."""

    name: str
    shard: int
    rows: int
    bytes: int
    sha256: str
    first: Place
    last: Place

    def document(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {
            "name": self.name,
            "shard": self.shard,
            "rows": self.rows,
            "bytes": self.bytes,
            "sha256": self.sha256,
            "first": self.first._asdict(),
            "last": self.last._asdict(),
        }


@dataclass(frozen=True, slots=True)
class Manifest:
    """What one folder of one day holds."""

    instance: str
    day: date
    kinds: Mapping[str, Part]
    brands: Mapping[int, Part]
    files: tuple[FileEntry, ...]
    schema_version: int = SCHEMA_VERSION

    @classmethod
    def of(cls, instance: str, day: date, sums: Sums, files: Iterable[FileEntry]) -> Manifest:
        """A manifest of rows that add up to these sums."""
        kinds, brands = _grouped(sums)
        return cls(instance, day, kinds, brands, tuple(files))

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.kinds.values())

    @property
    def micros(self) -> int:
        return sum(part.micros for part in self.kinds.values())

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)

    def differs(self, sums: Sums) -> str | None:
        """Where it differs from what rows add up to; None when it does not."""
        kinds, brands = _grouped(sums)
        given: tuple[tuple[str, Mapping[Any, Part], Mapping[Any, Part]], ...] = (
            ("kind", self.kinds, kinds),
            ("brand", self.brands, brands),
        )
        for what, ours, theirs in given:
            for key in sorted({*ours, *theirs}):
                had, has = ours.get(key, Part(0, 0)), theirs.get(key, Part(0, 0))
                if had != has:
                    said = f"{had.rows} rows with {had.micros} micros"
                    return f"its manifest has {said} of {what} {key}, found are {has.rows} with {has.micros}"
        return None

    def text(self) -> str:
        """The file: the same export gives the same text."""
        ends = [(file.shard, file.first, file.last) for file in self.files]
        document = {
            "format": FORMAT,
            "schema_version": self.schema_version,
            "instance": self.instance,
            "day": self.day.isoformat(),
            "rows": self.rows,
            "micros": self.micros,
            "first": {"shard": ends[0][0], **ends[0][1]._asdict()} if ends else None,
            "last": {"shard": ends[-1][0], **ends[-1][2]._asdict()} if ends else None,
            "kinds": {kind: part._asdict() for kind, part in sorted(self.kinds.items())},
            "brands": {str(brand_id): part._asdict() for brand_id, part in sorted(self.brands.items())},
            "files": [file.document() for file in self.files],
        }
        return json.dumps(document, indent=1) + "\n"


def read(raw: bytes, day: date) -> Manifest:
    """The manifest of a day from its file's bytes. Raises NotWhole."""
    try:
        given = json.loads(raw)
        if given["format"] != FORMAT:
            raise ValueError("another format")
        made = Manifest(
            instance=_text(given["instance"]),
            day=date.fromisoformat(_text(given["day"])),
            kinds={_text(kind): _part(part) for kind, part in given["kinds"].items()},
            brands={int(brand_id): _part(part) for brand_id, part in given["brands"].items()},
            files=tuple(_file(file) for file in given["files"]),
            schema_version=_number(given["schema_version"]),
        )
        shards = [file.shard for file in made.files]
        if shards != sorted(set(shards)):
            raise ValueError("its files are not in order")
        if given["rows"] != made.rows or given["micros"] != made.micros or _rows_of(made.files) != made.rows:
            raise ValueError("its own sums differ")
        if sum(part.rows for part in made.brands.values()) != made.rows:
            raise ValueError("its brands have other rows than its kinds")
        if made.schema_version == SCHEMA_VERSION and json.loads(made.text()) != given:
            raise ValueError("its ends are not those of its files, or it has more than an export writes")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise NotWhole(f"its {NAME} cannot be read ({type(error).__name__}: {str(error)[:80]})") from None
    if made.day != day:
        raise NotWhole(f"its {NAME} is of {made.day}")
    return made


def _grouped(sums: Sums) -> tuple[dict[str, Part], dict[int, Part]]:
    kinds: dict[str, Part] = {}
    brands: dict[int, Part] = {}
    for (brand_id, kind), part in sums.items():
        kinds[kind] = kinds.get(kind, Part(0, 0)).plus(*part)
        brands[brand_id] = brands.get(brand_id, Part(0, 0)).plus(*part)
    return kinds, brands


def _rows_of(files: Iterable[FileEntry]) -> int:
    return sum(file.rows for file in files)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a text is missing")
    return value


def _number(value: object) -> int:
    if type(value) is not int:
        raise TypeError("a number is missing")
    return value


def _part(value: Mapping[str, object]) -> Part:
    return Part(_number(value["rows"]), _number(value["micros"]))


def _file(value: Mapping[str, Any]) -> FileEntry:
    name, shard, digest = _text(value["name"]), _number(value["shard"]), _text(value["sha256"])
    # A name is part of a path: nothing but our own names is opened.
    if not _FILE.fullmatch(name) or name != name_of(shard) or not _SHA256.fullmatch(digest):
        raise ValueError("a file has a name or digest that no export writes")
    first, last = (
        Place(*(_number(value[end][name]) for name in Place._fields))
        for end in ("first", "last")
    )  # fmt: skip
    return FileEntry(name, shard, _number(value["rows"]), _number(value["bytes"]), digest, first, last)


def name_of(shard: int) -> str:
    """The file of a shard."""
    return f"shard-{shard:02d}.parquet"
