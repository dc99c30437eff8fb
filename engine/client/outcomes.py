"""`Outcomes`: the results of a batch of columns. The reply is parsed at once, the result of a single spend only on
access.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast, overload

from engine.client.batches import Piece, in_order, in_places, note_replicas
from engine.errors import BudgetError
from engine.live.replies import COUNTED_WORDS, NOT_READY, REFUSED, ChargeReply, SpendResult
from engine.live.transport.pool import Call, Reply


class Outcomes(Sequence[SpendResult]):
    """The results of `record_spend_columns` and `try_spend_columns`, in the order of the columns.

    `outcomes[i]` is the `SpendResult` that `record_spends` would give, with figures after the whole batch. `counts`
    has the number of spends by outcome; `refused`, `not_ready` and `indices(outcome)` have their indices, without an
    object a spend. True when every spend is counted (`recorded`, `accepted`, `duplicate`), and so for empty columns.
    """

    __slots__ = ("_calls", "_parts", "_results", "_size")

    def __init__(
        self, parts: Sequence[tuple[Piece, ChargeReply]], size: int, calls: Sequence[Call] | None = None
    ) -> None:
        """calls: where the client waited for replicas."""
        self._parts = parts
        self._calls = calls
        self._size = size
        self._results: Sequence[SpendResult] | None = None

    @property
    def counts(self) -> dict[str, int]:
        """How many spends had each outcome, as in `{"recorded": 998, "duplicate": 2}`, without outcomes that none
        had.
        """
        counts: dict[str, int] = {}
        for _, reply in self._parts:
            for run in reply.runs:
                counts[run.outcome] = counts.get(run.outcome, 0) + run.spends
        return counts

    @property
    def refused(self) -> list[int]:
        """The indices of the refused spends in the columns."""
        return self.indices(REFUSED)

    @property
    def not_ready(self) -> list[int]:
        """The indices of the spends that Redis could not take now: repeat them in a moment."""
        return self.indices(NOT_READY)

    def indices(self, outcome: str) -> list[int]:
        """The indices of the spends with an outcome, ascending."""
        found: list[int] = []
        for piece, reply in self._parts:
            at = 0
            for run in reply.runs:
                if run.outcome == outcome:
                    found += piece.places[at : at + run.spends]
                at += run.spends
        return sorted(found)

    @property
    def replicated(self) -> bool | None:
        """Whether enough replicas confirmed every call of the batch in time; None where the client did not ask.
        `outcomes[i].replicated` is of one spend.
        """
        return None if self._calls is None else all(call.replicated for call in self._calls)

    def __bool__(self) -> bool:
        return all(run.outcome in COUNTED_WORDS for _, reply in self._parts for run in reply.runs)

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, index: int) -> SpendResult: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[SpendResult]: ...

    def __getitem__(self, index: int | slice) -> SpendResult | Sequence[SpendResult]:
        return self._all()[index]

    def __iter__(self) -> Iterator[SpendResult]:
        return iter(self._all())

    def __repr__(self) -> str:
        return f"Outcomes({self.counts})"

    def _all(self) -> Sequence[SpendResult]:
        if self._results is None:
            pieces = [piece for piece, _ in self._parts]
            results = in_places(pieces, [reply.results() for _, reply in self._parts], self._size)
            if self._calls is not None:
                note_replicas(results, pieces, self._calls)
            self._results = cast("list[SpendResult]", results)  # each piece has its reply
        return self._results


def outcomes_of(
    pieces: Sequence[Piece],
    replies: Sequence[Reply],
    counted_word: str,
    size: int,
    request: str,
    calls: Sequence[Call] | None = None,
) -> Outcomes:
    """The results of all pieces. calls: as of `Outcomes`. Raises as `in_order`."""
    try:
        read = [
            ChargeReply(reply, piece.campaign_ids, counted_word, piece.campaigns)
            for piece, reply in zip(pieces, replies, strict=True)
        ]
    except BudgetError:
        raise
    except Exception:
        # It raises the error with the results that can be read.
        in_order(pieces, replies, counted_word, size, request)
        raise
    return Outcomes(list(zip(pieces, read, strict=True)), size, calls)
