"""SPEND_LOG=packed: the same journal gives the same spends, sums, reports, audits and memories as rows do, and over a change of the setting."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from sqlalchemy import text

from engine.client.batches import PACKED_FROM
from engine.client.sync import Spend
from engine.domain.ids import shard_of
from engine.domain.periods import at_ms, ms_of
from engine.domain.zone_text import Zone
from engine.flows.persist.gather import Gathered, gather
from engine.flows.persist.packing import Singles, packs_of, single_rows
from engine.flows.persist.persister import HistoryLost, Persister, in_sequence
from engine.flows.persist.posting import Item, spend_rows
from engine.flows.persist.reading import Read
from engine.flows.rebuild.memories import read_memories
from engine.ledger import (
    audit,
    audit_plan,
    day_rows,
    history,
    known_rows,
    log_rows,
    migrate,
    refund_bounds,
    reports,
    retention,
    spend_read,
)
from engine.live.keys import shard_keys
from engine.wiring import System
from tests.flows.test_leases import draw, set_lease
from tests.flows.test_persist import brand_with_campaigns, rows
from tests.flows.test_verify import failed

SPENDS: Final = "SELECT * FROM spend ORDER BY shard, generation, n, position"
_TABLES: Final = (
    "campaign_day",
    "campaign_hour",
    "brand_minute",
    "mixed_request",
    "hold",
    "refund",
    "counter_correction",
)
_WRONG: Final = (
    # Each is an entry that no script writes: too large an amount, another shard's campaign, no campaign, no id.
    "65537,9999999999999,,;",
    "131073,5,,;",
    "65536,5,,;",
    "65537,5,a b,;",
    "65537,0,,;",
)


def persister(system: System, *, packed: bool) -> Persister:
    return Persister(system.db, system.live, system.journal, system.instance, packed)


def persisted_again(system: System, *, packed: bool, first: int = 0) -> None:
    """Empties the log and persists the whole journal anew; the first entries of each shard in the other form."""
    with system.db.begin() as conn:
        conn.execute(text(f"TRUNCATE spend_log, spend_pack, quarantine, {', '.join(_TABLES)}"))
        conn.execute(text("UPDATE journal_cursor SET n = 0, generation = 0, entry_id = '0-0'"))
    for shard in range(64) if first else ():
        persister(system, packed=not packed).step([shard], batch=first)
    persister(system, packed=packed).drain_all()


def story(system: System) -> tuple[int, list[int]]:
    """Calls of every kind on two shards, and entries that no script writes."""
    brand, campaigns = brand_with_campaigns(system, 3, daily=10**12)
    _, (other,) = brand_with_campaigns(system, 1, name="Bolt")
    client, occurred = system.client, datetime(2026, 11, 20, 8, 30, 0, 123_000, tzinfo=UTC)
    amounts = [1, 255, 65_536, 4_294_967_295, 4_294_967_296, 10**12]
    for events in (None, "win"):
        for size in (PACKED_FROM, 200):
            client.record_spends(
                [
                    Spend(
                        [*campaigns, other][i % 4],
                        None,
                        events and f"{events}:{size}.{i}",
                        amounts[i % (3 if size == 200 else 6)],
                    )
                    for i in range(size)
                ]
            )
    for i in range(40):
        client.record_spend(
            campaigns[i % 3],
            amount_micros=1 + i,
            event_id=f"single-{i}" if i % 3 else None,
            occurred_at=occurred if i % 4 else None,
        )
        client.record_spend(other, amount_micros=10**12 - i)
    client.record_spends(
        [
            Spend(campaigns[0], "2", "few-1"),
            Spend(campaigns[1], "0.000001", occurred_at=occurred),
            Spend(campaigns[0], "3"),
        ]
    )
    client.record_spends([Spend(campaigns[0], "2", "few-1"), Spend(campaigns[0], "7", "few-2")])
    set_lease(system, campaigns[2], 30_000_000)
    draw(system, campaigns[2], 1, [1_000_000, 2_000_000])
    client.settle(client.reserve(campaigns[1], "4", 600).hold_id, "2.5")
    client.refund(campaigns[0], "1", "few-1", refund_id="part")
    client.try_spends([Spend(campaigns[0], None, None, 10**12) for _ in range(PACKED_FROM)])
    return brand, campaigns


def seen(system: System, brand: int, campaigns: list[int]) -> dict[str, Any]:
    """What every reader of the log says."""
    shard, now = shard_of(brand), at_ms(system.live.now_ms())
    today, since, until = now.date(), now - timedelta(hours=1), now + timedelta(hours=1)
    month, days = today.replace(day=1), [today - timedelta(days=1), today]
    out: dict[str, Any] = {"rows": rows(system, SPENDS)}
    for table in _TABLES:
        out[table] = sorted(map(repr, rows(system, f"SELECT * FROM {table}")))
    for whose in ({}, {"brand_id": brand}, {"campaign_id": campaigns[0]}):
        # Of two spends of one instant either may come first.
        out[f"latest {whose}"] = sorted(map(repr, reports.latest_spends(system.db, 1000, today=today, **whose)))
        out[f"last {whose}"] = [
            [line.recorded_at for line in reports.latest_spends(system.db, most, today=today, **whose)]
            for most in (1, 7, 60)
        ]
    events = ["win:8.1", "single-4", "few-1"]
    with system.db.begin() as conn:
        csv = io.BytesIO()
        day_rows.copy_day(conn, today, csv)
        out["export"] = csv.getvalue()
        out["export sums"] = day_rows.sums(conn, today)
        out["counted"] = known_rows.counted_rows(conn, shard, [brand], days, since, until)
        out["recent"] = list(spend_read.recent_spends(conn, shard, since, now - timedelta(minutes=10)))
        out["last instant"] = [spend_read.last_recorded_ms(conn, s) for s in range(64)]
        up_to = {brand: 50, brand + 1: 30}
        out["totals"] = sorted(map(repr, spend_read.open_totals(conn, "brand_id", up_to, list(up_to), month, today)))
        out["bounds"] = refund_bounds.bounds_of(conn, brand, today, events)
        out["tries"] = audit_plan.recent_rows(conn, brand, since, 500)
        instants = [row.recorded_at for row in out["recent"]]
        out["until"] = history.spent_until(conn, [(brand, at, Zone()) for at in instants[::40]])
        out["again"] = audit.events_again(conn, today)
        for at in (instants[0], instants[len(instants) // 2], instants[-20], instants[-3]):
            for query in ("spends_since(:at)", "spends_of(:brand, :first, :at)", "spends_of(:brand, :at, 'infinity')"):
                found = conn.execute(
                    text(SPENDS.replace("FROM spend ", f"FROM {query} ")),
                    {"at": at, "brand": brand, "first": instants[0]},
                )
                out[f"{query} {at}"] = found.all()
    out["memories"] = read_memories(system.db, shard, [brand], system.windows, system.live.now_ms())
    return out


def test_every_reader_says_the_same_of_rows_of_packed_rows_and_of_a_day_with_both(ready: System) -> None:
    brand, campaigns = story(ready)
    persisted_again(ready, packed=False)
    wanted = seen(ready, brand, campaigns)
    assert len(wanted["rows"]) == sum(drained for (drained,) in rows(ready, "SELECT count(*) FROM spend_log"))
    assert failed(ready) == {}
    for packed, first in ((True, 0), (True, 30), (False, 30)):
        persisted_again(ready, packed=packed, first=first)
        found = seen(ready, brand, campaigns)
        for reader, answer in wanted.items():
            assert found[reader] == answer, f"{reader}, packed {packed}, the first {first} otherwise"
        assert failed(ready) == {}
        forms = rows(
            ready,
            "SELECT (SELECT count(*) FROM spend_pack WHERE singles IS NULL), (SELECT count(*) FROM spend_pack WHERE log IS NULL)",
        )
        assert all(forms[0]), "packed calls and single spends have packed rows"
    persisted_again(ready, packed=True)
    with ready.db.connect() as conn:
        assert {spend.kind for spend in spend_read.recent_spends(conn, shard_of(brand), at_ms(0), at_ms(0))} == {
            "spend",
            "late",
            "refund",
        }


def test_what_no_script_writes_is_set_aside_in_both_forms_and_the_rest_is_counted(ready: System) -> None:
    brand, (campaign,) = brand_with_campaigns(ready)
    ready.client.record_spend(campaign, "1")
    keys = shard_keys(shard_of(brand))
    for wrong in _WRONG:
        n = ready.hot_redis.hincrby(keys.shard, "n", 1)
        ready.hot_redis.xadd(keys.journal, {"f": "1", "n": n, "r": "wrong", "b": wrong})
        ready.client.record_spend(campaign, "1")
    found = []
    for packed in (False, True):
        persisted_again(ready, packed=packed)
        found.append((rows(ready, SPENDS), rows(ready, "SELECT n, fields FROM quarantine ORDER BY n")))
        assert len(found[0][0]) == 1 + len(_WRONG)
        assert len(found[0][1]) == len(_WRONG)
    assert found[0] == found[1]


def test_packed_rows_that_postgresql_refuses_become_rows_and_a_lost_partition_is_made_anew(ready: System) -> None:
    _, (campaign,) = brand_with_campaigns(ready)
    packed = persister(ready, packed=True)

    def spend() -> None:
        ready.client.record_spends([Spend(campaign, None, None, 7) for _ in range(PACKED_FROM)])
        ready.client.record_spend(campaign, "1")
        assert packed.drain_all().rows == PACKED_FROM + 1

    spend()
    with ready.db.begin() as conn:
        (name,) = conn.execute(
            text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'spend_pack'::regclass")
        ).scalars()
        conn.execute(text(f"DELETE FROM {name}"))
        conn.execute(text("DELETE FROM campaign_day"))
        conn.execute(text("DELETE FROM campaign_hour"))
        conn.execute(text(f"DROP TABLE {name}"))
    spend()
    with ready.db.begin() as conn:
        conn.execute(text("ALTER TABLE spend_pack ADD CONSTRAINT none CHECK (spends < 0) NOT VALID"))
    spend()
    each = PACKED_FROM + 1
    assert rows(ready, "SELECT count(*), sum(amount_micros) FROM spend") == [
        (2 * each, 2 * (PACKED_FROM * 7 + 1_000_000))
    ]
    assert rows(ready, "SELECT sum(spends), sum(spend_micros) FROM campaign_day") == rows(
        ready, "SELECT count(*), sum(amount_micros) FROM spend"
    )
    assert rows(ready, "SELECT count(*) FROM quarantine") == [(0,)]


def test_a_release_without_packed_rows_gets_them_as_rows(ready: System) -> None:
    story(ready)
    persisted_again(ready, packed=True)
    before = rows(ready, SPENDS)
    migrate.downgrade(ready.db, "0009")
    assert rows(ready, SPENDS.replace("FROM spend ", "FROM spend_log ")) == before
    migrate.upgrade(ready.db)
    assert rows(ready, SPENDS) == before


def test_a_day_of_both_forms_is_dropped_whole_with_its_sums(ready: System) -> None:
    brand, _ = story(ready)
    persisted_again(ready, packed=True, first=20)
    sums = rows(
        ready,
        "SELECT brand_id, day, count(*), sum(amount_micros)::bigint, max(recorded_at) FROM spend GROUP BY 1, 2 ORDER BY 1",
    )
    (day,) = {row[1] for row in sums}
    with ready.db.begin() as conn:
        assert retention.drop_day(conn, day, day) is None, "its rows are too young"
        assert retention.drop_day(conn, day, day + timedelta(days=1)) == sum(row[2] for row in sums)
    assert (
        rows(ready, "SELECT brand_id, day, rows, spend_micros + correction_micros, last_at FROM dropped_day ORDER BY 1")
        == sums
    )
    assert rows(
        ready, "SELECT count(*) FROM pg_inherits WHERE inhparent IN ('spend_log'::regclass, 'spend_pack'::regclass)"
    ) == [(0,)]
    with ready.db.connect() as conn:
        assert retention.logged_days(conn) == []
        assert spend_read.last_recorded_ms(conn, shard_of(brand)) == max(
            ms_of(row[4]) for row in sums if row[0] == brand
        )


HOUR: Final = 1_763_629_200_000
"""Epoch ms at which an hour of a day begins."""


def single(ms: int, n: int, body: str = "65537,5,,;") -> tuple[bytes, dict[bytes, bytes]]:
    """An entry of shard 1 as the stream has it."""
    return b"%d-0" % ms, {b"f": b"1", b"n": b"%d" % n, b"r": b"call-%d" % n, b"b": body.encode()}


def test_only_entries_in_sequence_of_one_hour_are_gathered() -> None:
    mark = (b"%d-1" % (HOUR + 3), {b"f": b"1", b"n": b"5", b"g": b"2"})
    found = gather(
        1, [single(HOUR - 2, 2), single(HOUR - 1, 3), single(HOUR, 4), mark, single(HOUR + 4, 6), single(HOUR + 5, 8)]
    )
    assert [(item.n, item.last_n, item.size) for item in found] == [
        (2, 3, 2),
        (4, 4, 1),
        (5, 5, 1),
        (6, 6, 1),
        (8, 8, 1),
    ]
    assert [item.last_id for item in found][:2] == [f"{HOUR - 1}-0", f"{HOUR}-0"]
    with pytest.raises(HistoryLost, match="after n 6 the journal goes on with n 8"):
        in_sequence(found, 1, 1, 1)
    assert in_sequence(found[:4], 1, 1, 1) == (6, 2)


@pytest.mark.parametrize(
    "body",
    [
        "131073,5,,;",
        "65536,5,,;",
        "65537,0,,;",
        "65537,1000000000001,,;",
        "65537,5,,-7;",
        "65537,5,,",
        "65537,5,a b,;",
        "65537,5,,;131073,5,,;",
        "65537,5,,;" * 1001,
    ],
    ids=[
        "another shard",
        "no campaign",
        "nothing",
        "too much",
        "before 1970",
        "cut",
        "no id",
        "the second",
        "too many",
    ],
)
def test_an_entry_that_is_not_plain_is_read_by_itself(body: str) -> None:
    found = gather(1, [single(HOUR, 2), single(HOUR, 3, body), single(HOUR, 4)])
    assert len(found) == 3
    plain, odd, again = found
    assert isinstance(plain, Gathered) and isinstance(again, Gathered)
    assert isinstance(odd, Read)
    assert (plain.sums, again.sums) == ({b"65537": [5, 1]}, {b"65537": [5, 1]})


def test_a_row_has_a_thousand_single_spends_at_most() -> None:
    found = [item for item in gather(1, [single(HOUR + n, n) for n in range(1, 2501)]) if isinstance(item, Gathered)]
    assert [item.spends for item in found] == [1000, 1000, 500]
    rows_of = list(packs_of([Singles(1, 1, item) for item in (found[2], *found[:2])]))
    assert [row.spends for row in rows_of] == [500, 1000, 1000]


def test_rows_of_gathered_spends_are_byte_for_byte_those_of_each_entry_read_by_itself() -> None:
    bodies = (
        "65537,5,,;",
        "4259841,1000000000000,evt/1~=@,1790000000123;",
        "65537,1,,0;65538,2,b,;65537,3,,99999999999999;",
        f"65537,7,{'e' * 64},;" * 900,
    )
    (found,) = gather(1, [single(HOUR + n, n, bodies[n % 4]) for n in range(1, 5)])
    assert isinstance(found, Gathered)
    assert found.spends == 905
    alone = [Item(1, 3, item.entry) for item in found.reads()]
    expected = b"".join(log_rows.rows_of(row for item in alone for row in spend_rows(item)))
    assert b"".join(single_rows([Singles(1, 3, found)])) == expected
    with pytest.raises(log_rows.RowsRefused, match="does not fit into its column of spend_log"):
        list(single_rows([Singles(1 << 15, 3, found)]))
