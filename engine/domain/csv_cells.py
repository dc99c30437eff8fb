"""Texts in cells of CSV. One that a spreadsheet would run as a formula gets a quote before it, and reading takes that off again."""

from __future__ import annotations

import re
from typing import Final

_FORMULA: Final = re.compile(r"'*[=+\-@\t\r]")
_GUARDED: Final = re.compile(r"'+[=+\-@\t\r]")


def guarded(text: str) -> str:
    """A text as a cell. One that has quotes before such a sign gets one more, so that `unguarded` finds what was there."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguarded(cell: str) -> str:
    """The text of a cell that `guarded` made; any other cell as it is."""
    return cell[1:] if _GUARDED.match(cell) else cell
