"""The short form of `make fuzz`."""

from __future__ import annotations

import pytest

from engine.wiring import System
from tests.fuzz.run import fuzz


def test_no_bytes_in_a_journal_entry_stop_persist_a_rebuild_or_verify(ready: System) -> None:
    try:
        seen = fuzz(ready, 4000, seed=15, checks=2)
    except Exception as error:  # any error would have stopped a job
        pytest.fail(f"stopped by {error!r}")
    assert (seen.entries, seen.checks) == (4000, 2)
    assert seen.read > 100, "too few entries still read to say anything"
    assert seen.set_aside > 100
