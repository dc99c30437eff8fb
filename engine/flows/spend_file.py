"""A CSV file of spends, read line by line: what replay feeds. Never more than one line in memory; a bad line is told apart from a bad file.

A line of the file is a row: names hold no line ends here, so a quote that is never closed spoils its own line and not the rest.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final

from engine.domain.ids import check_text_id
from engine.domain.money import MAX_AMOUNT_MICROS, check_amount_micros
from engine.domain.names import clean_name
from engine.errors import InvalidAmount, InvalidInput, shown

COLUMNS: Final = ("at", "event_id", "brand", "campaign", "amount_micros")
LONGEST_LINE: Final = 65_536
_DIGITS: Final = re.compile(rf"[0-9]{{1,{len(str(MAX_AMOUNT_MICROS))}}}", re.ASCII)
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class SpendRow:
    """One readable line: who spent what, and when the log says it happened."""

    line: int
    at: datetime | None
    event_id: str | None
    brand: str
    campaign: str
    amount_micros: int


@dataclass(frozen=True, slots=True)
class Malformed:
    """One line that does not read, with the field that is wrong and why."""

    line: int
    field: str
    why: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.why}"


class SpendFile:
    """A CSV file with the columns `at,event_id,brand,campaign,amount_micros` in any order; more are ignored.

    Opening it checks the header. Raises InvalidInput (field `file`) for what is not such a file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._name = shown(str(path))
        try:
            self.size = self.path.stat().st_size
            self._file: BinaryIO = self.path.open("rb")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise self._refused(f"cannot be read ({reason}): give the path of a CSV file") from None
        self.bytes_read = 0
        try:
            self._header()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> SpendFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def rows(self) -> Iterator[SpendRow | Malformed]:
        """Every line after the header, in order; blank ones are passed over."""
        for number, raw in enumerate(iter(self._line, b""), start=2):
            if raw.strip():
                yield self._row(number, raw)

    def _header(self) -> None:
        try:
            raw = self._line()
        except OSError as error:
            raise self._refused(f"cannot be read ({error.strerror}): give the path of a CSV file") from None
        if raw.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\x00" in raw:
            raise self._refused("is not UTF-8 text: save it as UTF-8")
        if not raw.strip():
            raise self._refused(
                "is empty" if not raw else "begins with a blank line: its first line must name the columns"
            )
        try:
            names = [name.strip() for name in _cells(raw.removeprefix(_BOM).decode())]
        except UnicodeDecodeError:
            raise self._refused("is not UTF-8 text: save it as UTF-8") from None
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
        self._places = [names.index(name) for name in COLUMNS]

    def _line(self) -> bytes:
        """The next line; of one that is too long only its beginning, the rest is passed over."""
        raw = self._file.readline(LONGEST_LINE + 1)
        self.bytes_read += len(raw)
        rest = raw
        while len(rest) > LONGEST_LINE and not rest.endswith(b"\n"):
            rest = self._file.readline(LONGEST_LINE + 1)
            self.bytes_read += len(rest)
        return raw

    def _row(self, number: int, raw: bytes) -> SpendRow | Malformed:
        if len(raw) > LONGEST_LINE:
            return Malformed(number, "line", f"it is longer than {LONGEST_LINE} bytes")
        try:
            cells = _cells(raw.decode())
        except UnicodeDecodeError:
            return Malformed(number, "line", f"{shown(raw)} is not UTF-8 text")
        except csv.Error as error:
            return Malformed(number, "line", f"{shown(raw)} is not a line of CSV ({error})")
        if len(cells) != self._width:
            return Malformed(number, "line", f"it has {len(cells)} fields, the header names {self._width}")
        at, event_id, brand, campaign, amount = (cells[place] for place in self._places)
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


def _cells(line: str) -> Sequence[str]:
    return next(csv.reader([line.rstrip("\r\n")], strict=True))


def _instant(text: str) -> datetime:
    """An ISO 8601 instant; without a zone it is UTC, as all time here is."""
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
