"""The loader of the Lua scripts: it reads `lua/`, puts each included piece in place once, unrolls `-- each` blocks,
puts functions where they are first needed (`engine/live/placing.py`), and computes each script's SHA1.

A block is written once in the file and repeated for each row of a table in the script:

    -- each brand budget
    if not fits(limit_$i, spent_$i, held, amount) then refused = refused + $cause end
    -- end each

The tables are Markdown in comments (`lua/lib/budgets.lua`, `lua/lib/gates.lua`). The first cell of a table's head is
the table's name, the first cell of a row the row's. `$i` is the number of the row, `$name` its name, `$cause` its
cell in the column `cause`. A word before the table's name selects the rows of that `owner`.

In a checkout the files are in `<root>/lua`; a wheel has them beside this module.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from engine.live.placing import placed

LAYOUT: Final = "1"
"""The layout of keys, plan and journal that these scripts use. `lua/lib/constants.lua` has the same; a test compares
them.
"""
WITH_OWN_LIMITS: Final = "2"
"""The layout of a shard of which any campaign has limits of its own. The release before ignores these, so it refuses this layout."""
ALSO_SERVED: Final = (WITH_OWN_LIMITS,)
"""Further layouts of data that the scripts serve (`serves_data` in `lua/lib/constants.lua`), so that a rolling upgrade refuses no bidder."""

RECORD: Final = "record_spends"
TRY: Final = "try_spends"
NAMES: Final = (
    RECORD,
    TRY,
    "draw_spends",
    "lease",
    "holds",
    "refund",
    "decide_refund",
    "adjust",
    "probe",
    "publish",
    "read_plan",
    "read_shard",
    "read_registry",
    "read_totals",
    "read_watched",
    "prune",
    "trim",
    "stamp",
    "unmark",
    "rebuild_begin",
    "rebuild_set",
    "rebuild_finish",
)

_INCLUDE: Final = re.compile(r"-- include: (\S+)")
_EACH: Final = re.compile(r"-- each (?:(\w+) )?(\w+)")
_END_EACH: Final = "-- end each"
_ROW: Final = re.compile(r"-- \|(.+)\|")
_PLACE: Final = re.compile(r"\$(\w+)")
_SHEBANG: Final = re.compile(r"#!lua( flags=[a-z,-]+)?\n")


@dataclass(frozen=True, slots=True, eq=False)
class Script:
    """One assembled script: what SCRIPT LOAD takes and what EVALSHA names. Compared by identity, because each spend
    looks up values by its script.
    """

    name: str
    text: str
    sha1: str


def serves(layout: str) -> bool:
    """Whether these scripts serve a layout of data."""
    return layout == LAYOUT or layout in ALSO_SERVED


@cache
def lua_folder() -> Path:
    """The folder of the Lua files."""
    here = Path(__file__).resolve()
    for folder in (here.parent / "lua", here.parents[2] / "lua"):
        if (folder / "lib").is_dir():
            return folder
    raise FileNotFoundError(f"no lua folder beside {here} nor at the root of the checkout: install the package again")


def assemble(name: str, swap: Mapping[str, str] | None = None) -> Script:
    """A script with its includes in place. `swap` replaces some pieces (`{"lib/clock.lua": ...}`), which only tests
    do.
    """
    folder, swapped = lua_folder(), dict(swap or {})
    done: set[str] = set()

    def resolve(path: str, trail: tuple[str, ...]) -> list[str]:
        if path in trail:
            raise ValueError(f"lua include goes round in a circle: {' -> '.join((*trail, path))}")
        text = swapped[path] if path in swapped else (folder / path).read_text(encoding="utf-8")
        lines: list[str] = []
        for line in text.splitlines():
            include = _INCLUDE.fullmatch(line.strip())
            if include is None:
                lines.append(line)
            elif include[1] not in done:
                lines += resolve(include[1], (*trail, path))
                done.add(include[1])
        return lines

    text = "\n".join(placed(list(_unrolled(resolve(f"{name}.lua", ()))))) + "\n"
    if _SHEBANG.match(text) is None:
        raise ValueError(f"lua/{name}.lua does not begin with #!lua")
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def tables(lines: Iterable[str]) -> dict[str, list[dict[str, str]]]:
    """The tables among lines of Lua, by name: each row as {column: cell}, with its own name and number as `name` and `i`."""
    found: dict[str, list[dict[str, str]]] = {}
    rows: list[dict[str, str]] = []
    head: list[str] = []
    for line in lines:
        row = _ROW.fullmatch(line.strip())
        cells = [cell.strip() for cell in row[1].split("|")] if row else []
        if not cells:
            head = []
        elif not head:
            head = ["name", *cells[1:]]
            rows = found.setdefault(cells[0], [])
        elif len(cells) != len(head):
            raise ValueError(f"lua table row has {len(cells)} cells, its head {len(head)}: {line.strip()}")
        else:
            rows.append({**dict(zip(head, cells, strict=True)), "i": str(len(rows) + 1)})
    return found


def _unrolled(lines: Sequence[str]) -> Iterator[str]:
    """The lines with each `-- each` block written out for every row of its table."""
    known = tables(lines)
    rows: list[dict[str, str]] | None = None
    block: list[str] = []
    for line in lines:
        each = _EACH.fullmatch(line.strip())
        if each is not None:
            if rows is not None or each[2] not in known:
                raise ValueError(f"lua block inside another, or of a table that is not in the script: {line.strip()}")
            owned = [row for row in known[each[2]] if each[1] is None or row["owner"] == each[1]]
            rows, block = [{**row, "i": str(number)} for number, row in enumerate(owned, 1)], []
        elif line.strip() == _END_EACH:
            if rows is None:
                raise ValueError("lua block that ends and never began")
            for row in rows:
                yield from (_filled(inner, row) for inner in block)
            rows = None
        elif rows is not None:
            block.append(line)
        else:
            yield line
    if rows is not None:
        raise ValueError(f"lua block without an end: {block[:1]}")


def _filled(line: str, row: Mapping[str, str]) -> str:
    try:
        return _PLACE.sub(lambda place: row[place[1]], line)
    except KeyError as column:
        raise ValueError(f"lua block names {column}, which is no column of its table: {line.strip()}") from None


_swapped: dict[str, str] = {}


@cache
def script(name: str) -> Script:
    """A script as this process runs it, assembled once."""
    return _assembled(name, tuple(sorted(_swapped.items())))


@cache
def _assembled(name: str, swapped: tuple[tuple[str, str], ...]) -> Script:
    return assemble(name, dict(swapped))


@contextmanager
def swapping(pieces: Mapping[str, str]) -> Iterator[None]:
    """For tests: this process runs its scripts with other text for some pieces, such as a clock that can be moved."""
    _swapped.update(pieces)
    script.cache_clear()
    try:
        yield
    finally:
        _swapped.clear()
        script.cache_clear()
