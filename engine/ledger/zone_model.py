"""The columns of a brand's time zone."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.orm import Mapped, mapped_column

ZONE = r"zone ~ '^(-?[0-9]{1,8}(,[0-9]{1,13},-?[0-9]{1,8}){0,2})?$'"
"""The text of a plan (`engine/domain/zone_text.py`)."""

_APART = "abs(day - ({} AT TIME ZONE 'UTC')::date)"
RECORDED = f"{_APART.format('recorded_at')} <= 1"
"""A brand's day is that of its time zone, which is the day of UTC or the one before or after it."""
RECORDED_LATE = (
    f"occurred_at IS NOT NULL AND {_APART.format('recorded_at')} = 2 AND {_APART.format('occurred_at')} <= 1"
)
"""A late spend may count to the day before."""


class Zoned:
    """A brand's time zone. time_zone: the name that was chosen last, none is UTC. zone_steps: all names, each with its beginning in ms. zone: what stands in the
    plan.
    """

    time_zone: Mapped[str | None]
    zone_steps: Mapped[list[str]] = mapped_column(server_default=text("'{}'::text[]"))
    zone: Mapped[str] = mapped_column(server_default=text("''"))
