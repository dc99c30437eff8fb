"""Reads a CSV file of spends line by line, for replay. Holds one line in memory, and tells a bad line from a bad file.

Each line is one row: a name cannot contain a line end. So an unclosed quote makes one line invalid, not the rest.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final

from engine.domain.ids import check_text_id
from engine.domain.money import MAX_AMOUNT_MICROS, check_amount_micros
from engine.domain.names import clean_name
from engine.errors import InvalidAmount, InvalidInput, shown
from engine.feeds.spend_lines import LONGEST_LINE, STDIN, Lines, NotLines

COLUMNS: Final = ("at", "event_id", "brand", "campaign", "amount_micros")
_DIGITS: Final = re.compile(rf"[0-9]{{1,{len(str(MAX_AMOUNT_MICROS))}}}", re.ASCII)
_BOM: Final = b"\xef\xbb\xbf"
_ENCODINGS: Final = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
_DELIMITERS: Final = (",", ";", "\t")
_SEP_LINE: Final = re.compile(rb"\"?sep=([,;\t])\"?", re.IGNORECASE)
"""The line by which Excel names the delimiter."""


@dataclass(frozen=True, slots=True)
class SpendRow:
    """One valid line. line: its number in the file. at: the instant of the spend; None where the field is empty."""

    line: int
    at: datetime | None
    event_id: str | None
    brand: str
    campaign: str
    amount_micros: int


@dataclass(frozen=True, slots=True)
class Malformed:
    """One invalid line: its number, the wrong field and the reason."""

    line: int
    field: str
    why: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.why}"


class SpendFile:
    """A CSV file with the columns `at,event_id,brand,campaign,amount_micros`, in any order and case; it may have more.

    The delimiter is a comma, semicolon or tab, found from the header or from a first line `sep=;`. `-` is stdin, and
    gzip is decompressed. The constructor checks the header; it raises InvalidInput (field `file`) for any other file.
    """

    def __init__(self, path: str | Path) -> None:
        self._name = "stdin" if str(path) == STDIN else shown(str(path))
        try:
            self._lines = Lines(path)
        except NotLines as error:
            raise self._refused(str(error)) from None
        self.size = self._lines.size
        self._number = 0
        try:
            self._header()
        except NotLines as error:
            self._lines.close()
            raise self._refused(str(error)) from None
        except BaseException:
            self._lines.close()
            raise

    def __enter__(self) -> SpendFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.close()

    @property
    def bytes_read(self) -> int:
        """The bytes read so far, of `size`."""
        return self._lines.bytes_read

    def rows(self) -> Iterator[SpendRow | Malformed]:
        """Yields each line after the header in order, without blank ones. Where the file breaks off, a last `Malformed`
        says so.
        """
        try:
            while raw := self._line():
                if raw.strip():
                    yield self._row(self._number, raw)
        except NotLines as error:
            yield Malformed(self._number + 1, "file", f"the file {error}")

    def _line(self) -> bytes:
        raw = self._lines.next()
        self._number += bool(raw)
        return raw

    def _header(self) -> None:
        raw = self._line()
        encoding = _foreign_encoding(raw)
        if encoding is not None:
            raise self._refused(f"is {encoding} text, not UTF-8: save it as UTF-8")
        if b"\x00" in raw:
            raise self._refused("is binary, not UTF-8 text: give a CSV file")
        delimiter = _SEP_LINE.fullmatch(raw.removeprefix(_BOM).strip())
        if delimiter is not None:
            raw = self._line()
        if not raw.strip():
            raise self._refused(
                "is empty" if not raw else "begins with a blank line: its first line must name the columns"
            )
        try:
            line = raw.removeprefix(_BOM).decode()
        except UnicodeDecodeError as error:
            raise self._refused(f"is not UTF-8 text ({_wrong_byte(error)}): save it as UTF-8") from None
        self._delimiter = delimiter[1].decode() if delimiter is not None else _delimiter_of(line)
        try:
            names = [name.strip().lower() for name in _cells(line, self._delimiter)]
        except csv.Error as error:
            raise self._refused(
                f"does not begin with a CSV header ({error}): name the columns {','.join(COLUMNS)}"
            ) from None
        missing = [name for name in COLUMNS if name not in names]
        if missing:
            raise self._refused(f"has no column {', '.join(missing)}: its first line must name {','.join(COLUMNS)}")
        twice = [name for name in COLUMNS if names.count(name) > 1]
        if twice:
            raise self._refused(f"has the column {twice[0]} twice: name each once")
        self._width = len(names)
        self._column_indexes = [names.index(name) for name in COLUMNS]

    def _row(self, number: int, raw: bytes) -> SpendRow | Malformed:
        if len(raw) > LONGEST_LINE:
            return Malformed(number, "line", f"it is longer than {LONGEST_LINE} bytes")
        try:
            line = raw.decode()
        except UnicodeDecodeError as error:
            return Malformed(number, "line", f"it is not UTF-8 text ({_wrong_byte(error)}): save the file as UTF-8")
        try:
            cells = _cells(line, self._delimiter)
        except csv.Error as error:
            return Malformed(number, "line", f"{shown(line.rstrip())} is not a line of CSV ({error})")
        if len(cells) != self._width:
            return Malformed(number, "line", f"it has {len(cells)} fields, the header names {self._width}")
        at, event_id, brand, campaign, amount = (cells[index] for index in self._column_indexes)
        try:
            return SpendRow(
                number,
                _instant(at) if at else None,
                check_text_id(event_id, "event_id") if event_id else None,
                clean_name(brand, "brand"),
                clean_name(campaign, "campaign"),
                _micros(amount),
            )
        except InvalidInput as error:
            return Malformed(number, error.field or "line", str(error))

    def _refused(self, why: str) -> InvalidInput:
        return InvalidInput(f"{self._name} {why}", "file")


def _cells(line: str, delimiter: str) -> Sequence[str]:
    return next(csv.reader([line.rstrip("\r\n")], delimiter=delimiter, strict=True))


def _delimiter_of(header: str) -> str:
    """The delimiter of a header: the one that yields most of the columns, else a comma."""

    def columns(delimiter: str) -> int:
        try:
            names = [name.strip().lower() for name in _cells(header, delimiter)]
        except csv.Error:
            return 0
        return sum(name in names for name in COLUMNS)

    return max(_DELIMITERS, key=columns)


def _foreign_encoding(raw: bytes) -> str | None:
    """`UTF-16` or `UTF-32` where the first bytes show that encoding, else None."""
    for sign, name in _ENCODINGS.items():
        if raw.startswith(sign):
            return name
    beginning = raw[:20]
    # Without a byte order mark, every second byte of ASCII text in UTF-16 is zero.
    zeros = [beginning[at::2].count(0) for at in (0, 1)]
    return "UTF-16" if min(zeros) == 0 and max(zeros) >= len(beginning) // 2 > 0 else None


def _wrong_byte(error: UnicodeDecodeError) -> str:
    return f"byte {error.object[error.start]:#04x} at place {error.start + 1}"


def _instant(text: str) -> datetime:
    """Parses an ISO 8601 instant. Without a zone it is UTC."""
    try:
        at = datetime.fromisoformat(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidInput(f"at {shown(text)} is not an instant: write 2013-10-21T10:29:02.623Z", "at") from None


def _micros(text: str) -> int:
    if _DIGITS.fullmatch(text) is None:
        raise InvalidAmount(
            f"amount_micros {shown(text)} is not a whole number of micros from 1 to {MAX_AMOUNT_MICROS}",
            "amount_micros",
        )
    return check_amount_micros(int(text))
