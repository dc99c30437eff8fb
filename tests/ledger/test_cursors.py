"""The cursor: one persister a shard, no step back, no step twice, and no trimming of what PostgreSQL might yet lose."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, text

from engine.ledger.cursors import (
    CursorMoved,
    CursorRow,
    advance_cursor,
    age_cursors,
    lock_cursor,
    read_cursors,
    restart_cursor,
    stop_cursor,
)


def cursor(engine: Engine, shard: int = 7) -> CursorRow:
    with engine.connect() as connection:
        return read_cursors(connection)[shard]


def advance(engine: Engine, from_n: int, to_n: int, entry_id: str = "9-0", generation: int = 1) -> None:
    with engine.begin() as connection:
        advance_cursor(connection, 7, from_n, to_n, entry_id, generation)


def pass_minutes(engine: Engine, minutes: int) -> None:
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE journal_cursor SET next_at = next_at - make_interval(mins => :m)"), {"m": minutes}
        )


def age(engine: Engine, keep_minutes: int = 10) -> str:
    with engine.begin() as connection:
        return age_cursors(connection, keep_minutes)[7]


def test_every_shard_begins_before_its_first_entry(engine: Engine) -> None:
    with engine.connect() as connection:
        cursors = read_cursors(connection)
    assert sorted(cursors) == list(range(64))
    assert {(c.entry_id, c.n, c.generation, c.safe_entry_id, c.stopped) for c in cursors.values()} == {
        ("0-0", 0, 0, "0-0", None)
    }


def test_a_second_persister_of_a_shard_steps_aside(engine: Engine) -> None:
    with engine.begin() as one, engine.begin() as two:
        assert lock_cursor(one, 7) is not None
        assert lock_cursor(two, 7) is None
        assert lock_cursor(two, 8) is not None


def test_a_step_already_taken_is_not_taken_again(engine: Engine) -> None:
    advance(engine, 0, 5, "100-0")
    with pytest.raises(CursorMoved, match="not at n 0 any more"):
        advance(engine, 0, 5, "100-0")
    advance(engine, 5, 6, "101-0", 2)
    after = cursor(engine)
    assert (after.n, after.entry_id, after.generation) == (6, "101-0", 2)


@pytest.mark.parametrize(("to_n", "generation"), [(5, 1), (4, 1), (6, 0)])
def test_the_cursor_only_goes_forward(engine: Engine, to_n: int, generation: int) -> None:
    advance(engine, 0, 5)
    with pytest.raises(CursorMoved):
        advance(engine, 5, to_n, "9-9", generation)
    assert cursor(engine).n == 5


def test_only_what_has_been_safe_for_ten_minutes_may_be_trimmed(engine: Engine) -> None:
    # The suite copies a database that may be older than ten minutes.
    with engine.begin() as connection:
        connection.execute(text("UPDATE journal_cursor SET next_at = now()"))
    advance(engine, 0, 5, "100-0")
    assert age(engine) == "0-0"
    pass_minutes(engine, 10)
    assert age(engine) == "0-0"
    advance(engine, 5, 6, "200-0")
    pass_minutes(engine, 5)
    assert age(engine) == "0-0"
    pass_minutes(engine, 5)
    assert age(engine) == "100-0"
    pass_minutes(engine, 10)
    assert age(engine) == "200-0"


def test_aging_waits_for_no_persister(engine: Engine) -> None:
    advance(engine, 0, 5, "100-0")
    pass_minutes(engine, 10)
    with engine.begin() as persisting:
        lock_cursor(persisting, 7)
        assert age(engine) == "0-0"
    assert cursor(engine).next_entry_id == "0-0"
    age(engine)
    assert cursor(engine).next_entry_id == "100-0"


def test_a_stop_keeps_its_first_reason_until_the_rebuild(engine: Engine) -> None:
    with engine.begin() as connection:
        stop_cursor(connection, 7, "gap after n 5")
        stop_cursor(connection, 7, "again")
    assert cursor(engine).stopped == "gap after n 5"
    with engine.begin() as connection:
        restart_cursor(connection, 7, 1, 5, "0-0")
    assert (cursor(engine).stopped, cursor(engine).n, cursor(engine).generation) == (None, 5, 1)


def test_a_new_journal_is_not_trimmed_by_the_old_ones_ids(engine: Engine) -> None:
    advance(engine, 0, 5, "100-0")
    for _ in range(2):
        pass_minutes(engine, 10)
        age(engine)
    assert cursor(engine).safe_entry_id == "100-0"
    with engine.begin() as connection:
        restart_cursor(connection, 7, 2, 5, "100-0")
    assert cursor(engine).safe_entry_id == "100-0"
    with engine.begin() as connection:
        restart_cursor(connection, 7, 3, 5, "0-0")
    assert (cursor(engine).safe_entry_id, cursor(engine).next_entry_id) == ("0-0", "0-0")


def test_of_two_rebuilds_the_second_is_told(engine: Engine) -> None:
    with engine.begin() as connection:
        restart_cursor(connection, 7, 1, 5, "0-0")
        for generation, n in ((1, 5), (2, 4)):
            with pytest.raises(CursorMoved, match="another rebuild was first"):
                restart_cursor(connection, 7, generation, n, "0-0")
