"""What was read a moment ago, for all who ask again: each key is read by one thread at a time."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, NamedTuple, TypeVar

MOST: Final = 200
"""Keys of which the values are kept, those read last."""
K = TypeVar("K")
V = TypeVar("V")


class Read(NamedTuple, Generic[V]):
    """A value, and how long ago it was read."""

    value: V
    age_s: float


class Kept(Generic[K, V]):
    """Thread-safe. A value is young for `kept_s` seconds; an older one stays for whoever asks for the last one."""

    def __init__(self, kept_s: float) -> None:
        self._kept_s = kept_s
        self._lock = threading.Lock()
        self._values: OrderedDict[K, tuple[float, V]] = OrderedDict()
        self._reading: dict[K, threading.Lock] = {}

    def get(self, key: K, read: Callable[[], V]) -> V:
        """The kept value where it is young, else what `read` returns. Whatever that raises goes on to the caller."""
        with self._lock:
            turn = self._reading.setdefault(key, threading.Lock())
        try:
            with turn:
                last = self.last(key)
                if last is not None and last.age_s < self._kept_s:
                    return last.value
                began, value = time.monotonic(), read()
                self.put(key, value, began)
                return value
        finally:
            with self._lock:
                self._reading.pop(key, None)

    def put(self, key: K, value: V, at: float | None = None) -> None:
        """Keeps a value that was read at an instant (monotonic seconds), by default now."""
        with self._lock:
            self._values[key] = (time.monotonic() if at is None else at, value)
            self._values.move_to_end(key)
            if len(self._values) > MOST:
                self._values.popitem(last=False)

    def last(self, key: K) -> Read[V] | None:
        """The value that was read last, however old it is; None where there is none."""
        with self._lock:
            found = self._values.get(key)
            return None if found is None else Read(found[1], time.monotonic() - found[0])
