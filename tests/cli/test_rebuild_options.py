"""What only a person may decide about a shard is asked for by the shard's number."""

from __future__ import annotations

import pytest

from engine.wiring import System
from tests.cli.conftest import Be


@pytest.mark.parametrize("option", ["--take-over", "--accept-clock"])
def test_no_shard_is_taken_over_and_no_clock_accepted_unless_the_shard_is_named(
    be: Be, ready: System, option: str
) -> None:
    done = be("rebuild", option)
    assert done.status == 2
    assert "name each shard" in done.complaint
