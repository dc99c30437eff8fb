"""A test begins with enough of its day left, or in the next day."""

from __future__ import annotations

import pytest

from tests import midnight

MIDNIGHT_S = 20_786 * 86_400


@pytest.mark.parametrize(("left_s", "waits"), [(86_399, False), (20, False), (19, True), (0.001, True)])
def test_in_the_last_seconds_of_a_day_a_test_waits_for_the_next(
    left_s: float, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [MIDNIGHT_S - left_s]
    monkeypatch.setattr(midnight.time, "time", lambda: now[0])
    monkeypatch.setattr(midnight.time, "sleep", lambda seconds: now.append(now.pop() + seconds))
    assert (midnight.wait_over(20) > 0) is waits
    assert (now[0] > MIDNIGHT_S) is waits
