"""The log: what is copied in comes out to the micro, breaks no law of the table, and commits with its sums or not at all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta

import pytest
from psycopg2.errors import QueryCanceled
from sqlalchemy import Engine, text

from engine.domain.periods import ms_of
from engine.ledger import log_rows, spend_log, spend_read
from engine.ledger.cursors import advance_cursor, lock_cursor
from engine.ledger.known_rows import Alike, Given
from engine.ledger.log_rows import CallRow, RowsRefused, SpendRow
from tests.ledger.spends import NOON, TODAY, ago, row, write

CAMPAIGN = 7 * 65536 + 1
OTHER = 7 * 65536 + 2
FAR = 8 * 65536 + 1


def read(engine: Engine) -> list[SpendRow]:
    with engine.connect() as connection:
        found = connection.execute(
            text(f"SELECT {', '.join(SpendRow._fields)} FROM spend_log ORDER BY generation, n, position")
        )
        return [SpendRow(*r) for r in found]


def test_every_spend_comes_out_of_the_log_as_it_went_in(engine: Engine) -> None:
    at = datetime(2026, 11, 23, 23, 59, 59, 999000, tzinfo=UTC)
    rows = [
        row(CAMPAIGN, 1, 1, at=at, event_id="a" * 32),
        row(CAMPAIGN, 10**12, 1, 1, at=at, occurred_at=datetime(1969, 7, 20, 20, 17, tzinfo=UTC)),
        row(OTHER, 12_500_000, 2, at=at + timedelta(milliseconds=1), request_id="r2/17/0"),
        row(FAR, -3, 3, kind="correction", day=date(2026, 11, 1)),
    ]
    write(engine, rows)
    assert read(engine) == rows


@pytest.mark.parametrize("written", [r"\N", r"a\tb", "a\tb", "a\nb\rc", r"\.", "", "é中", "'\";--", r"x\\"])
def test_no_text_can_break_out_of_its_column(engine: Engine, written: str) -> None:
    rows = [row(CAMPAIGN, event_id=written, request_id=written or "r"), row(CAMPAIGN, n=2)]
    write(engine, rows)
    assert read(engine) == rows


@pytest.mark.parametrize(
    "bad",
    [
        row(CAMPAIGN, 0),
        row(CAMPAIGN, -1),
        row(CAMPAIGN, 10**12 + 1),
        row(CAMPAIGN)._replace(brand_id=8, shard=8),
        row(CAMPAIGN)._replace(shard=8),
        row(CAMPAIGN, kind="gift"),
        row(CAMPAIGN, day=TODAY - timedelta(days=2)),
        row(CAMPAIGN, day=TODAY - timedelta(days=3))._replace(occurred_at=datetime.combine(TODAY, time(), UTC)),
        row(CAMPAIGN, request_id="a\0b"),
        row(CAMPAIGN, 2**63),
        row(CAMPAIGN, 2**64),
        row(CAMPAIGN, generation=2**31),
        row(CAMPAIGN)._replace(shard=2**15),
        row(CAMPAIGN, position=2**31),
        row(CAMPAIGN, position=2**32),
    ],
)
def test_a_row_that_breaks_a_law_takes_its_whole_transaction_with_it(engine: Engine, bad: SpendRow) -> None:
    with pytest.raises(RowsRefused):
        write(engine, [row(CAMPAIGN, n=5), bad])
    assert read(engine) == []


@pytest.mark.parametrize("events", [None, ["e1", "e2" * 16, "é"]], ids=["without events", "with events"])
def test_a_packed_call_is_written_as_its_spends_one_by_one_would_be(engine: Engine, events: list[str] | None) -> None:
    micros = [1, 10**12, 250_000]
    spends = zip((CAMPAIGN, OTHER, CAMPAIGN), micros, events or [None] * 3, strict=True)
    singly = [row(c, amount, 4, i, event_id=event, request_id="r9") for i, (c, amount, event) in enumerate(spends)]
    with engine.begin() as connection:
        spend_log.ensure_partition(connection, TODAY)
        call = CallRow(recorded_at=NOON, day=TODAY, request_id="r9", shard=7, generation=1, n=4)
        packed = log_rows.packed_rows(call, [CAMPAIGN, OTHER], bytes((0, 1, 0)), micros, events)
        assert spend_log.copy_rows(connection, [packed]) == 3
    assert read(engine) == singly


def test_rows_that_fail_while_postgresql_already_writes_leave_no_row(engine: Engine) -> None:
    write(engine, [row(CAMPAIGN)])

    def rows() -> Iterator[bytes]:
        for n in range(2, 20_000):
            yield from log_rows.rows_of([row(CAMPAIGN, n=n)])
        raise ZeroDivisionError

    with pytest.raises(QueryCanceled, match="ZeroDivisionError"), engine.begin() as connection:
        spend_log.copy_rows(connection, rows())
    assert [r.n for r in read(engine)] == [1]
    write(engine, [row(CAMPAIGN, n=2)])


def test_a_copy_of_several_pieces_says_how_many_rows_it_wrote(engine: Engine) -> None:
    write(engine, [row(CAMPAIGN)])
    with engine.begin() as connection:
        written = spend_log.copy_rows(connection, log_rows.rows_of(row(CAMPAIGN, n=n) for n in range(2, 5_001)))
    assert (written, len(read(engine))) == (4_999, 5_000)


def test_a_spend_of_a_day_without_partition_is_refused_not_lost(engine: Engine) -> None:
    with pytest.raises(RowsRefused, match="no partition"), engine.begin() as connection:
        spend_log.copy_rows(connection, list(log_rows.rows_of([row(CAMPAIGN)])))


def test_a_spend_belongs_to_the_utc_day_wherever_the_server_stands(engine: Engine) -> None:
    write(engine, [row(CAMPAIGN, at=datetime(2026, 12, 31, 23, 59, 59, 999000, tzinfo=UTC))])
    write(engine, [row(CAMPAIGN, n=2, at=datetime(2027, 1, 1, tzinfo=UTC))])
    assert [r.day for r in read(engine)] == [date(2026, 12, 31), date(2027, 1, 1)]


def test_processes_that_race_for_a_new_day_make_its_partition_once(engine: Engine) -> None:
    barrier = threading.Barrier(6)

    def spend(n: int) -> None:
        with engine.begin() as connection:
            connection.execute(text("SELECT 1"))
            barrier.wait()
            spend_log.ensure_partition(connection, TODAY)
            spend_log.copy_rows(connection, list(log_rows.rows_of([row(CAMPAIGN, n=n)])))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(spend, range(6)))
    assert [r.n for r in read(engine)] == list(range(6))


def test_a_new_day_is_made_while_another_writer_holds_the_old_one(engine: Engine) -> None:
    write(engine, [row(CAMPAIGN)])
    with engine.begin() as writing:
        spend_log.copy_rows(writing, list(log_rows.rows_of([row(CAMPAIGN, n=2)])))
        write(engine, [row(CAMPAIGN, n=3, at=NOON + timedelta(days=1))])
    assert [r.n for r in read(engine)] == [1, 2, 3]


def test_a_partition_has_the_laws_and_indexes_of_the_table(engine: Engine) -> None:
    write(engine, [row(CAMPAIGN)])
    with engine.connect() as connection:
        for table, catalog, column in (("pg_index", "indexes", "indrelid"), ("pg_constraint", "laws", "conrelid")):
            counts = [
                connection.execute(
                    text(f"SELECT count(*) FROM {table} WHERE {column} = CAST(:name AS regclass)"), {"name": name}
                ).scalar_one()
                for name in ("spend_log", "spend_log_p20261123")
            ]
            assert counts[0] == counts[1] > 0, catalog


def test_nothing_is_copied_outside_a_transaction(engine: Engine) -> None:
    with engine.connect() as connection, pytest.raises(RuntimeError, match="open a transaction"):
        spend_log.copy_rows(connection, list(log_rows.rows_of([row(CAMPAIGN)])))


def test_daily_sums_add_up_over_transactions(engine: Engine) -> None:
    write(engine, [row(CAMPAIGN, 5, 1), row(CAMPAIGN, 6, 1, 1), row(OTHER, 7, 1, 2)])
    write(engine, [row(CAMPAIGN, 10, 2), row(FAR, 1, 2, at=ago(days=1))])
    with engine.begin() as connection:
        spend_log.add_sums(connection, {})
        assert spend_read.campaign_totals(connection, [7, 8], TODAY - timedelta(days=1), TODAY) == {
            (7, CAMPAIGN, TODAY): 21,
            (7, OTHER, TODAY): 7,
            (8, FAR, TODAY - timedelta(days=1)): 1,
        }
        month = TODAY.replace(day=1)
        by_campaign = spend_read.open_totals(connection, "campaign_id", {CAMPAIGN: 1, OTHER: 9}, [7], month, TODAY)
        assert sorted(by_campaign) == sorted([(7, CAMPAIGN, 11, 0, 11), (7, OTHER, 7, 0, 7)])
        yesterday = 1 if TODAY.day > 1 else 0
        assert spend_read.open_totals(connection, "brand_id", {7: 9, 8: 9}, [8], month, TODAY) == [
            (8, None, 0, 1, yesterday)
        ]


def test_a_period_is_the_sum_of_its_rows(engine: Engine) -> None:
    first, last = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 30, 23, 59, tzinfo=UTC)
    write(engine, [row(CAMPAIGN, 5, 1, at=first), row(OTHER, 6, 2, at=last), row(CAMPAIGN, 9, 3, at=ago(days=30))])
    write(engine, [row(FAR, 2, 4, at=last + timedelta(hours=1))])
    with engine.connect() as connection:
        assert spend_read.period_totals(connection, "month", date(2026, 11, 1), [7, 8]) == {7: 11}
        assert spend_read.period_totals(connection, "day", date(2026, 11, 30), [7, 8]) == {7: 6}
        assert spend_read.period_totals(connection, "day", date(2026, 12, 1), [7, 8]) == {8: 2}


def test_the_first_day_and_last_instant_of_a_shard_are_found(engine: Engine) -> None:
    with engine.begin() as connection:
        for brand_id in (7, 71, 8):
            connection.execute(
                text("INSERT INTO brand (id, name) OVERRIDING SYSTEM VALUE VALUES (:id, :name)"),
                {"id": brand_id, "name": f"b{brand_id}"},
            )
        assert spend_read.first_day(connection, 7) is None
        assert spend_read.last_recorded_ms(connection, 7) == 0
    write(engine, [row(CAMPAIGN, at=ago(days=2)), row(71 * 65536 + 1, n=2, at=ago(days=5)), row(FAR, at=NOON)])
    with engine.connect() as connection:
        assert spend_read.first_day(connection, 7) == TODAY - timedelta(days=5)
        assert spend_read.last_recorded_ms(connection, 7) == ms_of(ago(days=2))
        assert spend_read.last_recorded_ms(connection, 8) == ms_of(NOON)


def test_a_rebuild_reads_the_window_in_the_order_of_counting(engine: Engine) -> None:
    rows = [
        row(CAMPAIGN, 1, 9, 0, event_id="late", generation=1),
        row(CAMPAIGN, 2, 3, 1, event_id="b", generation=2),
        row(CAMPAIGN, 3, 3, 0, event_id="a", generation=2, occurred_at=NOON),
        row(CAMPAIGN, 4, 1, 0, at=ago(minutes=61), event_id="old"),
        row(FAR, 5, 1, 0, event_id="other shard"),
    ]
    write(engine, rows)
    with engine.begin() as connection:
        spend_log.add_mixed_requests(connection, [spend_log.RememberedRequest(7, 2, 4, "m1", "rabc", "k*1,x8*2", NOON)])
        spend_log.add_mixed_requests(
            connection, [spend_log.RememberedRequest(7, 1, 5, "m0", "rdef", "c*1", ago(minutes=5))]
        )
        spend_log.add_mixed_requests(connection, [spend_log.RememberedRequest(8, 1, 5, "m8", "rdef", "c*1", NOON)])
        found = list(spend_read.recent_spends(connection, 7, ago(hours=1), ago(hours=1)))
        assert [r.event_id for r in found] == ["late", "a", "b"]
        assert found[1].occurred_at == found[1].recorded_at == NOON
        mixed = list(spend_read.recent_mixed(connection, 7, ago(minutes=10)))
        assert [(m.request_id, m.digest, m.outcomes) for m in mixed] == [
            ("m0", "rdef", "c*1"),
            ("m1", "rabc", "k*1,x8*2"),
        ]
        assert spend_log.prune_mixed_requests(connection, ago(minutes=1)) == 1


def given(position: int, event_id: str | None = None, brand_id: int = 7, request_id: str = "r9") -> Given:
    return Given(brand_id, "spend", event_id, request_id, position, NOON.date(), None)


@pytest.mark.parametrize(
    ("spends", "logged"),
    [
        ([given(0, request_id="r1"), given(1, request_id="r1"), given(2, request_id="r1")], [True, True, False]),
        ([given(0, "e1"), given(1, "e2")], [True, False]),
        ([given(0, "e1", brand_id=8)], [False]),
        ([], []),
    ],
)
def test_a_salvaged_spend_is_known_by_its_call_and_place_or_by_its_event(
    engine: Engine, spends: list[Given], logged: list[bool]
) -> None:
    write(engine, [row(CAMPAIGN, event_id="e1"), row(OTHER, position=1)])
    with engine.connect() as connection:
        alike = Alike.read(connection, 7, ago(minutes=30), spends)
        assert [alike.has(spend) for spend in spends] == logged
        later = Alike.read(connection, 7, NOON + timedelta(seconds=1), spends)
        assert not any(later.has(spend) for spend in spends), "what was recorded before is not looked at"


def test_rows_and_cursor_commit_together_or_not_at_all(engine: Engine) -> None:
    write(engine, [row(CAMPAIGN)])

    def persist(*, killed: bool) -> None:
        with engine.begin() as connection:
            cursor = lock_cursor(connection, 7)
            assert cursor is not None
            spend_log.copy_rows(connection, list(log_rows.rows_of([row(CAMPAIGN, n=2)])))
            advance_cursor(connection, 7, cursor.n, cursor.n + 2, "5-0", 1)
            if killed:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        persist(killed=True)
    assert len(read(engine)) == 1
    persist(killed=False)
    assert len(read(engine)) == 2
