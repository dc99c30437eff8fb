"""Where a lease's spends wait until Redis has counted them: a ring buffer of slots, each the spends of one call, in
memory or in a spool file.

A spool file is the same bytes mapped into memory: a spend is in the file when `try_spend` returns. It survives the
process (kill -9 too), not the machine. Everything is 64-bit words: a head, then slots with a head of four words
(number, state, how many, first sent) and the micros.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from engine.errors import InvalidInput

SLOTS: Final = 64
PER_SLOT: Final = 1000
"""Spends of one draw."""
SUFFIX: Final = ".spool"
DOUBTFUL_SUFFIX: Final = ".doubtful"

MAGIC: Final = int.from_bytes(b"BUDGSPL1", "little")
_HEAD: Final = 16
_ID_AT, _ID_WORDS = 4, 12
_SLOT_HEAD: Final = 4
_STRIDE: Final = _SLOT_HEAD + PER_SLOT
_WORDS: Final = _HEAD + SLOTS * _STRIDE
_SIZE: Final = _WORDS * 8

FREE, FILLING, SEALED, SENT, DOUBTFUL = range(5)
"""States of a slot. A sealed slot has its final content, so that its number always names the same spends. Doubtful:
first sent before the dedup window, so that Redis cannot know whether it was counted.
"""


class Draw(NamedTuple):
    """One slot's spends in flight: their number, their micros, and when they were first sent (Redis' milliseconds, 0
    = never).
    """

    slot: int
    number: int
    micros: list[int]
    first_sent_ms: int


class InUse(Exception):
    """The spool file belongs to a running process."""


class Slots:
    """The ring buffer. Its owner holds a lock; this class has none."""

    def __init__(
        self, words: memoryview, file: int | None = None, path: Path | None = None, whole: mmap.mmap | None = None
    ):
        self.words = words
        self.path = path
        self._file = file
        self._map = whole
        self.current = 0
        self.number = 0

    @classmethod
    def in_memory(cls, campaign_id: int, lease_id: str) -> Slots:
        """Slots in memory, which end with the process."""
        return cls(memoryview(bytearray(_SIZE)).cast("Q"))._begin(campaign_id, lease_id)

    @classmethod
    def in_file(cls, folder: Path, campaign_id: int, lease_id: str) -> Slots:
        """Slots in a new file of the folder, which is created where missing. Raises InvalidInput."""
        path = folder / f"{campaign_id}-{lease_id}{SUFFIX}"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Written and not only extended, so that a full disk is an error here and not a signal at a spend.
                if os.write(file, bytes(_SIZE)) < _SIZE:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                whole = mmap.mmap(file, _SIZE)
            except BaseException:
                path.unlink()
                os.close(file)
                raise
        except OSError as error:
            raise InvalidInput(
                f"spool {str(folder)!r} cannot be used ({error.strerror or error}): give a folder on a local disk that this process may write",
                "spool",
            ) from None
        return cls(memoryview(whole).cast("Q"), file, path, whole)._begin(campaign_id, lease_id)

    @classmethod
    def found(cls, path: Path) -> Slots | None:
        """Reads a dead process's file; None for a file that is no spool or is still being made. Raises InUse,
        OSError.
        """
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InUse(str(path)) from None
            if os.fstat(file).st_size != _SIZE or not path.exists():
                os.close(file)
                return None
            whole = mmap.mmap(file, _SIZE)
        except BaseException:
            with contextlib.suppress(OSError):
                os.close(file)
            raise
        slots = cls(memoryview(whole).cast("Q"), file, path, whole)
        if slots.words[0] != MAGIC:
            slots.close()
            return None
        return slots

    def _begin(self, campaign_id: int, lease_id: str) -> Slots:
        raw = lease_id.encode().ljust(_ID_WORDS * 8, b"\0")
        for i in range(_ID_WORDS):
            self.words[_ID_AT + i] = int.from_bytes(raw[i * 8 : i * 8 + 8], "little")
        self.words[1] = campaign_id
        self._open(0, 1)
        self.words[0] = MAGIC
        return self

    @property
    def campaign_id(self) -> int:
        return self.words[1]

    @property
    def lease_id(self) -> str:
        words = self.words[_ID_AT : _ID_AT + _ID_WORDS]
        return b"".join(word.to_bytes(8, "little") for word in words).rstrip(b"\0").decode()

    def _open(self, slot: int, number: int) -> None:
        at = _HEAD + slot * _STRIDE
        words = self.words
        # A slot ends at its first 0, should the process die before it is sealed.
        words[at + _SLOT_HEAD : at + _STRIDE] = memoryview(bytes(PER_SLOT * 8)).cast("Q")
        words[at], words[at + 2], words[at + 3] = number, 0, 0
        words[at + 1] = FILLING
        self.current, self.number = slot, number

    @property
    def first(self) -> int:
        """The word of the current slot's first spend."""
        return _HEAD + self.current * _STRIDE + _SLOT_HEAD

    def _next_free(self) -> int | None:
        """The next free slot; doubtful ones stay and are skipped."""
        following = ((self.current + i) % SLOTS for i in range(1, SLOTS))
        return next((slot for slot in following if self._state(slot) == FREE), None)

    @property
    def is_full(self) -> bool:
        """Whether every other slot still waits to be counted."""
        return self._next_free() is None

    def turn(self, count: int) -> bool:
        """Seals the current slot with its first `count` spends and opens the next; False, and no change, while none
        is free.
        """
        following = self._next_free()
        if following is None:
            return False
        self.seal(count)
        self._open(following, self.number + 1)
        return True

    def seal(self, count: int) -> None:
        """Seals the current slot: no more spends are added."""
        at = _HEAD + self.current * _STRIDE
        self.words[at + 2] = count
        self.words[at + 1] = SEALED if count else FREE

    def waiting(self) -> list[Draw]:
        """Sealed slots that are not counted yet, by number."""
        return sorted(
            (self._draw(slot) for slot in range(SLOTS) if self._state(slot) in (SEALED, SENT)), key=lambda d: d.number
        )

    def doubtful(self) -> list[Draw]:
        """Slots that may or may not be counted."""
        return [self._draw(slot) for slot in range(SLOTS) if self._state(slot) == DOUBTFUL]

    def seal_found(self) -> None:
        """Seals the slot that was open when its process died."""
        for slot in range(SLOTS):
            if self._state(slot) == FILLING:
                at = _HEAD + slot * _STRIDE
                micros = self.words[at + _SLOT_HEAD : at + _STRIDE].tolist()
                self.words[at + 2] = micros.index(0) if 0 in micros else PER_SLOT
                self.words[at + 1] = SEALED if self.words[at + 2] else FREE

    def sent(self, draw: Draw, now_ms: int) -> None:
        """Stores when a slot is first sent, before it is sent."""
        at = _HEAD + draw.slot * _STRIDE
        if not self.words[at + 3]:
            self.words[at + 3] = now_ms
        self.words[at + 1] = SENT

    def counted(self, draw: Draw) -> None:
        """Frees a counted slot."""
        self.words[_HEAD + draw.slot * _STRIDE + 1] = FREE

    def doubt(self, draw: Draw) -> None:
        """Marks a slot as doubtful."""
        self.words[_HEAD + draw.slot * _STRIDE + 1] = DOUBTFUL

    def _state(self, slot: int) -> int:
        return self.words[_HEAD + slot * _STRIDE + 1]

    def _draw(self, slot: int) -> Draw:
        at = _HEAD + slot * _STRIDE
        number, _, count, first_sent = self.words[at : at + _SLOT_HEAD]
        return Draw(slot, number, self.words[at + _SLOT_HEAD : at + _SLOT_HEAD + count].tolist(), first_sent)

    def close(self) -> None:
        """Closes the file and keeps it."""
        if self._map is not None:
            self.words.release()
            with contextlib.suppress(BufferError):
                self._map.close()
            self._map = None
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def end(self) -> None:
        """Removes the file: everything in it is counted. Doubtful slots are kept under another name for a person to
        check.
        """
        if self.path is not None:
            if self.doubtful():
                self.path.rename(self.path.with_suffix(DOUBTFUL_SUFFIX))
            else:
                self.path.unlink(missing_ok=True)
        self.close()


def files_in(folder: Path) -> Iterator[Path]:
    """The spool files of a folder, oldest first."""
    if folder.is_dir():
        yield from sorted(folder.glob(f"*{SUFFIX}"), key=lambda path: (path.stat().st_mtime, path.name))
