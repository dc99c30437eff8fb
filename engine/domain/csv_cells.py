"""Texts in cells of CSV. What a spreadsheet would run as a formula gets a quote before it, and reading takes that off again.

Where the decimal sign is a comma, spreadsheets split at `;`, and at line ends, inside of cells too: a formula may begin behind each.
"""

from __future__ import annotations

import re
from typing import Final

_FORMULA: Final = re.compile(r"(?:^|(?<=[;\n\r]))(?='*[=+\-@\t\r])")
_GUARDED: Final = re.compile(r"(?:^|(?<=[;\n\r]))'(?='*[=+\-@\t\r])")


def guarded(text: str) -> str:
    """A text as a cell. One that has quotes before such a sign gets one more, so that `unguarded` finds what was there."""
    return _FORMULA.sub("'", text)


def unguarded(cell: str) -> str:
    """The text of a cell that `guarded` made; any other cell as it is."""
    return _GUARDED.sub("", cell)
