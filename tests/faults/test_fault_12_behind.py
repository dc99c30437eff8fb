"""Fault 12: a replica that is behind is promoted. `make failover` is the long form."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.behind import Size, Stage, fail_over, staged
from tests.faults.figures import Figures, tell
from tests.patience import in_time
from tests.processes.conftest import own_servers, verified

ANSWERS_S = 10.0
LAG_S = 2.0


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    for own in own_servers(tmp_path):
        with staged(own) as made:
            yield made


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_every_shard_answers_within_ten_seconds_of_a_failover_to_a_replica_that_is_behind(
    stage: Stage, request: pytest.FixtureRequest
) -> None:
    size = Size()
    seen = fail_over(stage, size, 600)
    longest = max(seen.out_s.values())
    more = (
        f"{size.entries:,} entries kept, {size.busy:,} rows a busy brand, replica {size.behind_s:g} s behind:"
        f" {len(seen.out_s)} shards out of use, {longest:.1f} s at most; persist of the others {seen.lag_s:.2f} s behind at most"
    )
    print(more, seen.detail)
    assert verified(stage.system) == []
    tell(
        request.node, Figures(acknowledged=seen.acknowledged, faults=1, lost=seen.lost, doubled=seen.doubled, more=more)
    )
    assert in_time(longest, ANSWERS_S)
    assert in_time(seen.lag_s, LAG_S)
