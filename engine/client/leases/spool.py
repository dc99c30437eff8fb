"""Replays the spool files of dead processes: counts their spends under the ids that they had."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Final, NamedTuple

from engine.client.leases.calls import COUNTED, FORGOTTEN, asks_draw, asks_lease, read_draw
from engine.client.leases.slots import Draw, InUse, Slots, files_in
from engine.domain.money import to_decimal
from engine.errors import BudgetError, InvalidInput, NotReady, Unavailable, shown
from engine.live.keys import keys_of_campaign
from engine.live.replies import NOT_READY, head
from engine.live.scripts import LAYOUT, script
from engine.live.transport.pool import Call, NoAnswer, Reply, named
from engine.live.transport.protocol import Transport

log = logging.getLogger(__name__)

_AT_ONCE: Final = 16
_LAST: Final = 10**15 - 1
"""The number of a lease's last call."""


class Replayed(NamedTuple):
    """The result of `replay_spool`: files, and their spends, each of which is counted once now. doubtful: requests
    that may or may not be counted, because they were first sent before the dedup window; their files end in
    `.doubtful`.
    """

    files: int
    spends: int
    micros: int
    doubtful: tuple[str, ...]


def folder_of(spool: object) -> Path:
    """Checks the folder of a spool, which need not exist yet. Raises InvalidInput."""
    try:
        path = os.fsdecode(spool)  # type: ignore[arg-type]  # what is no path is told below
    except TypeError:
        path = ""
    if not path or "\0" in path or (os.path.exists(path) and not os.path.isdir(path)):
        raise InvalidInput(f"spool {shown(spool)} is not a folder: give the path of one on a local disk", "spool")
    return Path(path)


def replay(wire: Transport, folder: Path, timeout_s: float) -> Replayed:
    """Counts what dead processes left in a folder. Files of running processes are left alone. Raises Unavailable,
    NotReady: call it again.
    """
    files = spends = micros = 0
    doubtful: list[str] = []
    for path in files_in(folder):
        try:
            slots = Slots.found(path)
        except InUse:
            continue
        except OSError as error:
            raise InvalidInput(f"spool {str(path)!r} cannot be read ({error.strerror or error})", "spool") from None
        if slots is None:
            continue
        try:
            counted = _replay_one(wire, slots, timeout_s)
            doubtful += [f"{slots.lease_id}/{draw.number}" for draw in slots.doubtful()]
            slots.end()
        except BudgetError:
            raise
        except Exception as error:  # an unreadable reply, a full disk
            raise Unavailable(
                f"spool {str(path)!r} is not counted whole ({named(error)}): repeat it, nothing is counted twice", ""
            ) from error
        finally:
            slots.close()
        files += 1
        spends += sum(len(draw.micros) for draw in counted)
        micros += sum(sum(draw.micros) for draw in counted)
    if files:
        log.info("leases: %s spends, %s in all, of %s spool files were counted", spends, to_decimal(micros), files)
    if doubtful:
        log.error(
            "leases: nobody can tell whether these were counted, look for them in spend_log: %s", ", ".join(doubtful)
        )
    return Replayed(files, spends, micros, tuple(doubtful))


def _replay_one(wire: Transport, slots: Slots, timeout_s: float) -> list[Draw]:
    campaign_id, lease_id = slots.campaign_id, slots.lease_id
    slots.seal_found()
    waiting, counted = slots.waiting(), []
    now_ms = _now_ms(wire, campaign_id, timeout_s)
    heard_s = time.monotonic()
    for start in range(0, len(waiting), _AT_ONCE):
        part = waiting[start : start + _AT_ONCE]
        calls = []
        for draw in part:
            slots.sent(draw, now_ms + int((time.monotonic() - heard_s) * 1000))
            calls.append(asks_draw(campaign_id, lease_id, draw.number, draw.micros, draw.first_sent_ms))
        for draw, reply in zip(part, _answers(wire, calls, timeout_s), strict=True):
            answer = read_draw(reply)
            if answer == COUNTED:
                slots.counted(draw)
                counted.append(draw)
            elif answer == FORGOTTEN or answer == "conflict":
                slots.doubt(draw)
            elif answer == NOT_READY:
                raise NotReady("Redis is not ready: it is being rebuilt from PostgreSQL, repeat in a moment")
            else:
                raise BudgetError(
                    f"spool {str(slots.path)!r} is of campaign {campaign_id}, which this Redis does not know"
                )
    _answers(wire, [asks_lease(campaign_id, lease_id, 0, 1000, _LAST)], timeout_s)
    return counted


def _now_ms(wire: Transport, campaign_id: int, timeout_s: float) -> int:
    (reply,) = _answers(
        wire, [Call(script("read_watched"), (keys_of_campaign(campaign_id).shard,), (LAYOUT,))], timeout_s
    )
    if head(reply) == NOT_READY:
        raise NotReady("Redis is not ready: it is being rebuilt from PostgreSQL, repeat in a moment")
    return int(reply[2])


def _answers(wire: Transport, calls: list[Call], timeout_s: float) -> list[Reply]:
    try:
        return wire.call_all(calls, timeout_s)
    except NoAnswer as failure:
        raise Unavailable(f"the spool is not counted: {failure.why}; repeat it, nothing is counted twice", "") from None
