"""What the twin answers: the words and figures that bidders get, with money in micros."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

RECORDED: Final = "recorded"
ACCEPTED: Final = "accepted"
REFUSED: Final = "refused"
DUPLICATE: Final = "duplicate"
CONFLICT: Final = "conflict"
UNKNOWN_CAMPAIGN: Final = "unknown_campaign"
NOT_READY: Final = "not_ready"
SETTLED: Final = "settled"
RELEASED: Final = "released"
EXPIRED: Final = "expired"
UNKNOWN_HOLD: Final = "unknown_hold"
REFUNDED: Final = "refunded"
PENDING: Final = "pending"
UNKNOWN_EVENT: Final = "unknown_event"
LATE: Final = "late"
OVER: Final = "over"


class Figures(NamedTuple):
    """A brand after a call: what is spent of its open day and month, and the limits (None = none)."""

    daily_spend: int
    monthly_spend: int
    daily_limit: int | None
    monthly_limit: int | None


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. reasons: why the campaign is not running after the call, or why it was refused. mark: `late` or `over`, of a settle.
    detail: of `not_ready`, what is waited for. retry_ms: of a refusal that time alone ends, when. pass_ppm: the campaign's pass rate."""

    outcome: str
    reasons: tuple[str, ...] = ()
    figures: Figures | None = None
    mark: str = ""
    detail: str = ""
    retry_ms: int | None = None
    pass_ppm: int = 1_000_000
