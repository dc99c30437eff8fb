"""The lines of a file of spends, as bytes: from a path or stdin, plain or gzip, whichever sign ends its lines. Never more than one line in memory."""

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
    """What was given cannot be read as lines, or not any further; the message says why, without the file's name."""


class _Reads(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class _Counted(io.RawIOBase):
    """Passes bytes on and counts them, so that progress is that of the file itself and not of what is packed in it."""

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


class _Peeked(io.RawIOBase):
    """A beginning that was read already, then the rest; with `returns_end` each carriage return is a line's end."""

    def __init__(self, beginning: bytes, rest: _Reads, returns_end: bool = False) -> None:
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
    """An open file of lines. size: its bytes on disk, 0 where nobody knows. Raises NotLines."""

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
        self._counted = _Counted(self._file)
        try:
            self._lines = self._opened()
        except BaseException:
            self.close()
            raise

    @property
    def bytes_read(self) -> int:
        """How much of the file has been read."""
        return self._counted.passed

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
        """The next line with its end, empty after the last; of one that is too long only its beginning, the rest is passed over."""
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
        source = io.BufferedReader(self._counted)
        try:
            beginning = source.read(6)
            for sign, what in _OTHERS.items():
                if beginning.startswith(sign):
                    raise NotLines(f"is {what}: save it as CSV")
            stream: _Reads = _Peeked(beginning, source)
            if beginning.startswith(_GZIP):
                stream = gzip.GzipFile(fileobj=io.BufferedReader(_Peeked(beginning, source)))
            stream = io.BufferedReader(_Peeked(b"", stream))
            first = stream.readline(LONGEST_LINE + 1)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            raise NotLines("is a gzip file that is cut off or damaged: give a whole one") from None
        except OSError as error:
            raise NotLines(f"cannot be read ({error.strerror or error}): give the path of a CSV file") from None
        # Old spreadsheets end lines with a carriage return alone.
        returns_end = b"\r" in first.removesuffix(b"\n").removesuffix(b"\r")
        return io.BufferedReader(_Peeked(first, stream, returns_end))
