"""The two script calls of a lease: setting what is on hold (`lua/lease.lua`), and drawing what was spent (`lua/draw_spends.lua`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from engine.client.prepared import call_for
from engine.domain.causes import reasons_of
from engine.live.packed import pack_one
from engine.live.replies import NOT_READY, UNKNOWN_CAMPAIGN, head
from engine.live.scripts import LAYOUT, script
from engine.live.transport.pool import Call, Reply

GRANTED: Final = "granted"
PARTLY: Final = "partly"
REFUSED: Final = "refused"
ENDED: Final = "ended"

COUNTED: Final = "counted"
FORGOTTEN: Final = "forgotten"

_GRANTS: Final = {"a": GRANTED, "p": PARTLY, "l": ENDED, "n": ENDED, "o": GRANTED, "u": UNKNOWN_CAMPAIGN}


class Grant(NamedTuple):
    """The hold of a lease after a call: micros, and expiry by Redis' time in epoch milliseconds. reasons: why it is
    not more.
    """

    outcome: str
    held: int
    now_ms: int
    reasons: tuple[str, ...] = ()
    detail: str = ""


def asks_lease(campaign_id: int, lease_id: str, micros: int, ttl_ms: int, number: int, least: int = 0) -> Call:
    """Sets the hold to `micros`; 0 gives all back. number: of this call among the lease's, from 1, so that a delayed
    call cannot undo a later one. least: a typical amount of its spends, which pacing grants if anything; 0 where none is
    known.
    """
    args = (LAYOUT, str(campaign_id), lease_id, str(micros), str(ttl_ms), str(number))
    return call_for(script("lease"), campaign_id, (*args, str(least)) if least else args)


def read_grant(reply: Reply) -> Grant:
    """The result of `asks_lease`. Raises WrongVersion, InvalidInput."""
    if head(reply) == NOT_READY:
        return Grant(NOT_READY, 0, 0, (), reply[1].decode())
    code = reply[1].decode()
    held, now_ms = int(reply[4]), int(reply[5])
    if code[0] == "x":
        return Grant(REFUSED, held, now_ms, reasons_of(int(code[1:])))
    return Grant(_GRANTS[code], held, now_ms)


def asks_draw(campaign_id: int, lease_id: str, number: int, micros: Sequence[int], first_sent_ms: int) -> Call:
    """Counts the spends of a lease's draw. first_sent_ms: by Redis' clock, 0 when it was not sent before."""
    sums = f"{campaign_id},{sum(micros)},{len(micros)};"
    request = f"{lease_id}/{number}"
    sent = str(first_sent_ms) if first_sent_ms else ""
    return call_for(script("draw_spends"), campaign_id, (LAYOUT, request, sums, pack_one(micros), lease_id, sent))


def read_draw(reply: Reply) -> str:
    """`counted`, `forgotten`, `unknown_campaign`, `not_ready` or `conflict`. Raises WrongVersion, InvalidInput."""
    word = head(reply)
    if word in (NOT_READY, FORGOTTEN):
        return word
    code = reply[1][:1]
    return COUNTED if code == b"k" else UNKNOWN_CAMPAIGN if code == b"u" else "conflict"
