"""Backfill adds spends of closed days to the ledger, once, a file at a time, and changes no closed total and no counter."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from engine.wiring import System
from tests.cli.conftest import Be
from tests.cli.test_replay_command import HEADER, write
from tests.flows.test_persist import rows

YESTERDAY = datetime.now(UTC).date() - timedelta(days=1)
DAY = datetime.now(UTC).date() - timedelta(days=3)


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
            {"day": YESTERDAY - timedelta(days=1)},
        )
        conn.execute(
            text("INSERT INTO period_total (brand_id, period, starts_on, spend_micros) VALUES (1, 'day', :day, 0)"),
            {"day": DAY},
        )
    return ready


def line(micros: object, event: str = "", day: date = DAY, brand: str = "Acme", campaign: str = "c0") -> str:
    return f"{day}T10:00:00Z,{event},{brand},{campaign},{micros}\n"


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
    assert rows(closed, written) == [("backfill", 65537, DAY, 1_750_000, 2)]
    again = be("spend", "import", "--backfill", file)
    assert (again.status, "a file with the same spends was written before" in again.out) == (0, True)
    # Under another name and with other spends beside: each event counts once.
    more = write(tmp_path / "b.csv", [line(1_500_000, "e-1"), line(7, "e-2", campaign="c0")])
    assert be("spend", "import", "--backfill", more, "--json").document["duplicate"] == 1
    (shown,) = [d for d in be("brand", "days", "1", "--json").document if d["day"] == str(DAY)]
    assert (shown["spend"], shown["backfilled"], shown["backfilled_spends"]) == ("0.000000", "1.750007", 3)
    assert "backfilled" in be("brand", "days", "1").out and "1.750007 (3)" in be("brand", "days", "1").out
    assert rows(closed, "SELECT spend_micros FROM period_total WHERE starts_on = :day", day=DAY) == [(0,)]
    assert rows(closed, "SELECT spend_micros FROM campaign_day WHERE day = :day", day=DAY) == []
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
        line(1, day=datetime.now(UTC).date()),
        line(1, day=YESTERDAY),
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
        f"is of {YESTERDAY}, which is not closed",
    ):
        assert said in done.err, said
    # Event ids that are known with other content, in this file, an earlier one and the log.
    assert be("spend", "import", "--backfill", write(tmp_path / "b.csv", [line(5, "e-1")])).status == 0
    with closed.db.begin() as conn:
        moved = {"day": YESTERDAY - timedelta(days=1)}
        conn.execute(text("UPDATE shard_close SET starts_on = CAST(:day AS date) + 2 WHERE shard = 1"), moved)
    clash = [line(6, "e-1"), line(7, "e-2"), line(8, "e-2"), line(9, "live-1", day=datetime.now(UTC).date())]
    done = be("spend", "import", "--backfill", write(tmp_path / "c.csv", clash), "--json")
    assert [b["error"] for b in done.document["bad_lines"]] == [
        "event_id e-1 was counted in an earlier file with another campaign or amount",
        "event_id e-2 was counted in line 3 with another campaign or amount",
        "event_id live-1 was counted by a bidder with another campaign or amount",
    ]
    assert rows(closed, "SELECT count(*)::int, (SELECT count(*) FROM backfill_file)::int FROM backfill") == [(1, 1)]
    same = write(tmp_path / "d.csv", [line(2_000_000, "live-1", day=datetime.now(UTC).date())])
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
