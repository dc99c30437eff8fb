"""Reads a file's lines as bytes: from a path or stdin, plain or gzip, with any line ends. Holds one line in memory."""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

STDIN: Final = "-"
LONGEST_LINE: Final = 65_536

_GZIP: Final = b"\x1f\x8b"
_OTHERS: Final = {
    b"PK\x03\x04": "a zip file or a workbook (.xlsx)",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"PAR1": "a Parquet file",
}


class NotLines(Exception):
    """The input cannot be read as lines, or no further. The message has the reason, without the file's name."""


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class _CountingReader(io.RawIOBase):
    """Passes bytes on and counts them. Progress is that of the file on disk, not of its decompressed content."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.passed = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer)
        got = self._source.read1(len(view)) if hasattr(self._source, "read1") else self._source.read(len(view))
        view[: len(got)] = got
        self.passed += len(got)
        return len(got)


class _PrefixedReader(io.RawIOBase):
    """Returns a beginning that was read before, then the rest. returns_end: a carriage return ends a line."""

    def __init__(self, beginning: bytes, rest: _Readable, returns_end: bool = False) -> None:
        self._beginning = beginning
        self._rest = rest
        self._returns_end = returns_end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer)
        got = self._beginning[: len(view)] or self._rest.read(len(view))
        self._beginning = self._beginning[len(view) :]
        if self._returns_end:
            got = got.replace(b"\r", b"\n")
        view[: len(got)] = got
        return len(got)


class Lines:
    """An open file of lines. size: bytes on disk, 0 for stdin. The constructor raises NotLines."""

    def __init__(self, path: str | Path) -> None:
        try:
            if str(path) == STDIN:
                self._file: BinaryIO = sys.stdin.buffer
                self.size = 0
            else:
                place = Path(path)
                self.size = place.stat().st_size
                self._file = place.open("rb")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise NotLines(f"cannot be read ({reason}): give the path of a CSV file, or - for stdin") from None
        self._owned = str(path) != STDIN
        self._counter = _CountingReader(self._file)
        try:
            self._lines = self._opened()
        except BaseException:
            self.close()
            raise

    @property
    def bytes_read(self) -> int:
        """The bytes of the file read so far."""
        return self._counter.passed

    def __enter__(self) -> Lines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._owned:
            self._file.close()

    def next(self) -> bytes:
        """Returns the next line with its line end, empty after the last one. A line that is too long is cut, and its
        rest is skipped. Raises NotLines.
        """
        try:
            raw = self._lines.readline(LONGEST_LINE + 1)
            rest = raw
            while len(rest) > LONGEST_LINE and not rest.endswith(b"\n"):
                rest = self._lines.readline(LONGEST_LINE + 1)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            raise NotLines("is a gzip file that is cut off or damaged from here on: give a whole one") from None
        except OSError as error:
            raise NotLines(f"cannot be read any further ({error.strerror or error})") from None
        return raw

    def _opened(self) -> io.BufferedReader:
        source = io.BufferedReader(self._counter)
        try:
            beginning = source.read(6)
            for sign, what in _OTHERS.items():
                if beginning.startswith(sign):
                    raise NotLines(f"is {what}: save it as CSV")
            stream: _Readable = _PrefixedReader(beginning, source)
            if beginning.startswith(_GZIP):
                stream = gzip.GzipFile(fileobj=io.BufferedReader(_PrefixedReader(beginning, source)))
            stream = io.BufferedReader(_PrefixedReader(b"", stream))
            first = stream.readline(LONGEST_LINE + 1)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            raise NotLines("is a gzip file that is cut off or damaged: give a whole one") from None
        except OSError as error:
            raise NotLines(f"cannot be read ({error.strerror or error}): give the path of a CSV file") from None
        # Old spreadsheets end lines with a carriage return only.
        returns_end = b"\r" in first.removesuffix(b"\n").removesuffix(b"\r")
        return io.BufferedReader(_PrefixedReader(first, stream, returns_end))
