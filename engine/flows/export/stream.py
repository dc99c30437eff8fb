"""What PostgreSQL copies out, as a file that another thread reads: a few chunks at once, so that neither side runs ahead."""

from __future__ import annotations

import io
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, Final

_CHUNK: Final = 1 << 20
_CHUNKS: Final = 8
_WAIT_S: Final = 0.2


class Left(Exception):
    """The reader has gone."""


class _Sink(io.RawIOBase):
    """The writer's end. Bytes come by the chunk, because a buffer of C stands before it."""

    def __init__(self, chunks: queue.Queue[bytes], left: threading.Event) -> None:
        self._chunks = chunks
        self._left = left

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        part = bytes(data)
        while not self._left.is_set():
            try:
                self._chunks.put(part, timeout=_WAIT_S)
            except queue.Full:
                continue
            return len(part)
        raise Left


class _Source(io.RawIOBase):
    """The reader's end; an empty chunk is the end."""

    def __init__(self, chunks: queue.Queue[bytes], left: threading.Event) -> None:
        self._chunks = chunks
        self._left = left
        self._part = memoryview(b"")
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._part and not self._ended:
            if self._left.is_set():
                return 0
            try:
                self._part = memoryview(self._chunks.get(timeout=_WAIT_S))
            except queue.Empty:
                continue
            self._ended = not self._part
        size = min(len(buffer), len(self._part))
        buffer[:size] = self._part[:size]
        self._part = self._part[size:]
        return size


@contextmanager
def _unprinted() -> Iterator[None]:
    """For this thread: psycopg2 prints an error of its own, besides the one that it raises, when the server ends a session in a copy."""
    before, mine = sys.excepthook, threading.get_ident()

    def of_others(*args: Any) -> None:
        if threading.get_ident() != mine:
            before(*args)

    sys.excepthook = of_others
    try:
        yield
    finally:
        sys.excepthook = before


class Copying:
    """A copy that runs in a thread of its own while its rows are read from `file`."""

    def __init__(self, copy: Callable[[IO[bytes]], None], cancel: Callable[[], object]) -> None:
        self._chunks: queue.Queue[bytes] = queue.Queue(_CHUNKS)
        self._left = threading.Event()
        self._copy = copy
        self._cancel = cancel
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="copy-out", daemon=True)
        self.file: IO[bytes] = io.BufferedReader(_Source(self._chunks, self._left), _CHUNK)

    def _run(self) -> None:
        sink = _Sink(self._chunks, self._left)
        buffered = io.BufferedWriter(sink, _CHUNK)
        try:
            with _unprinted():
                self._copy(buffered)
            buffered.flush()
        except Left:
            pass
        except BaseException as error:  # noqa: BLE001  # raised where the rows are read
            self._error = error
        if self._error is not None:
            self._left.set()
        try:
            sink.write(b"")
        except Left:
            pass

    @contextmanager
    def running(self) -> Iterator[IO[bytes]]:
        """Yields the file while the copy runs. Raises what ended the copy rather than what the reader made of half of it."""
        self._thread.start()
        try:
            yield self.file
        except BaseException:
            # The copy's own error is set before its reader sees an end.
            if self._error is not None:
                raise self._error from None
            self._leave()
            raise
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _leave(self) -> None:
        """Ends the copy, whether it waits for PostgreSQL or for the reader."""
        self._left.set()
        while self._thread.is_alive():
            self._cancel()
            self._thread.join(_WAIT_S)
