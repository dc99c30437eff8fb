"""A download of any size takes no memory and no page's thread, and ends when its reader goes or stops reading."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from web import door
from web.door import DOWNLOADS, Door

SCOPE: dict[str, Any] = {"type": "http", "method": "GET", "path": "/spend.csv", "headers": [], "query_string": b""}


class Endless:
    """An application whose download never ends; it counts its parts, and notes its end."""

    def __init__(self) -> None:
        self.made = 0
        self.closed = threading.Event()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterator[bytes]:
        start("200 OK", [("Content-Type", "text/csv")])
        return self._parts()

    def _parts(self) -> Iterator[bytes]:
        try:
            while True:
                self.made += 1
                yield b"x" * 1000
        finally:
            self.closed.set()


class Reader:
    """Takes so many messages, and then no more; or goes."""

    def __init__(self, most: int, goes: bool = False) -> None:
        self.taken: list[dict[str, Any]] = []
        self._most, self._goes, self._gone = most, goes, asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if len(self.taken) == self._most:
            if self._goes:
                self._gone.set()
            else:
                await asyncio.sleep(3600)
        self.taken.append(message)


def test_of_a_reader_who_goes_nothing_more_is_made() -> None:
    async def scene() -> None:
        app, reader = Endless(), Reader(5, goes=True)
        with contextlib.suppress(asyncio.CancelledError):
            await Door(app)(SCOPE, reader.receive, reader.send)
        assert app.closed.is_set() and app.made <= 8

    asyncio.run(scene())


def test_a_reader_who_stops_reading_makes_nobody_gather_what_he_does_not_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "PART_S", 0.3)

    async def scene() -> None:
        app, reader = Endless(), Reader(5)
        with pytest.raises(TimeoutError):
            await Door(app)(SCOPE, reader.receive, reader.send)
        assert app.closed.is_set() and app.made == 5
        assert reader.taken[0]["status"] == 200 and len(reader.taken) == 5

    asyncio.run(scene())


def test_more_downloads_than_there_are_threads_are_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "PART_S", 1.0)

    async def scene() -> None:
        front, readers = Door(Endless()), [Reader(2) for _ in range(DOWNLOADS)]
        tasks = [asyncio.ensure_future(front(SCOPE, one.receive, one.send)) for one in readers]
        while any(len(one.taken) < 2 for one in readers):
            await asyncio.sleep(0.01)
        late = Reader(9)
        await front(SCOPE, late.receive, late.send)
        assert late.taken[0]["status"] == 503
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, TimeoutError) for end in ends)
        again = Reader(2)
        with pytest.raises(TimeoutError):
            await front(SCOPE, again.receive, again.send)
        assert again.taken[0]["status"] == 200  # each thread was given back

    asyncio.run(scene())
