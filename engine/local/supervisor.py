"""Keeps processes and embedded servers running until it is asked to stop, then ends them in order: callers first, servers last."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Final

from engine.errors import BudgetError
from engine.local.child import Backoff, Child, stop_together
from engine.local.printer import Printer
from engine.local.server import Server
from engine.local.servers import EmbeddedServers

_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_ROUND_S: Final = 0.1
PATIENCE_S: Final = 15.0


class StopAsked:
    """How often Ctrl-C, SIGTERM or SIGHUP came. The handler only counts, so no moment is a wrong one."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> bool:
        return self.times > 0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Counts signals instead of ending the process."""
        before = {number: signal.signal(number, self._count) for number in _STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _count(self, number: int, frame: FrameType | None) -> None:
        self.times += 1


class _Watched:
    """When something that died may be started again."""

    def __init__(self) -> None:
        self.backoff = Backoff()
        self.started = time.monotonic()
        self.again_at: float | None = None
        self.starting = False


class Supervisor:
    """`stages` is the order of stopping: each is asked together, and the next one when it has ended."""

    def __init__(
        self,
        stages: Sequence[Sequence[Child]],
        servers: EmbeddedServers | None,
        printer: Printer,
        stop: StopAsked,
    ) -> None:
        self._stages = stages
        self._servers = servers
        self._printer = printer
        self._stop = stop
        self._children = {child.name: _Watched() for stage in stages for child in stage}
        self._kept = {server.role: _Watched() for server in (servers.all if servers else ())}

    def start(self) -> None:
        """Starts every child, those that are stopped last first."""
        for stage in reversed(self._stages):
            for child in stage:
                child.start()

    def run(self, each_round: Callable[[], None] = lambda: None) -> None:
        """Until a stop is asked."""
        while not self._stop():
            self.look()
            each_round()
            time.sleep(_ROUND_S)

    def look(self) -> None:
        """One look at everything; what died is started again when its wait is over."""
        for server in self._servers.all if self._servers else ():
            self._look_at_server(server, self._kept[server.role])
        for stage in self._stages:
            for child in stage:
                self._look_at_child(child, self._children[child.name])

    def stop(self) -> None:
        """Ends all, servers last. A second Ctrl-C shortens the wait for our own processes, never the servers' last writes."""
        for stage in self._stages:
            running = [child for child in stage if child.alive]
            if running:
                self._printer.say(f"stopping {', '.join(child.name for child in running)}")
            slow = stop_together(stage, PATIENCE_S, lambda: self._stop.times > 1)
            if slow:
                self._printer.say(
                    f"{', '.join(slow)} did not end in time and was ended by force: nothing that was answered is lost"
                )
        if self._servers is not None:
            self._printer.say("stopping the embedded servers; their data stays")
            self._servers.stop()

    def _look_at_child(self, child: Child, watched: _Watched) -> None:
        if child.alive:
            return
        now = time.monotonic()
        if watched.again_at is None:
            wait_s = watched.backoff.after(child.lived_s)
            self._printer.say(f"{child.name} ended with {child.how_it_ended()}; starting it again in {wait_s:g} s")
            child.end_group()
            watched.again_at = now + wait_s
        elif now >= watched.again_at:
            watched.again_at = None
            child.start()

    def _look_at_server(self, server: Server, watched: _Watched) -> None:
        now = time.monotonic()
        if server.alive:
            if watched.starting and server.answers():
                watched.starting = False
                self._printer.say(f"{server.title} answers again")
        elif watched.again_at is None:
            wait_s = watched.backoff.after(now - watched.started)
            self._printer.say(f"{server.title} ended ({server.last_words()}); starting it again in {wait_s:g} s")
            watched.again_at = now + wait_s
        elif now >= watched.again_at:
            watched.again_at, watched.started, watched.starting = None, now, True
            try:
                server.launch()
            except BudgetError as error:
                self._printer.say(str(error))
