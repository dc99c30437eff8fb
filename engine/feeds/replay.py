"""Replay: sends the spends of a file through the bidder's client, in order, as spends of now. `at` becomes occurred_at.

Before each chunk, `engine/feeds/replay_names.py` creates the brands and campaigns that the catalog lacks. Where the
catalog refuses a name, the lines with that name fail and the others continue. Each chunk has one request id, so a
repeat after a lost reply counts nothing twice. Event ids make a second replay of the whole file harmless.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Final, Protocol

from engine.client.sync import Spend
from engine.errors import BudgetError, Unavailable
from engine.feeds.spend_file import Malformed, SpendFile, SpendRow
from engine.live.replies import CONFLICT, DUPLICATE, NOT_READY, RECORDED, REFUSED, UNKNOWN_CAMPAIGN, SpendResult

CHUNK: Final = 2000
"""Lines that are read, resolved and sent together. The client splits them into calls."""
FAILED: Final = "failed"
PATIENCE_S: Final = 60.0
"""How long to repeat while Redis is down, is being rebuilt, or does not know a campaign that was just created."""
_PAUSE_S: Final = 0.25


class SpendsClient(Protocol):
    """The part of BudgetClient that replay uses."""

    def record_spends(self, spends: Iterable[Spend], *, request_id: str | None = None) -> list[SpendResult]: ...


Pair = tuple[str, str]
"""The name of a brand and of a campaign."""


class Names(Protocol):
    """Resolves names to campaign ids and creates what is missing. Returns the ids, and the reason for each pair
    without one.
    """

    def campaign_ids(self, wanted: Iterable[Pair]) -> tuple[dict[Pair, int], dict[Pair, str]]: ...


@dataclass(slots=True)
class Totals:
    """Counts of lines by outcome. stopped: why the replay ended before the end of the file; else empty."""

    rows: int = 0
    recorded: int = 0
    duplicate: int = 0
    conflict: int = 0
    refused: int = 0
    failed: int = 0
    micros: int = 0
    stopped: str = ""


class Replay:
    """One replay of a file.

    wait_for: called with the instant `at` of each line before the line is sent, so that a caller can hold it back. Lines
    of one instant are sent together. Without it lines are sent at once.
    on_trouble: gets "failed" or "conflict", and a text with the line and the reason, for each line that was not
    counted. on_progress: gets the totals after each chunk. on_wait: called before each repeat of a call; it may
    publish what Redis lacks.
    """

    def __init__(
        self,
        client: SpendsClient,
        names: Names,
        *,
        wait_for: Callable[[datetime], object] | None = None,
        on_trouble: Callable[[str, str], None] = lambda outcome, text: None,
        on_progress: Callable[[Totals], None] = lambda totals: None,
        on_wait: Callable[[], object] = lambda: None,
        patience_s: float = PATIENCE_S,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._names = names
        self._wait_for = wait_for
        self._on_trouble = on_trouble
        self._on_progress = on_progress
        self._on_wait = on_wait
        self._patience_s = patience_s
        self._sleep = sleep
        self._clock = clock
        self._run = f"replay-{os.urandom(8).hex()}"

    def run(self, file: SpendFile) -> Totals:
        """Sends a file to its end, or until a server stays away for too long; `stopped` then has the reason."""
        totals = Totals()
        chunks = _chunks(file.rows()) if self._wait_for is None else _by_instant(file.rows())
        for number, chunk in enumerate(chunks):
            if self._wait_for is not None:
                for at in {item.at for item in chunk if isinstance(item, SpendRow) and item.at is not None}:
                    self._wait_for(at)
            rows: list[SpendRow] = []
            for item in chunk:
                totals.rows += 1
                if isinstance(item, Malformed):
                    totals.failed += 1
                    self._on_trouble(FAILED, str(item))
                else:
                    rows.append(item)
            if rows:
                self._send_or_stop(rows, f"{self._run}.{number}", totals)
            self._on_progress(totals)
            if totals.stopped:
                break
        return totals

    def _send_or_stop(self, rows: Sequence[SpendRow], request_id: str, totals: Totals) -> None:
        why, before = "", totals.failed
        try:
            why = self._send(rows, request_id, totals)
        except BudgetError as error:
            # Lines with refused names may be counted already.
            totals.failed = before + len(rows)
            why = str(error)
        if why:
            totals.stopped = (
                f"stopped between lines {rows[0].line} and {rows[-1].line}: {why}; run it again when that is mended"
            )

    def _send(self, rows: Sequence[SpendRow], request_id: str, totals: Totals) -> str:
        ids, refused = self._names.campaign_ids((row.brand, row.campaign) for row in rows)
        for row in rows:
            why = refused.get((row.brand, row.campaign))
            if why is not None:
                totals.failed += 1
                self._on_trouble(FAILED, f"line {row.line}: {why}")
        rows = [row for row in rows if (row.brand, row.campaign) in ids]
        if not rows:
            return ""
        spends = [
            Spend(
                ids[row.brand, row.campaign], event_id=row.event_id, amount_micros=row.amount_micros, occurred_at=row.at
            )
            for row in rows
        ]
        answers, why = self._until_answered(spends, request_id)
        for row, answer in zip(rows, answers, strict=True):
            outcome = answer.outcome if answer is not None else ""
            if outcome == RECORDED:
                totals.recorded += 1
                totals.micros += row.amount_micros
            elif outcome == DUPLICATE:
                totals.duplicate += 1
            elif outcome == CONFLICT:
                totals.conflict += 1
                self._on_trouble(
                    CONFLICT,
                    f"line {row.line}: event_id {row.event_id} was counted with another campaign or amount",
                )
            elif outcome == REFUSED:
                totals.refused += 1
            else:
                totals.failed += 1
        return why

    def _until_answered(self, spends: Sequence[Spend], request_id: str) -> tuple[Sequence[SpendResult | None], str]:
        """Repeats the call until all results are final. Returns the results, and why some are missing after
        `patience_s`. The request id stays the same, so a repeat counts nothing twice.
        """
        give_up = self._clock() + self._patience_s
        while True:
            answers: Sequence[SpendResult | None]
            try:
                answers = self._client.record_spends(spends, request_id=request_id)
                why = _unsettled(answers)
            except Unavailable as error:
                answers = [answer if isinstance(answer, SpendResult) else None for answer in error.answers]
                why = str(error)
            if not why or self._clock() >= give_up:
                return answers, why
            self._sleep(_PAUSE_S)
            with suppress(BudgetError):
                self._on_wait()


def _unsettled(answers: Iterable[SpendResult]) -> str:
    """Why the first result that is not final is not; empty when all are final. Redis does not store such results, so a
    repeat may get another one.
    """
    for answer in answers:
        if answer.outcome == NOT_READY:
            return f"Redis is not ready ({answer.detail})"
        if answer.outcome == UNKNOWN_CAMPAIGN:
            return f"Redis does not know campaign {answer.campaign_id} yet"
    return ""


def _chunks(rows: Iterator[SpendRow | Malformed]) -> Iterator[list[SpendRow | Malformed]]:
    while chunk := list(islice(rows, CHUNK)):
        yield chunk


def _by_instant(rows: Iterator[SpendRow | Malformed]) -> Iterator[list[SpendRow | Malformed]]:
    """Lines of one instant together. A line without one belongs to the line before it."""
    chunk: list[SpendRow | Malformed] = []
    last: datetime | None = None
    for item in rows:
        at = item.at if isinstance(item, SpendRow) else None
        if chunk and (len(chunk) == CHUNK or (at is not None and last is not None and at != last)):
            yield chunk
            chunk = []
        last = at or last
        chunk.append(item)
    if chunk:
        yield chunk


class RealTime:
    """Holds lines back, so that each is sent as long after the first one as its `at` is. A line that is late is not."""

    def __init__(
        self, sleep: Callable[[float], object] = time.sleep, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._sleep = sleep
        self._clock = clock
        self._began: tuple[datetime, float] | None = None

    def __call__(self, at: datetime) -> None:
        """Waits until it is time for a line of this instant."""
        if self._began is None:
            self._began = (at, self._clock())
        first, began = self._began
        left = (at - first).total_seconds() - (self._clock() - began)
        if left > 0:
            self._sleep(left)
