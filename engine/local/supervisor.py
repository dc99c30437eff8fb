"""Keeps processes and embedded servers running until a stop is requested, then ends them in order: callers first,
servers last.
"""

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
    """Counts Ctrl-C, SIGTERM and SIGHUP. The handler only counts, so a signal is safe at any moment."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> bool:
        return self.times > 0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Counts the signals inside the block, instead of ending the process."""
        before = {number: signal.signal(number, self._count) for number in _STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _count(self, number: int, frame: FrameType | None) -> None:
        self.times += 1


class _RestartState:
    """When a child or server that exited is started again."""

    def __init__(self) -> None:
        self.backoff = Backoff()
        self.started = time.monotonic()
        self.restart_at: float | None = None
        self.starting = False


class Supervisor:
    """Starts, restarts and stops children and embedded servers.

    stages: groups of children in the order of stopping. The children of a stage stop together, and the next stage
    follows when all have ended.
    """

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
        self._child_states = {child.name: _RestartState() for stage in stages for child in stage}
        self._server_states = {server.role: _RestartState() for server in (servers.all if servers else ())}

    def start(self) -> None:
        """Starts every child, in the reverse order of stopping."""
        for stage in reversed(self._stages):
            for child in stage:
                child.start()

    def run(self, each_round: Callable[[], None] = lambda: None) -> None:
        """Restarts what exits until a stop is requested. each_round: called about ten times a second."""
        while not self._stop():
            self.look()
            each_round()
            time.sleep(_ROUND_S)

    def look(self) -> None:
        """Checks every child and server once, and starts those that exited and whose wait is over."""
        for server in self._servers.all if self._servers else ():
            self._look_at_server(server, self._server_states[server.role])
        for stage in self._stages:
            for child in stage:
                self._look_at_child(child, self._child_states[child.name])

    def stop(self) -> None:
        """Stops everything, servers last. A second Ctrl-C ends the wait for the children; the servers always shut down
        cleanly.
        """
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

    def _look_at_child(self, child: Child, state: _RestartState) -> None:
        if child.alive:
            return
        now = time.monotonic()
        if state.restart_at is None:
            wait_s = state.backoff.after(child.lived_s)
            self._printer.say(f"{child.name} ended with {child.how_it_ended()}; starting it again in {wait_s:g} s")
            child.end_group()
            state.restart_at = now + wait_s
        elif now >= state.restart_at:
            state.restart_at = None
            child.start()

    def _look_at_server(self, server: Server, state: _RestartState) -> None:
        now = time.monotonic()
        if server.alive:
            if state.starting and server.answers():
                state.starting = False
                self._printer.say(f"{server.title} answers again")
        elif state.restart_at is None:
            wait_s = state.backoff.after(now - state.started)
            self._printer.say(f"{server.title} ended ({server.last_words()}); starting it again in {wait_s:g} s")
            state.restart_at = now + wait_s
        elif now >= state.restart_at:
            state.restart_at, state.started, state.starting = None, now, True
            try:
                server.launch()
            except BudgetError as error:
                self._printer.say(str(error))
