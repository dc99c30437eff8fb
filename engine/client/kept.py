"""Acknowledged writes of the last seconds, which are sent again when their shard may have lost them.

A replica that takes over may lack what its primary acknowledged last. Every write carries an id, so sending it again
counts only what was lost. `resend.py` does so for threads, `aio/resend.py` under asyncio.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from engine.client.prepared import call_for_all
from engine.errors import InvalidInput, shown
from engine.live.packed import read as read_packed
from engine.live.replies import NOT_READY
from engine.live.scripts import LAYOUT, RECORD, TRY, script
from engine.live.transport.pool import Call, Reply
from engine.live.transport.routes import SHARD_OF

KEEP_S: Final = 5.0
"""How long a replica may lag behind before something is lost."""
MOST_S: Final = 60.0
CHECK_S: Final = 1.0
CLOSE_S: Final = 5.0
"""How long `close` looks and sends again at most, where a shard is away or was lost."""
CLOSE_EACH_S: Final = 0.1
MOST_CALLS: Final = 20_000
"""Kept calls of one shard. Of a busier client the oldest go first."""
_COUNTED: Final = {RECORD: b"kd", TRY: b"kd", "draw_spends": b"kd", "holds": b"asotl", "refund": b"kw"}
"""The calls that write, and the letters of their replies where they did. What was refused is not sent again: there may be room by then."""
_AGAIN: Final = "/lost"


class Resent(Call):
    """A kept call that is sent again. It is kept already."""

    __slots__ = ()


class _Shard:
    __slots__ = ("calls", "checked_at", "clock", "mark", "n", "suspect", "where")

    def __init__(self) -> None:
        self.calls: deque[Call] = deque(maxlen=MOST_CALLS)
        """Each with its time by the clock below, and the outcomes of its spends as the script wrote them."""
        self.clock = 0.0
        """Seconds for which the shard has answered. While it is away, nothing grows old."""
        self.checked_at: float | None = None
        self.where = ""
        self.mark = b""
        self.n = 0
        self.suspect = False


class KeptCalls:
    """The kept writes by shard. `note` may be called by many threads, everything else by one. keep_s: seconds."""

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._shards: dict[str, _Shard] = {}

    def note(self, call: Call, reply: Reply) -> bool:
        """Keeps a call that its reply acknowledges. True for the first of a shard, whose state is not known yet."""
        # Each spend comes here: no object is made for it, and the usual one costs no call.
        if reply[0] != b"ok" or type(call) is Resent:
            return False
        outcomes, name = reply[1], call.script.name
        if name not in _COUNTED if outcomes == b"k*1" else not _counts(name, outcomes):
            return False
        shard = self._shards.get(call.keys[0])
        if shard is not None:
            call.kept_at, call.outcomes = shard.clock, outcomes
            shard.calls.append(call)
            return False
        shard = self._shards.setdefault(call.keys[0], _Shard())
        call.kept_at, call.outcomes = shard.clock, outcomes
        shard.calls.append(call)
        return True

    def questions(self) -> list[Call]:
        """What to ask the shards that have kept calls."""
        code = script("read_watched")
        return [Call(code, (key,), (LAYOUT,)) for key, shard in list(self._shards.items()) if shard.calls]

    def compare(self, key: str, where: str, reply: Reply | None, now: float) -> None:
        """Takes the answer to a question, None where there is none. where: the server that has the shard now. now: monotonic seconds."""
        shard = self._shards[key]
        if reply is None or reply[0] != b"ok":
            shard.checked_at = None
            return
        mark, n = bytes(reply[1]), int(reply[3])
        if shard.mark and (where != shard.where or mark != shard.mark or n < shard.n):
            # Another server has it, it was rebuilt, or it fell back.
            shard.suspect = True
        if shard.checked_at is not None:
            shard.clock += min(now - shard.checked_at, 2 * CHECK_S)
        shard.where, shard.mark, shard.n, shard.checked_at = where, mark, n, now
        if not shard.suspect:
            while shard.calls and shard.calls[0].kept_at < shard.clock - self._keep_s:
                shard.calls.popleft()

    def due(self) -> dict[str, list[Call]]:
        """The calls to send again, by shard."""
        # A copy first: other threads add shards meanwhile.
        return {key: list(shard.calls) for key, shard in list(self._shards.items()) if shard.suspect}

    def unsure(self) -> int:
        """How many kept calls may be lost by what the last look saw: their shard gave no answer, or was lost."""
        return sum(
            len(shard.calls) for shard in list(self._shards.values()) if shard.suspect or shard.checked_at is None
        )

    def sent(self, key: str) -> None:
        """A shard's calls were sent again, and answered."""
        self._shards[key].suspect = False


def again(kept: Call) -> Call:
    """The same call, without what its caller wanted to do meanwhile.

    Of a try call that was refused in part, what was counted, as a record call under the same id. Where the call was not lost, that is a conflict
    and changes nothing; the whole of it might be accepted by now.
    """
    if kept.script.name == TRY:
        outcomes = _each(kept.outcomes)
        counted = [place for place, outcome in enumerate(outcomes) if outcome in ("k", "d")]
        if len(counted) < len(outcomes):
            return _facts(kept, counted, "")
    return Resent(kept.script, kept.keys, kept.args, kept.head)


def _counts(name: str, outcomes: object) -> bool:
    """Whether a reply to a script tells of a change."""
    letters = _COUNTED.get(name, b"")
    return isinstance(outcomes, bytes) and any(letter in letters for letter in outcomes)


def _facts(kept: Call, places: Sequence[int], more: str) -> Call:
    """Some spends of a call as facts. more: of the request id."""
    _, request, *body = kept.args() if callable(kept.args) else kept.args
    lines = _lines(body)
    chosen = [lines[place] for place in places]
    campaigns = sorted({int(line.partition(",")[0]) for line in chosen})
    args = (LAYOUT, f"{request!s}{more}", "".join(chosen))
    return call_for_all(script(RECORD), SHARD_OF[kept.keys[0]], campaigns, lambda: args, None)


def left_out(calls: int) -> str:
    """What `close` says of acknowledged calls that it could not look at in time."""
    return f"closed while {calls} acknowledged calls of the last seconds could not be looked at: they may be lost"


def answered(reply: Reply | None) -> bool:
    """Whether a repeat had its answer; a shard that is being rebuilt has none yet."""
    return reply is not None and reply[0] != NOT_READY.encode()


def refused_now(kept: Call, reply: Reply) -> Call | None:
    """The spends of a question that had been accepted, were lost, and no longer fit: as facts, since their money is spent."""
    if kept.script.name != TRY or reply[0] != b"ok" or reply[1] == kept.outcomes:
        return None
    before, now = _each(kept.outcomes), _each(reply[1])
    lost = [
        place for place, (was, is_now) in enumerate(zip(before, now, strict=False)) if was == "k" and is_now[0] == "x"
    ]
    return _facts(kept, lost, _AGAIN) if lost else None


def _each(outcomes: bytes) -> list[str]:
    """The outcome of each spend."""
    found: list[str] = []
    for run in outcomes.decode().split(","):
        code, _, times = run.partition("*")
        found += [code] * int(times or 0)
    return found


def _lines(body: Sequence[str | bytes]) -> list[str]:
    """The single spends of a call's arguments after its request id, as text."""
    text = str(body[0])
    if len(body) == 1:
        return [line + ";" for line in text.split(";") if line]
    log = body[1]
    assert isinstance(log, bytes)
    unpacked = read_packed(text, log, None if len(body) < 4 else str(body[3]))
    ids = [unpacked.sums[place].campaign_id for place in unpacked.places]
    events = unpacked.events or [""] * len(ids)
    return [f"{c},{m},{e},;" for c, m, e in zip(ids, unpacked.micros, events, strict=True)]


def checked_keep_s(resend_s: float | None, routed: bool) -> float:
    """For how many seconds calls are kept, 0 for not at all. resend_s: None for the default. routed: another server may take over. Raises InvalidInput."""
    if resend_s is None:
        return KEEP_S if routed else 0.0
    if isinstance(resend_s, bool) or not isinstance(resend_s, int | float) or not 0 <= resend_s <= MOST_S:
        raise InvalidInput(f"resend_s {shown(resend_s)} is not a number of seconds from 0 to {MOST_S:.0f}", "resend_s")
    return float(resend_s)
