"""A mutant: one small, deliberate fault in the program, as data, with the tests that must notice it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import cache_from_source
from os import utime
from pathlib import Path


class Rotten(Exception):
    """The program changed at a mutant's place: write the mutant anew in the table."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One planted bug.

    name: what is broken, as a statement. file: its path from the root. old: the text to replace, which occurs once.
    killers: pytest's node ids of the tests that must fail.
    """

    name: str
    file: str
    old: str
    new: str
    killers: tuple[str, ...]

    def of(self, text: str) -> str:
        """The file's text with the fault in it. Raises Rotten."""
        times = text.count(self.old)
        if times != 1:
            raise Rotten(f"{self.name}: {self.old!r} stands {times} times in {self.file}: say the fault anew")
        return text.replace(self.old, self.new)


@contextmanager
def planted(root: Path, mutant: Mutant) -> Iterator[None]:
    """Plants the bug in a copy of the tree inside the block.

    Removes the file's bytecode, because a change of equal length within one second is invisible to Python.
    """
    path = root / mutant.file
    sound, stat = path.read_bytes(), path.stat()
    path.write_text(mutant.of(sound.decode()), encoding="utf-8")
    if path.suffix == ".py":
        Path(cache_from_source(str(path))).unlink(missing_ok=True)
    try:
        yield
    finally:
        path.write_bytes(sound)
        utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
