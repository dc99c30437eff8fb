"""One node of several: its connections, which notice while they wait that another node has been given its shards, and its part of a batch."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from redis import exceptions

from engine.live.scripts import Script
from engine.live.transport.busy_poll import BusyPoll
from engine.live.transport.connection import MORE, Connection, command, remaining
from engine.live.transport.loading import is_refused, load, load_by_eval
from engine.live.transport.pool import TOGETHER, TURN, Call, ConnectionPool
from engine.live.transport.routes import PATIENCE_S, Place

NO_PRIMARY: Final = "it is a replica now"
CONNECT_S: Final = 0.5
"""Each step of connecting to a node: a frozen one takes the connection, and whoever waits for its login would miss that it was replaced."""
_CHUNK: Final = 65_536
_ASKING: Final = command(("ASKING",))
_LOADS: Final = 3
"""So many times a script is loaded for one round: a node that forgets it more often does not keep scripts."""


class Replaced(exceptions.ConnectionError):
    """The node says nothing, and another has its shards now."""


class NodeConnection(Connection):
    """A connection that looks at the map while it waits. replaced: whether another node has this one's shards."""

    __slots__ = ("_replaced", "loads_by_eval")

    def __init__(self, connection: Any, replaced: Callable[[], bool]) -> None:
        super().__init__(connection)
        self._replaced = replaced
        self.loads_by_eval = False
        """Whether it refuses SCRIPT LOAD."""

    def ask(
        self, data: bytes, timeout_s: float, began: float, awake: BusyPoll, sent: Callable[[], None] | None = None
    ) -> Any:
        """As `Connection.ask`. Raises Replaced besides."""
        if timeout_s <= PATIENCE_S:
            return super().ask(data, timeout_s, began, awake, sent)
        try:
            return super().ask(data, PATIENCE_S, began, awake, sent)
        except TimeoutError:
            self._look()
        return self.receive(began + timeout_s)

    def receive(self, deadline: float) -> Any:
        """As `Connection.receive`. Raises Replaced besides."""
        while True:
            until = min(deadline, time.monotonic() + PATIENCE_S)
            try:
                return self._receive_until(until)
            except (exceptions.TimeoutError, TimeoutError):
                if until >= deadline:
                    raise
                self._look()

    def _receive_until(self, deadline: float) -> Any:
        if self._replies is None:
            # The rest of a reply may come later: redis-py would hang up.
            return self._connection.read_response(timeout=remaining(deadline), disconnect_on_error=False)
        return super().receive(deadline)

    def _look(self) -> None:
        if self._replaced():
            raise Replaced("it says nothing, and another node has its shards")

    def arrived(self, until: float) -> list[Any]:
        """The replies that are here by a monotonic second, errors among them. Raises what a lost connection raises."""
        if self._replies is None:
            try:
                return [self._connection.read_response(timeout=PATIENCE_S, disconnect_on_error=False)]
            except exceptions.ResponseError as error:
                return [error]
            except exceptions.TimeoutError:
                return []
        self._keep_time(until)
        try:
            self._replies.feed(self._sock.recv(_CHUNK))
        except TimeoutError:  # nothing yet, or a part of a record of TLS
            return []
        found = []
        while (reply := self._replies.next()) is not MORE:
            if isinstance(reply, exceptions.ConnectionError):  # such as LOADING
                raise reply
            found.append(reply)
        return found

    def fileno(self) -> int:
        """Of its socket."""
        return int(self._sock.fileno())

    def has_read(self) -> bool:
        """Whether bytes are here that the socket does not show any more, as with TLS or redis-py's own parser."""
        pending = getattr(self._sock, "pending", None)
        if pending is not None and pending():
            return True
        return self._replies is None and bool(self._connection.can_read(0))


class NodePool(ConnectionPool):
    """The connections to one node. serves: whether the map still has it, asked while it says nothing."""

    def __init__(
        self,
        url: str,
        place: Place,
        busy_poll_us: int,
        serves: Callable[[Place, float], bool],
        still: Callable[[Place, float], bool] | None = None,
    ) -> None:
        """still: asked before each new connection, and the server for its role; None for a node of a cluster, which says MOVED."""
        super().__init__(url, busy_poll_us)
        self._still = still
        self.place = place
        self._serves = serves

    @property
    def is_open(self) -> bool:
        """Whether a connection is free."""
        return bool(self._free)

    def replaced(self) -> bool:
        """Whether another node has its shards now."""
        return not self._serves(self.place, time.monotonic() + PATIENCE_S)

    def take(self, deadline: float, connect_s: float = CONNECT_S) -> NodeConnection:
        """A connection, a new one where none is free. connect_s: for each step of making one. Raises redis' errors, OSError."""
        try:
            return self._free.pop()  # type: ignore[return-value]  # only `give` adds to them
        except IndexError:
            pass
        if self._still is not None and not self._still(self.place, min(deadline, time.monotonic() + connect_s)):
            raise Replaced("another server is the primary now")
        left = min(remaining(deadline), connect_s)
        connection = self._address.connection(socket_timeout=left, socket_connect_timeout=left)
        try:
            connection.connect()
            if self._still is not None:
                _refuse_replica(connection)
        except BaseException:
            connection.disconnect()
            raise
        return NodeConnection(connection, self.replaced)

    def _take(self, deadline: float) -> Connection:
        return self.take(deadline)


def _refuse_replica(connection: Any) -> None:
    """Raises Replaced where a connection leads to no primary. A login that may not ask is not told."""
    connection.send_command("ROLE")
    try:
        role = connection.read_response()
    except exceptions.NoPermissionError:
        return
    if role[0] != b"master":
        raise Replaced(NO_PRIMARY)


class NodeExchange:
    """The part of a batch that one node has: a few calls are under way at a time, as in `ConnectionPool`. took: is given each call's place and its reply or error."""

    def __init__(
        self,
        pool: NodePool,
        link: NodeConnection,
        calls: Sequence[Call],
        places: Iterable[int],
        asking: bool,
        took: Callable[[int, Any], None],
    ) -> None:
        self.pool = pool
        self.link = link
        self.asking = asking
        self.heard_s = time.monotonic()
        """When it last said something."""
        self._calls = calls
        self._took = took
        self.sent = list(places)
        """The places of its calls."""
        self._waiting = deque(self.sent)
        self._asked: deque[int | None] = deque()
        """Places whose replies are awaited in this order; None for a reply that is no call's."""
        self._missing: list[int] = []
        self._to_load: set[Script] = set()
        self._loads = 0

    @property
    def done(self) -> bool:
        """Whether every reply is here."""
        return not self._asked and not self._waiting and not self._missing

    def send(self, deadline: float) -> None:
        """Sends what may be under way. Raises what a lost connection raises."""
        if self._missing and not self._asked:
            # In their old order, before what was not sent yet.
            self._waiting.extendleft(reversed(self._missing))
            self._missing.clear()
            self._loads += 1
            if self._loads > _LOADS:
                raise TimeoutError("it forgets scripts as soon as they are loaded")
        parts: list[bytes] = []
        size, sent = 0, []
        room = 2 * TURN if len(self._asked) <= TURN else 0
        while self._waiting and not self._missing and len(self._asked) < room:
            i = self._waiting.popleft()
            call = self._calls[i]
            if call.script in self._to_load:
                self._to_load.discard(call.script)
                parts.append((load_by_eval if self.link.loads_by_eval else load)(call.script))
                self._asked.append(None)
            if self.asking:
                parts.append(_ASKING)
                self._asked.append(None)
            parts.append(call.encoded())
            self._asked.append(i)
            sent.append(call)
            size += len(parts[-1])
            if size >= TOGETHER:
                self.link.send(b"".join(parts), deadline)
                parts, size = [], 0
        if parts:
            self.link.send(b"".join(parts), deadline)
        for call in sent:
            if call.sent is not None:
                call.sent()

    def receive(self, until: float) -> None:
        """Takes what has come, waiting for it until a monotonic second. Raises what a lost connection raises."""
        for reply in self.link.arrived(until):
            self.heard_s = time.monotonic()
            i = self._asked.popleft()
            if i is None:
                self._took_beside(reply)
            elif isinstance(reply, exceptions.NoScriptError):
                self._missing.append(i)
                self._to_load.add(self._calls[i].script)
            else:
                self._took(i, reply)

    def _took_beside(self, reply: Any) -> None:
        """The reply to ASKING or to a load. One that is refused for good is the reply of the call behind it."""
        if not isinstance(reply, exceptions.ResponseError):
            return
        refused = is_refused(reply)
        if self.link.loads_by_eval != refused:
            # SCRIPT LOAD is refused: the call behind has no script, and loads it by EVAL. Or EVAL has loaded, and tells nothing else.
            self.link.loads_by_eval = True
            return
        for i in [each for each in self._asked if each is not None][:1]:
            self._took(i, reply)
            self._asked = deque(None if each == i else each for each in self._asked)

    def places(self) -> list[int]:
        """The places without a reply."""
        return [i for i in (*self._asked, *self._missing, *self._waiting) if i is not None]
