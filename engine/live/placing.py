"""Where the functions of an assembled script stand: each just before the first statement that needs it.

Lua makes a script's functions anew at every call, from its top down to where the call returns. So a function that only
the slow path needs must not stand before the fast paths, and one that nothing needs must not stand in the script.

Lua allows 200 local names at a time in a script. So a function that is needed only through one other stands in a block
with it.

A statement may need some functions only in one of its branches. A line `-- make: NAME, NAME` in that branch puts them,
and what they need, there. Later statements that need them too have them made again.
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
_MAKE: Final = re.compile(r"(\s+)-- make: (\w+(?:, \w+)*)")
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

    @property
    def made_inside(self) -> set[str]:
        """The functions that it makes in one of its branches."""
        return {name for line in self.code if (found := _MAKE.match(line)) for name in found[2].split(", ")}


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
    named_by: list[tuple[_Part, set[str]]] = []
    for part in parts:
        names = part.words() & needs.keys()
        if part.function:
            needs[part.function] = names
        else:
            named_by.append((part, names))
    owned = _owned(needs, [names for _, names in named_by])
    made: set[str] = set()
    found: list[str] = []

    def make(wanted: set[str]) -> list[str]:
        own = {name for names in owned.values() for name in names}
        return [line for name in needs if name in wanted - own for line in _block(name, functions, owned)]

    for part, names in named_by:
        wanted = _with_needs(names - part.made_inside, needs) - made
        found += make(wanted)
        made |= wanted
        found += part.comments
        for line in part.code:
            found.append(line)
            if marked := _MAKE.match(line):
                found += [marked[1] + own for own in make(_with_needs(set(marked[2].split(", ")), needs) - made)]
    return found


def _owned(needs: Mapping[str, set[str]], statements: Sequence[set[str]]) -> dict[str, list[str]]:
    """Of each function those that are needed only through it, in their order: directly in it, or in another of them."""
    there = set[str]().union(*(_with_needs(names, needs) for names in statements))
    by_statements = set[str]().union(*statements)
    through: dict[str, set[str]] = {}
    """Of each function those without which nothing reaches it, itself included."""
    for name in reversed([name for name in needs if name in there]):
        users = [through[user] for user in through if name in needs[user]]
        through[name] = {name} | (set[str]() if name in by_statements else set[str].intersection(*users))
    owned: dict[str, list[str]] = {}
    for name in needs:
        if owners := through.get(name, set()) - {name}:
            owned.setdefault(max(owners, key=lambda owner: len(through[owner])), []).append(name)
    return owned


def _block(name: str, functions: Mapping[str, _Part], owned: Mapping[str, Sequence[str]]) -> list[str]:
    """The lines of a function, in a block with those that are needed only through it."""
    part = functions[name]
    if name not in owned:
        return [*part.comments, *part.code]
    head = part.code[0].removeprefix("local ")
    inner = [line for own in owned[name] for line in _block(own, functions, owned)]
    return [f"local {name}", "do", *inner, *part.comments, head, *part.code[1:], "end"]


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
