"""Which persist workers are there, and which shards are whose."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, text

from engine.domain.ids import SHARDS
from engine.flows.persist.shares import ALL, Shares, share_of
from engine.ledger import persist_workers


@pytest.mark.parametrize("count", [1, 2, 3, 5, 64, 100])
def test_workers_have_even_shares_that_are_all_shards_together_and_one_of_them_is_the_first(count: int) -> None:
    names = [f"w{i}" for i in range(count)]
    shares = [share_of(name, names) for name in names]
    assert [shard for share in shares for shard in share.shards] == list(range(SHARDS))
    sizes = {len(share.shards) for share in shares}
    assert max(sizes) - min(sizes) <= 1
    assert [share.first for share in shares] == [True] + [False] * (count - 1)


def test_a_worker_alone_has_everything_and_shares_with_those_that_come_until_they_end_or_are_silent(
    engine: Engine,
) -> None:
    now = [100.0]
    one, two, three = (Shares(engine, name, lambda: now[0]) for name in ("one", "two", "three"))

    def a_second_later() -> None:
        now[0] += 1

    assert (one.renew(), one.mine) == (False, ALL)
    assert two.renew() and three.renew()
    assert (one.renew(), one.mine) == (False, ALL), "it looks once a second"
    a_second_later()
    assert one.renew() and two.renew()
    assert [(share.mine.shards, share.mine.first) for share in (one, two, three)] == [
        (range(21), True), (range(21, 42), False), (range(42, 64), False),
    ]  # fmt: skip
    two.leave()
    a_second_later()
    assert one.renew() and three.renew()
    assert (one.mine.shards, three.mine.shards) == (range(32), range(32, 64))
    with engine.begin() as conn:
        conn.execute(text("UPDATE persist_worker SET seen_at = seen_at - make_interval(secs => 7) WHERE name = 'one'"))
    a_second_later()
    assert (three.renew(), three.mine) == (True, ALL)
    # It was only slow: it comes last now, and does not take the duties back.
    assert (one.renew(), one.mine.first) == (True, False)
    with engine.connect() as conn:
        assert persist_workers.there(conn) == ["three", "one"]
