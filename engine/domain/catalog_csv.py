"""The table of brands and campaigns as CSV: its columns, the cells of a row, and what a person's cells mean.

An empty cell leaves its field as it is, and `none` is no budget and no external id. Writing a table and reading it changes nothing.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from engine.domain.brake import parse_per_minute
from engine.domain.csv_cells import guarded, unguarded
from engine.domain.ids import check_text_id
from engine.domain.money import NO_LIMIT_WORD, format_micros, parse_budget
from engine.domain.names import clean_name
from engine.domain.operations import MOST_ROWS
from engine.domain.pacing import check_catch_up, check_pacing
from engine.domain.schedule import Schedule
from engine.domain.zone_text import UTC_NAME
from engine.domain.zones import check_zone
from engine.errors import InvalidInput, shown

MOST_BYTES: Final = 10 * 1024 * 1024
MOST_LINES: Final = 5 * MOST_ROWS
"""Blank ones too, and those inside of cells: reading ten million of them would keep the page busy for a minute."""
BRAND, CAMPAIGN = "brand", "campaign"
ALWAYS: Final = "always"
COLUMNS: Final = (
    "kind", "id", "version", "brand_id", "brand", "name", "external_id", "paused", "daily_budget", "monthly_budget",
    "lifetime_budget", "rate_limit", "breaker", "schedule", "pacing", "catch_up", "time_zone",
)  # fmt: skip
_NO_ID: Final = re.compile(r"'*none", re.IGNORECASE)
_YES_NO: Final = {"yes": True, "no": False, "true": True, "false": False}
_DIGITS: Final = re.compile(r"[0-9]{1,16}", re.ASCII)


class Wrong(Exception):  # no error: a line that is left out, with what to do
    """A line that means nothing. field: its column."""

    def __init__(self, field: str, value: str, why: str) -> None:
        super().__init__(why)
        self.field, self.value, self.why = field, value, why


class Field(NamedTuple):
    """A column that holds a value of the catalog. of: whose it is. name: of the field. read: raises InvalidInput."""

    of: tuple[str, ...]
    name: str
    read: Callable[[str], Any]
    write: Callable[[Any], str]


def _amount(name: str) -> Callable[[str], int | None]:
    return lambda text: parse_budget(text, name)


def _a_minute(name: str) -> Callable[[str], int | None]:
    return lambda text: parse_per_minute(text, name)


def _amount_text(value: int | None) -> str:
    return NO_LIMIT_WORD if value is None else format_micros(value)


def _paused(text: str) -> bool:
    if text.lower() not in _YES_NO:
        raise InvalidInput(f"paused {shown(text)} is neither yes nor no: write one of them", "paused")
    return _YES_NO[text.lower()]


def _external_id(text: str) -> str | None:
    if text.lower() == NO_LIMIT_WORD:
        return None
    return check_text_id(text[1:] if _NO_ID.fullmatch(text) else text, "external_id")


def _external_id_text(value: str | None) -> str:
    if value is None:
        return NO_LIMIT_WORD
    return f"'{value}" if _NO_ID.fullmatch(value) else value


def _schedule_text(value: Any) -> str:
    return ALWAYS if value is None else json.dumps(value)


_BOTH: Final = (BRAND, CAMPAIGN)
FIELDS: Final[Mapping[str, tuple[Field, ...]]] = {
    "name": (Field(_BOTH, "name", clean_name, str),),
    "external_id": (Field(_BOTH, "external_id", _external_id, _external_id_text),),
    "paused": (
        Field((BRAND,), "paused", _paused, lambda paused: "yes" if paused else "no"),
        Field((CAMPAIGN,), "enabled", lambda text: not _paused(text), lambda enabled: "no" if enabled else "yes"),
    ),
    "daily_budget": (Field(_BOTH, "daily_budget_micros", _amount("daily_budget"), _amount_text),),
    "monthly_budget": (Field(_BOTH, "monthly_budget_micros", _amount("monthly_budget"), _amount_text),),
    "lifetime_budget": (Field((CAMPAIGN,), "lifetime_budget_micros", _amount("lifetime_budget"), _amount_text),),
    "rate_limit": (Field((CAMPAIGN,), "rate_limit_micros", _a_minute("rate_limit"), _amount_text),),
    "breaker": (Field((CAMPAIGN,), "breaker_micros", _a_minute("breaker"), _amount_text),),
    "schedule": (Field((CAMPAIGN,), "schedule", lambda text: Schedule.parse(text).to_json(), _schedule_text),),
    "pacing": (Field(_BOTH, "pacing", check_pacing, str),),
    "catch_up": (Field(_BOTH, "catch_up", check_catch_up, str),),
    "time_zone": (Field((BRAND,), "time_zone", check_zone, lambda zone: zone or UTC_NAME),),
}
"""The columns with values, each with one field for brands and one for campaigns where they differ."""


def field_of(column: str, kind: str) -> Field | None:
    """The field of a column for brands or campaigns; None where they have none."""
    return next((field for field in FIELDS[column] if kind in field.of), None)


def cells_of(kind: str, id_: int, version: int, brand: tuple[int, str], values: Mapping[str, Any]) -> list[str]:
    """A row of the table. brand: id and name of its brand. values: its fields, as operations have them."""
    head = {
        "kind": kind,
        "id": str(id_),
        "version": str(version),
        "brand_id": str(brand[0]),
        "brand": guarded(brand[1]),
    }
    out = []
    for column in COLUMNS:
        if column in head:
            out.append(head[column])
        else:
            field = field_of(column, kind)
            out.append("" if field is None else guarded(field.write(values[field.name])))
    return out


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file. no: its number in the file. cells: {column: text}, without the guards of formulas; empty ones are not there."""

    no: int
    cells: Mapping[str, str]
    too_many: str = ""

    @property
    def kind(self) -> str:
        """Whether it is of a brand or a campaign. Raises Wrong."""
        text = self.cells.get("kind", "")
        if text.lower() not in _BOTH:
            raise Wrong("kind", text, "write brand or campaign")
        return text.lower()

    def number(self, column: str) -> int | None:
        """A whole number; None where the cell is empty. Raises Wrong."""
        text = self.cells.get(column)
        if text is None:
            return None
        if _DIGITS.fullmatch(text) is None:
            raise Wrong(column, text, "write a whole number, as the export has it")
        return int(text)

    def values(self) -> dict[str, Any]:
        """The fields that it gives, as operations have them. Raises Wrong."""
        kind, out = self.kind, {}
        for column in FIELDS:
            text = self.cells.get(column)
            if text is None:
                continue
            field = field_of(column, kind)
            if field is None:
                raise Wrong(column, text, f"a {kind} has none: leave the cell empty")
            try:
                out[field.name] = field.read(text)
            except InvalidInput as error:
                raise Wrong(column, text, str(error)) from None
        return out


def lines_of(data: bytes) -> list[Line]:
    """The lines of a file that a person wrote, without blank ones. Raises InvalidInput in one line for what is no table of this kind."""
    text = _text_of(data)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    out: list[Line] = []
    try:
        head = _head(next(reader, []))
        last = reader.line_num
        for row in reader:
            no, last = last + 1, reader.line_num
            if any(cell.strip() for cell in row):
                out.append(_line(no, head, row))
            if len(out) > MOST_ROWS:
                raise InvalidInput(f"file has more than {MOST_ROWS} rows: split it", "file")
    except csv.Error as error:
        raise InvalidInput(f"file is no CSV from line {reader.line_num}: {error}", "file") from None
    if not out:
        raise InvalidInput("file has no rows under its head: add some", "file")
    return out


def _line(no: int, head: list[str], row: list[str]) -> Line:
    cells = {name: unguarded(cell.strip()) for name, cell in zip(head, row, strict=False) if cell.strip()}
    return Line(no, cells, next((cell for cell in row[len(head) :] if cell.strip()), ""))


def _text_of(data: bytes) -> str:
    if len(data) > MOST_BYTES:
        raise InvalidInput(
            f"file has {len(data)} bytes: give at most {MOST_BYTES}, in several files if need be", "file"
        )
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InvalidInput("file is in UTF-16: save it as CSV in UTF-8", "file")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidInput(
            f"file is not in UTF-8 (byte {data[error.start]:#04x} on line {line}): save it as CSV in UTF-8", "file"
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise InvalidInput(f"file has a NUL on line {line}, so it is no text: save it as CSV in UTF-8", "file")
    if max(text.count("\n"), text.count("\r")) > MOST_LINES:
        raise InvalidInput(f"file has more than {MOST_LINES} lines, blank ones too: split it", "file")
    if not text.strip():
        raise InvalidInput("file is empty: give a table, such as the export", "file")
    return text


def _delimiter(text: str) -> str:
    first = text.lstrip("\r\n").partition("\n")[0]
    return max(",;\t", key=first.count)


def _head(row: list[str]) -> list[str]:
    head = [cell.strip().lower() for cell in row]
    for name in head:
        if name not in COLUMNS:
            raise InvalidInput(f"file has a column {shown(name)}, which is none of {', '.join(COLUMNS)}", "file")
        if head.count(name) > 1:
            raise InvalidInput(f"file has the column {name} twice: keep one", "file")
    if "kind" not in head:
        raise InvalidInput("file has no column kind: add one with brand or campaign in each row", "file")
    return head
