"""The one loader of the Lua scripts: it reads `lua/`, resolves `-- include:` lines once each, and knows each script's SHA1.

In a checkout the files stand in `<root>/lua`; a wheel carries them beside this module.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

LAYOUT: Final = "1"
"""The layout of keys, plan and journal that these scripts speak (`lua/lib/shard.lua` says the same; a test holds them together)."""

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
_SHEBANG: Final = re.compile(r"#!lua( flags=[a-z,-]+)?\n")


@dataclass(frozen=True, slots=True, eq=False)
class Script:
    """One assembled script: what SCRIPT LOAD takes and what EVALSHA names. Told apart by identity: each spend looks up what goes with its script."""

    name: str
    text: str
    sha1: str


@cache
def lua_folder() -> Path:
    """Where the Lua files are."""
    here = Path(__file__).resolve()
    for folder in (here.parent / "lua", here.parents[2] / "lua"):
        if (folder / "lib").is_dir():
            return folder
    raise FileNotFoundError(f"no lua folder beside {here} nor at the root of the checkout: install the package again")


def assemble(name: str, swap: Mapping[str, str] | None = None) -> Script:
    """A script with its includes in place. `swap` gives other text for some pieces (`{"lib/clock.lua": ...}`), which only tests do."""
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

    text = "\n".join(resolve(f"{name}.lua", ())) + "\n"
    if _SHEBANG.match(text) is None:
        raise ValueError(f"lua/{name}.lua does not begin with #!lua")
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


_swapped: dict[str, str] = {}


@cache
def script(name: str) -> Script:
    """A script as this process runs it, assembled once."""
    return assemble(name, _swapped)


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
