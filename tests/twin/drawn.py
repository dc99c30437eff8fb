"""What the machine draws from: few values, so that events, holds and days meet often."""

from __future__ import annotations

from collections import Counter
from typing import Final

from hypothesis import strategies as st

from engine.domain.budget import OwnLimits
from engine.domain.schedule import Schedule

SCHEDULES: Final = tuple(
    Schedule.parse(value)
    for value in (
        None,
        {"start_time": "09:00", "end_time": "17:00"},
        {"start_time": "22:00", "end_time": "06:00"},
        {"days": ["mon", "wed", "fri"]},
        {"days": ["sun"], "start_time": "23:30", "end_time": "00:30"},
        [{"days": ["sat"], "end_time": "24:00", "start_time": "12:00"}, {"start_time": "00:00", "end_time": "00:01"}],
    )
)
LIMITS: Final = st.sampled_from((None, 50, 200, 1000, 400, None, 20, 5, 0))
OWN_LIMITS: Final = st.sampled_from(
    (
        *(OwnLimits(),) * 2,
        *(OwnLimits(daily) for daily in (30, 10, 0)),
        *(OwnLimits(None, monthly) for monthly in (60, 12)),
        *(OwnLimits(None, None, lifetime) for lifetime in (100, 40, 15, 0)),
        OwnLimits(20, 60, 90),
        OwnLimits(9, None, 300),
    )
)
AMOUNTS: Final = st.sampled_from((1, 2, 3, 5, 10) * 5 + ("what fits", "one more", 10**12))
EVENTS: Final = st.sampled_from((None, None, None, "e1", "e2", "e3", "e4"))
REQUESTS: Final = st.sampled_from((None, None, "r1", "r2", "r3"))
HOLDS: Final = st.sampled_from(("h1", "h2", "h3", "h4"))
LEASES: Final = st.sampled_from(("lease-1", "lease-1", "lease-2"))
TTLS: Final = st.sampled_from((1, 500, 5_000, 60_000, 86_400_000))
OCCURRED: Final = st.sampled_from((None, None, 0, 1_900_000_000_123, "yesterday", "its begin", "the day before"))
GRACES: Final = st.sampled_from((60, 60, 360, 1, 0))
GIVEN: Final = st.lists(st.tuples(st.integers(0, 99), AMOUNTS, EVENTS, OCCURRED), min_size=1, max_size=5)
"""The spends of a call: of each the place of its campaign, its amount, event id, and when it occurred."""
STEPS: Final = Counter[str]()
"""How many steps the machines took, after each of which both sides were compared."""
