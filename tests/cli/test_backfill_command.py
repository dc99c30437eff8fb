"""Backfill adds spends of closed days to the ledger, once, a file at a time, and changes no closed total and no counter."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from engine.domain.periods import ms_of
from engine.wiring import System
from tests.cli.conftest import Be
from tests.cli.test_replay_command import HEADER, write
from tests.flows.test_persist import rows


def ago(days: int) -> date:
    """So many days before today, as the test finds it: it may be collected on the day before."""
    return datetime.now(UTC).date() - timedelta(days)


@pytest.fixture
def closed(be: Be, ready: System) -> System:
    """Brand Acme with a campaign, its days closed up to the day before yesterday, on one of which it spent 3.00."""
    be("brand", "create", "Acme")
    be("campaign", "create", "1", "c0")
    be("spend", "65537", "2", "--event-id", "live-1")
    be("persist")
    with ready.db.begin() as conn:
        conn.execute(
            text("INSERT INTO shard_close (shard, period, starts_on) VALUES (1, 'day', :day)"),
            {"day": ago(2)},
        )
        conn.execute(
            text("INSERT INTO period_total (brand_id, period, starts_on, spend_micros) VALUES (1, 'day', :day, 0)"),
            {"day": ago(3)},
        )
    return ready


def line(micros: object, event: str = "", day: date | None = None, brand: str = "Acme", campaign: str = "c0") -> str:
    return f"{day or ago(3)}T10:00:00Z,{event},{brand},{campaign},{micros}\n"


def test_a_file_is_written_once_beside_the_closed_total_and_shown_there(be: Be, closed: System, tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", [line(1_500_000, "e-1"), line(250_000), line(1_500_000, "e-1")])
    tried = be("spend", "import", "--backfill", file, "--dry-run", "--json")
    assert (tried.status, tried.err) == (0, "")
    expected = {"rows": 3, "backfilled": 2, "duplicate": 1, "failed": 0, "amount": "1.750000", "bad_lines": []}
    assert tried.document == {**expected, "written": False, "dry_run": True}
    assert rows(closed, "SELECT count(*) FROM backfill") == [(0,)]
    assert be("spend", "import", "--backfill", file, "--json").document == {
        **expected,
        "written": True,
        "dry_run": False,
    }
    written = "SELECT kind, campaign_id, day, sum(amount_micros)::bigint, count(*) FROM backfill GROUP BY 1, 2, 3"
    assert rows(closed, written) == [("backfill", 65537, ago(3), 1_750_000, 2)]
    again = be("spend", "import", "--backfill", file)
    assert (again.status, "a file with the same spends was written before" in again.out) == (0, True)
    # Under another name and with other spends beside: each event counts once.
    more = write(tmp_path / "b.csv", [line(1_500_000, "e-1"), line(7, "e-2", campaign="c0")])
    assert be("spend", "import", "--backfill", more, "--json").document["duplicate"] == 1
    (shown,) = [d for d in be("brand", "days", "1", "--json").document if d["day"] == str(ago(3))]
    assert (shown["spend"], shown["backfilled"], shown["backfilled_spends"]) == ("0.000000", "1.750007", 3)
    assert "backfilled" in be("brand", "days", "1").out and "1.750007 (3)" in be("brand", "days", "1").out
    assert rows(closed, "SELECT spend_micros FROM period_total WHERE starts_on = :day", day=ago(3)) == [(0,)]
    assert rows(closed, "SELECT spend_micros FROM campaign_day WHERE day = :day", day=ago(3)) == []
    assert be("brand", "show", "1", "--json").document["daily_spend"] == "2.000000"
    assert be("verify").status == 0


def test_each_bad_line_is_named_with_its_field_and_value_and_nothing_is_written(
    be: Be, closed: System, tmp_path: Path
) -> None:
    bad = [
        line(1, "ok-1"),
        line("1.5"),
        line(1, "a b"),
        f"noon,,Acme,c0,1\n{',,Acme,c0,1'}\n",
        line(1, brand="Nobody"),
        line(1, campaign="c9"),
        line(1, day=ago(0)),
        line(1, day=ago(1)),
    ]
    done = be("spend", "import", "--backfill", write(tmp_path / "a.csv", bad), "--json")
    assert done.status == 1
    assert [(b["line"], b["field"]) for b in done.document["bad_lines"]] == [
        (3, "amount_micros"), (4, "event_id"), (5, "at"), (6, "at"), (7, "brand"), (8, "campaign"), (9, "at"), (10, "at"),
    ]  # fmt: skip
    for said in (
        "'1.5'",
        "'a b'",
        "'noon'",
        'brand "Nobody"',
        'campaign "c9"',
        f"is of {ago(1)}, which is not closed",
    ):
        assert said in done.err, said
    # Event ids that are known with other content, in this file, an earlier one and the log.
    assert be("spend", "import", "--backfill", write(tmp_path / "b.csv", [line(5, "e-1")])).status == 0
    with closed.db.begin() as conn:
        moved = {"day": ago(2)}
        conn.execute(text("UPDATE shard_close SET starts_on = CAST(:day AS date) + 2 WHERE shard = 1"), moved)
    clash = [line(6, "e-1"), line(7, "e-2"), line(8, "e-2"), line(9, "live-1", day=ago(0))]
    done = be("spend", "import", "--backfill", write(tmp_path / "c.csv", clash), "--json")
    assert [b["error"] for b in done.document["bad_lines"]] == [
        "event_id e-1 was counted in an earlier file with another campaign or amount",
        "event_id e-2 was counted in line 3 with another campaign or amount",
        "event_id live-1 was counted by a bidder with another campaign or amount",
    ]
    assert rows(closed, "SELECT count(*)::int, (SELECT count(*) FROM backfill_file)::int FROM backfill") == [(1, 1)]
    same = write(tmp_path / "d.csv", [line(2_000_000, "live-1", day=ago(0))])
    assert be("spend", "import", "--backfill", same, "--json").document["duplicate"] == 1


def test_what_is_no_file_of_spends_is_refused_in_one_line(be: Be, closed: System, tmp_path: Path) -> None:
    for words, said in (
        (("spend", "import"), "--backfill"),
        (("spend", "import", "--backfill", str(tmp_path / "none.csv")), "cannot be read"),
        (("spend", "import", "--backfill", write(tmp_path / "x.csv", [], "at,brand\n")), "has no column"),
    ):
        done = be(*words)
        assert done.status != 0 and said in done.err and len(done.err.splitlines()) == 1, words
    empty = be("spend", "import", "--backfill", write(tmp_path / "e.csv", [], HEADER))
    assert (empty.status, empty.out.startswith("0 rows")) == (0, True)


ZONED = {"Berlin": "Europe/Berlin", "Kolkata": "Asia/Kolkata", "Utc": "UTC"}


def test_each_spend_of_a_file_is_booked_to_the_day_that_its_own_brand_had_also_where_that_has_23_or_25_hours(
    be: Be, ready: System, tmp_path: Path
) -> None:
    for number, (name, zone) in enumerate(ZONED.items(), 1):
        be("brand", "create", name, "--zone", zone)
        be("campaign", "create", str(number), "c0")
    with ready.db.begin() as conn:
        total = "INSERT INTO period_total (brand_id, period, starts_on, spend_micros) SELECT id, 'day', '2025-10-27', 0 FROM brand"
        conn.execute(text(total))
    instants = [
        "2025-03-29T22:59:59.999Z", "2025-03-29T23:00:00Z", "2025-03-30T21:59:59.999Z", "2025-03-30T22:00:00Z",
        "2025-10-25T21:59:59.999Z", "2025-10-25T22:00:00Z", "2025-10-26T22:59:59.999Z", "2025-10-26T23:00:00Z",
        "2025-06-01T18:29:59.999Z", "2025-06-01T18:30:00Z",
    ]  # fmt: skip
    lines = [f"{at},,{name},c0,{10**place}\n" for place, at in enumerate(instants) for name in ZONED]
    done = be("spend", "import", "--backfill", write(tmp_path / "a.csv", lines), "--json")
    assert (done.status, done.document["backfilled"]) == (0, 30), done.err
    found = rows(
        ready, "SELECT brand_id, day::text, sum(amount_micros)::bigint FROM backfill GROUP BY 1, 2 ORDER BY 1, 2"
    )
    assert found == [
        (1, "2025-03-29", 1), (1, "2025-03-30", 110), (1, "2025-03-31", 1_000), (1, "2025-06-01", 1_100_000_000),
        (1, "2025-10-25", 10_000), (1, "2025-10-26", 1_100_000), (1, "2025-10-27", 10_000_000),
        (2, "2025-03-30", 11), (2, "2025-03-31", 1_100), (2, "2025-06-01", 100_000_000), (2, "2025-06-02", 1_000_000_000),
        (2, "2025-10-26", 110_000), (2, "2025-10-27", 11_000_000),
        (3, "2025-03-29", 11), (3, "2025-03-30", 1_100), (3, "2025-06-01", 1_100_000_000),
        (3, "2025-10-25", 110_000), (3, "2025-10-26", 11_000_000),
    ]  # fmt: skip
    assert rows(ready, "SELECT campaign_id, day::text, spend_micros, spends FROM backfill_day WHERE brand_id = 1 AND spends > 1") == [
        (65537, "2025-03-30", 110, 2), (65537, "2025-06-01", 1_100_000_000, 2), (65537, "2025-10-26", 1_100_000, 2),
    ]  # fmt: skip
    assert be("verify").status == 0


def test_a_day_is_backfilled_once_it_is_closed_for_its_own_brand(be: Be, ready: System, tmp_path: Path) -> None:
    for number, (name, zone) in enumerate(ZONED.items(), 1):
        be("brand", "create", name, "--zone", zone)
        be("campaign", "create", str(number), "c0")
    close = "INSERT INTO period_total (brand_id, period, starts_on, spend_micros) VALUES (:brand, 'day', :day, 0)"
    with ready.db.begin() as conn:
        conn.execute(text("UPDATE brand SET created_at = '2025-06-02T12:00:00Z'"))
        # Shards that closed the day before Berlin and UTC were made, and for Kolkata one that it still had.
        conn.execute(
            text("INSERT INTO shard_close SELECT shard, 'day', '2025-06-01' FROM generate_series(1, 3) AS shard")
        )
        conn.execute(text("UPDATE brand SET created_at = '2025-05-31T22:00:00Z' WHERE id = 2"))
        conn.execute(text(close), {"brand": 1, "day": date(2025, 6, 2)})
    last = {
        "Berlin": "2025-06-02T21:59:59.999Z",
        "Kolkata": "2025-05-31T18:29:59.999Z",
        "Utc": "2025-06-01T23:59:59.999Z",
    }
    next_ = {"Berlin": "2025-06-02T22:00:00Z", "Kolkata": "2025-05-31T18:30:00Z", "Utc": "2025-06-02T00:00:00Z"}
    refused = be(
        "spend",
        "import",
        "--backfill",
        write(tmp_path / "a.csv", [f"{at},,{name},c0,1\n" for name, at in next_.items()]),
    )
    assert refused.status == 1
    for said in ("of 2025-06-03 Europe/Berlin, which", "of 2025-06-01 Asia/Kolkata, which", "of 2025-06-02, which"):
        assert said in refused.err, said
    taken = be(
        "spend",
        "import",
        "--backfill",
        write(tmp_path / "b.csv", [f"{at},,{name},c0,1\n" for name, at in last.items()]),
    )
    assert (taken.status, taken.err) == (0, "")
    with ready.db.begin() as conn:
        for brand, day in ((1, 3), (2, 1), (3, 2)):
            conn.execute(text(close), {"brand": brand, "day": date(2025, 6, day)})
    assert be("spend", "import", "--backfill", str(tmp_path / "a.csv")).status == 0
    assert rows(ready, "SELECT brand_id, day::text FROM backfill ORDER BY 1, 2") == [
        (1, "2025-06-02"), (1, "2025-06-03"), (2, "2025-05-31"), (2, "2025-06-01"), (3, "2025-06-01"), (3, "2025-06-02"),
    ]  # fmt: skip


def test_a_spend_is_backfilled_to_the_day_by_the_zone_that_its_brand_had_then(
    be: Be, ready: System, tmp_path: Path
) -> None:
    be("brand", "create", "Acme")
    be("campaign", "create", "1", "c0")
    moved = ms_of(datetime(2025, 6, 10, tzinfo=UTC))
    with ready.db.begin() as conn:
        conn.execute(
            text("UPDATE brand SET zone_steps = :steps, time_zone = 'Asia/Kolkata'"),
            {"steps": ["0=", f"{moved}=Asia/Kolkata"]},
        )
        conn.execute(text("INSERT INTO period_total VALUES (1, 'day', '2025-06-11', 0)"))
    lines = [f"2025-06-{day:02d}T20:00:00Z,,Acme,c0,{day}\n" for day in (9, 10)]
    assert be("spend", "import", "--backfill", write(tmp_path / "a.csv", lines)).status == 0
    assert rows(ready, "SELECT day::text, amount_micros FROM backfill ORDER BY 1") == [
        ("2025-06-09", 9),
        ("2025-06-11", 10),
    ]
