"""CSV for spreadsheets, streamed. A text that a spreadsheet would run as a formula gets a quote before it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

from flask import Response

from engine.domain.csv_cells import guarded
from engine.domain.money import to_decimal

_CHUNK: Final = 1 << 14


def cell(value: str | int | None) -> str:
    """A value as a cell: nothing for None, numbers as they are, a text never as a formula."""
    if value is None:
        return ""
    if isinstance(value, int):
        return str(value)
    return guarded(value)


def exact(micros: int | None) -> str:
    """Micros with all six decimals, without thousands separators; nothing for None. A negative amount stays a number."""
    return "" if micros is None else f"{to_decimal(micros):.6f}"


def streamed(head: Sequence[str], rows: Iterable[Sequence[str]], name: str) -> Response:
    """A download of rows that are made while they are sent. The first of them are made before, so that a server which
    cannot be asked is told by a page.
    """

    def parts() -> Iterator[bytes]:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\r\n")
        writer.writerow(head)
        for row in rows:
            writer.writerow(row)
            if text.tell() >= _CHUNK:
                yield text.getvalue().encode()
                text.seek(0)
                text.truncate()
        yield text.getvalue().encode()

    made = parts()
    response = Response(chain([next(made)], made), mimetype="text/csv")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
