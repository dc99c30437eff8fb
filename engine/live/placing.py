"""Where the functions of an assembled script stand: each just before the first statement that needs it.

Lua makes a script's functions anew at every call, from its top down to where the call returns. So a function that only
the slow path needs must not stand before the fast paths, and one that nothing needs must not stand in the script.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

_FUNCTION: Final = re.compile(r"local function (\w+)\(")
_DECLARED: Final = re.compile(r"local (\w+(?:, \w+)*)")
_GOES_ON: Final = re.compile(r"\s|$|end\b|until\b|else|[)}]")
"""The beginning of a line that belongs to the statement of the lines before it."""
_TOKEN: Final = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|--.*|(\.*)([A-Za-z_]\w*)\b(?!\s*=(?!=))")
"""A text, a comment, or a name with the dots before it; not one that is set, as a key of a table is."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A statement at the top level with the comments before it."""

    comments: Sequence[str]
    code: Sequence[str]

    @property
    def function(self) -> str:
        """The name of the function that it defines, or ''."""
        found = self.code and _FUNCTION.match(self.code[0])
        return found[1] if found else ""

    @property
    def declared(self) -> list[str]:
        """The names that it declares."""
        if self.function:
            return [self.function]
        found = self.code and _DECLARED.match(self.code[0])
        return found[1].split(", ") if found else []

    def words(self) -> set[str]:
        """The names in its code. A name after one dot is a field."""
        tokens = (token for line in self.code for token in _TOKEN.findall(line))
        return {word for dots, word in tokens if word and dots != "."}


def placed(lines: Sequence[str]) -> list[str]:
    """The lines of a script with its functions in their places, all else in its order. Raises ValueError where a name
    is declared twice at the top level: a function that moves would take the wrong one.
    """
    parts = list(_parts(lines))
    functions = {part.function: part for part in parts if part.function}
    times = Counter(name for part in parts for name in part.declared)
    if twice := sorted(name for name in times if times[name] > 1):
        raise ValueError(f"lua declares {', '.join(twice)} twice at the top level: give one another name")
    needs: dict[str, set[str]] = {}
    """Of each function the functions before it that it names: a name that comes later is another thing's."""
    made: set[str] = set()
    found: list[str] = []
    for part in parts:
        named = part.words() & needs.keys()
        if part.function:
            needs[part.function] = named
            continue
        wanted = _with_needs(named, needs) - made
        for name in filter(wanted.__contains__, needs):
            found += [*functions[name].comments, *functions[name].code]
        made |= wanted
        found += [*part.comments, *part.code]
    return found


def _with_needs(names: set[str], needs: Mapping[str, set[str]]) -> set[str]:
    """Functions with those that they call, and so on."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += needs[name]
    return found


def _parts(lines: Sequence[str]) -> Iterator[_Part]:
    comments: list[str] = []
    code: list[str] = []
    for line in lines:
        if code and _GOES_ON.match(line):
            code.append(line)
            continue
        if code:
            yield _Part(comments, code)
            comments, code = [], []
        (comments if line.startswith("--") else code).append(line)
    yield _Part(comments, code)
