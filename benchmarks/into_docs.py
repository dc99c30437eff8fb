"""Writes what a benchmark measured into a document, between `<!-- name: begin -->` and `<!-- name: end -->`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

PACING: Final = Path(__file__).parents[1] / "docs" / "pacing.md"


def replaced(text: str, name: str, lines: Sequence[str]) -> str:
    """The text with these lines as its block of that name. Raises ValueError where it has no such block."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"no block {begin} ... {end}: add it where the lines shall stand")
    return "\n".join([before + begin, "", *lines, "", end + after])


def put(path: Path, name: str, lines: Sequence[str]) -> None:
    """Replaces a block of a document."""
    path.write_text(replaced(path.read_text(encoding="utf-8"), name, lines), encoding="utf-8")
