"""Where exports go: a folder of this machine, or a bucket (`bucket.py`). A day is visible there whole or not at all."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import IO, Any, Protocol, cast

from engine.errors import BudgetError


class PlaceRefused(BudgetError):
    """A place that cannot be written or read: which one, why, and what to do."""


class Draft(Protocol):
    """A day that is being written; nobody takes it for an export before it is committed."""

    def create(self, name: str) -> IO[bytes]:
        """A new file of it, to write."""

    def read(self, name: str) -> IO[bytes]:
        """A file of it that was written and closed."""

    def commit(self, manifest: str, text: bytes) -> None:
        """Makes it the export of its day, with its manifest, in place of one that was there."""


class ExportPlace(Protocol):
    """Reads and writes days below one folder or prefix. Methods raise PlaceRefused or OSError."""

    @property
    def name(self) -> str:
        """As it is recorded and shown."""

    def names(self, day: date) -> list[str]:
        """The files of a day; empty where it has none."""

    def days(self) -> list[date]:
        """The days that are there, in order."""

    def open(self, day: date, name: str) -> IO[bytes]:
        """A file of a day. Raises FileNotFoundError."""

    @contextmanager
    def draft(self, day: date, instance: str) -> Iterator[Draft]:
        """A day to write. Left by an error, nothing of it stays."""


def days_in(names: list[str]) -> list[date]:
    """The names that are days, in order."""
    out = []
    for name in names:
        with suppress(ValueError):
            day = date.fromisoformat(name)
            # `fromisoformat` takes other spellings too.
            if day.isoformat() == name:
                out.append(day)
    return sorted(out)


class Folder:
    """A folder of this machine. A day is written beside its place, synced, and renamed."""

    def __init__(self, path: str) -> None:
        self._root = Path(path).expanduser().absolute()

    @property
    def name(self) -> str:
        return str(self._root)

    def names(self, day: date) -> list[str]:
        folder = self._folder(day)
        return sorted(os.listdir(folder)) if folder.is_dir() else []

    def days(self) -> list[date]:
        return days_in(os.listdir(self._root))

    def open(self, day: date, name: str) -> IO[bytes]:
        return (self._folder(day) / name).open("rb")

    @contextmanager
    def draft(self, day: date, instance: str) -> Iterator[Draft]:
        if self._root.exists() and not self._root.is_dir():
            raise PlaceRefused(f"{self._root} is a file: name a folder to export into")
        self._root.mkdir(parents=True, exist_ok=True)
        # One export of a day at a time, so what has this name was left by a process that died.
        hidden = self._root / f".{day}.{instance[:8]}"
        writing, replaced = hidden.with_name(f"{hidden.name}.writing"), hidden.with_name(f"{hidden.name}.replaced")
        for left in (writing, replaced):
            _remove(left)
        writing.mkdir()
        try:
            yield _FolderDraft(writing, replaced, self._folder(day))
        finally:
            with suppress(OSError):
                _remove(writing)

    def _folder(self, day: date) -> Path:
        return self._root / day.isoformat()


class _FolderDraft:
    def __init__(self, writing: Path, replaced: Path, final: Path) -> None:
        self._writing = writing
        self._replaced = replaced
        self._final = final

    def create(self, name: str) -> IO[bytes]:
        return cast(IO[bytes], _Synced(self._writing / name))

    def read(self, name: str) -> IO[bytes]:
        return (self._writing / name).open("rb")

    def commit(self, manifest: str, text: bytes) -> None:
        with self.create(manifest) as file:
            file.write(text)
        _sync(self._writing)
        if self._final.exists():
            self._final.rename(self._replaced)
        self._writing.rename(self._final)
        _sync(self._final.parent)
        with suppress(OSError):
            _remove(self._replaced)


class _Synced(io.FileIO):
    """A new file that is on the disk when it is closed."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "xb")

    def write(self, data: Any) -> int:
        """All of it; a disk that is nearly full takes a part first, and refuses the next."""
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view):
            done += super().write(view[done:]) or 0
        return done

    def close(self) -> None:
        if not self.closed:
            try:
                os.fsync(self.fileno())
            finally:
                super().close()


def _sync(folder: Path) -> None:
    """A name is on the disk when its folder is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
