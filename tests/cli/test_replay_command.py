"""Replay: every line of a real bidding log is counted once, however often it is fed, and a bad line costs only itself."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from engine import BudgetClient, Spend, SpendResult, Unavailable
from engine.feeds.replay import Replay, Totals
from engine.feeds.replay_names import CatalogNames
from engine.feeds.spend_file import SpendFile
from engine.wiring import System
from tests.cli.conftest import Be

pytestmark = pytest.mark.usefixtures("ready")

IPINYOU = Path(__file__).resolve().parents[3] / "shared" / "data" / "ipinyou-2821-a.csv"
HEADER = "at,event_id,brand,campaign,amount_micros\n"


def lines(count: int, brand: str = "Acme") -> list[str]:
    return [f"2026-11-23T10:00:{i % 60:02d}.5Z,ev-{brand}-{i},{brand},c{i % 3},{1000 + i}\n" for i in range(count)]


def write(path: Path, rows: Iterable[str], header: str = HEADER) -> str:
    path.write_text(header + "".join(rows), encoding="utf-8")
    return str(path)


@pytest.mark.skipif(not IPINYOU.exists(), reason="the iPinYou sample is not part of the product")
def test_a_real_log_is_counted_to_the_micro_and_a_second_time_not_at_all(be: Be, system: System) -> None:
    first = be("replay", str(IPINYOU), "--json")
    assert first.status == 0
    assert first.document == {
        "rows": 5000,
        "recorded": 4987,
        "duplicate": 13,
        "conflict": 0,
        "refused": 0,
        "failed": 0,
        "amount": "4.433940",
    }
    brand = be("brand", "list", "--json").document[0]
    assert (brand["name"], brand["daily_spend"]) == ("2821", "4.433940")
    again = be("replay", str(IPINYOU), "--json").document
    assert (again["recorded"], again["duplicate"], again["amount"]) == (0, 5000, "0.000000")
    assert be("persist").status == 0
    assert be("verify").status == 0


def test_brands_and_campaigns_are_made_by_name_where_they_are_missing(be: Be, tmp_path: Path) -> None:
    be("brand", "create", "Acme", "--daily", "1")
    be("campaign", "create", "1", "c1")
    done = be("replay", write(tmp_path / "a.csv", lines(30) + lines(6, "Other")), "--json")
    assert done.document["recorded"] == 36
    brands = {brand["name"]: brand for brand in be("brand", "list", "--json").document}
    assert set(brands) == {"Acme", "Other"}
    assert sorted(c["name"] for c in brands["Acme"]["campaigns"]) == ["c0", "c1", "c2"]
    assert brands["Acme"]["daily_budget"] == "1.000000", "a brand that was there keeps its budget"


def test_a_malformed_line_is_named_and_the_rest_goes_on(be: Be, tmp_path: Path) -> None:
    rows = lines(10)
    rows[1] = rows[1].replace("1001", "10.01")
    done = be("replay", write(tmp_path / "a.csv", rows), "--json")
    assert done.status == 1
    assert (done.document["rows"], done.document["recorded"], done.document["failed"]) == (10, 9, 1)
    assert "line 3: amount_micros '10.01'" in done.complaint


BAD_LINES = {
    "2026-11-23T10:00:00Z,e,Acme,c,0\n": "amount_micros",
    "2026-11-23T10:00:00Z,e,Acme,c,-5\n": "amount_micros",
    "2026-11-23T10:00:00Z,e,Acme,c,1e3\n": "amount_micros",
    "2026-11-23T10:00:00Z,e,Acme,c,\n": "amount_micros",
    "2026-11-23T10:00:00Z,e,Acme,c,1000000000001\n": "amount_micros",
    "2026-11-23T10:00:00Z,e,Acme,c,9999999999999999999\n": "amount_micros",
    "yesterday,e,Acme,c,5\n": "at 'yesterday'",
    "9999-12-31T23:59:59-23:00,e,Acme,c,5\n": "at '9999",
    "2026-11-23T10:00:00Z,a b,Acme,c,5\n": "event_id 'a b'",
    "2026-11-23T10:00:00Z,e,,c,5\n": "brand '' is blank",
    "2026-11-23T10:00:00Z,e,Acme, ,5\n": "campaign ' ' is blank",
    "2026-11-23T10:00:00Z,e,Acme,c\n": "it has 4 fields, the header names 5",
    "2026-11-23T10:00:00Z,e,Acme,c,5,6\n": "it has 6 fields, the header names 5",
    '2026-11-23T10:00:00Z,e,"Acme,c,5\n': "not a line of CSV",
    "x" * 70_000 + "\n": "longer than",
}


def test_each_kind_of_bad_line_costs_only_itself(be: Be, tmp_path: Path) -> None:
    good = "2026-11-23T10:00:00Z,{},Acme,c,5\n"
    rows = [row for i, bad in enumerate(BAD_LINES) for row in (bad, "\n", good.format(f"good{i}"))]
    done = be("replay", write(tmp_path / "a.csv", rows), "--json")
    assert done.status == 1
    assert (done.document["recorded"], done.document["failed"]) == (len(BAD_LINES), len(BAD_LINES))
    told = done.err.splitlines()
    for i, (line, said) in enumerate(zip(told, BAD_LINES.values(), strict=True)):
        assert f"line {2 + 3 * i}: " in line
        assert said in line


def test_more_columns_another_order_a_bom_and_windows_line_ends_are_fine(be: Be, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    text = 'x,campaign,brand,amount_micros,event_id,at\r\n1,"c, one",Acme,250000,e1,2026-11-23 10:00:00+01:00\r\n'
    file.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert be("replay", str(file), "--json").document["amount"] == "0.250000"
    assert be("campaign", "list", "--json").document[0]["name"] == "c, one"


def test_the_logs_own_time_is_kept_beside_the_counted_one(be: Be, system: System, tmp_path: Path) -> None:
    be("replay", write(tmp_path / "a.csv", ["2013-10-21T10:29:02.623Z,e,Acme,c,5\n"]))
    entries = system.journal.read(1, "-", 100)
    assert any(b",1382351342623;" in fields.get(b"b", b"") for _, fields in entries)


def test_an_event_fed_with_another_amount_is_a_conflict_and_named(be: Be, tmp_path: Path) -> None:
    rows = ["2026-11-23T10:00:00Z,e,Acme,c,5\n", "2026-11-23T10:00:00Z,e,Acme,c,6\n"]
    done = be("replay", write(tmp_path / "a.csv", rows), "--json")
    assert (done.status, done.document["recorded"], done.document["conflict"]) == (0, 1, 1)
    assert "line 3: event_id e" in done.complaint


def test_what_is_not_such_a_file_is_refused_in_one_line(be: Be, tmp_path: Path) -> None:
    files = {
        "empty": (b"", "is empty"),
        "no header": (b"\n1,2\n", "blank line"),
        "other columns": (b"a;b;c\n1;2;3\n", "has no column at, event_id, brand, campaign, amount_micros"),
        "one missing": (b"at,event_id,brand,campaign,amount\n", "has no column amount_micros"),
        "twice": (b"at,event_id,brand,campaign,amount_micros,at\n", "column at twice"),
        "utf-16": ("at,event_id,brand,campaign,amount_micros\n".encode("utf-16"), "not UTF-8"),
        "latin-1": ("at,event_id,bränd\n".encode("latin-1"), "not UTF-8"),
        "binary": (bytes(range(256)) * 400, "not UTF-8"),
    }
    for name, (content, said) in files.items():
        (tmp_path / name).write_bytes(content)
        done = be("replay", str(tmp_path / name))
        assert (done.status, done.out) == (2, ""), name
        assert said in done.complaint, name
    for path in (tmp_path / "none.csv", tmp_path):
        assert "cannot be read" in be("replay", str(path)).complaint


def test_a_line_that_is_not_utf_8_costs_only_itself(be: Be, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes((HEADER + lines(1)[0]).encode() + b"2026-11-23T10:00:00Z,e,B\xe9,c,5\n" + lines(2)[1].encode())
    done = be("replay", str(file), "--json")
    assert (done.document["recorded"], done.document["failed"]) == (2, 1)
    assert "line 3: " in done.complaint


def replay(system: System, client: BudgetClient, file: str, patience_s: float = 60) -> Totals:
    names = CatalogNames(system.catalog, system.manage, "test")

    def mend() -> None:
        system.rebuilder.rebuild_missing()

    with SpendFile(file) as rows:
        return Replay(client, names, on_wait=mend, sleep=lambda seconds: None, patience_s=patience_s).run(rows)


def test_replay_waits_for_a_shard_that_is_being_rebuilt(system: System, tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", lines(5))
    replay(system, system.client, write(tmp_path / "b.csv", lines(1)))
    system.live.unmark(system.instance, 1, "test")
    totals = replay(system, system.client, file)
    assert (totals.recorded, totals.duplicate, totals.failed, totals.stopped) == (4, 1, 0, "")


def test_replay_ends_clearly_when_redis_stays_away(system: System, tmp_path: Path) -> None:
    replay(system, system.client, write(tmp_path / "b.csv", lines(1)))
    system.live.unmark(system.instance, 1, "test")
    totals = replay(system, system.client, write(tmp_path / "a.csv", lines(5)), patience_s=0)
    assert (totals.rows, totals.recorded, totals.failed) == (5, 0, 5)
    assert "stopped between lines 2 and 6: Redis is not ready" in totals.stopped


class LosesReplies(BudgetClient):
    """The real client, but the reply to each call's first attempt is lost after Redis has counted it."""

    def __init__(self, system: System) -> None:
        super().__init__(system.wire, 5000)
        self.lost: list[str] = []

    def record_spends(self, spends: Iterable[Spend], *, request_id: str | None = None) -> list[SpendResult]:
        listed = list(spends)
        answers = super().record_spends(listed, request_id=request_id)
        assert request_id is not None
        if request_id not in self.lost:
            self.lost.append(request_id)
            raise Unavailable("the reply was lost", request_id, [None] * len(listed))
        return answers


def test_a_lost_reply_is_asked_for_again_and_nothing_counts_twice(system: System, tmp_path: Path) -> None:
    without_ids = [line.replace(f"ev-Acme-{i},", ",") for i, line in enumerate(lines(300))]
    totals = replay(system, LosesReplies(system), write(tmp_path / "a.csv", without_ids))
    assert (totals.recorded, totals.failed, totals.micros) == (300, 0, sum(1000 + i for i in range(300)))
    assert system.overview.brands()[0].daily_spend == totals.micros


def test_a_long_file_is_fed_in_chunks_and_in_order(be: Be, tmp_path: Path) -> None:
    done = be("replay", write(tmp_path / "a.csv", lines(4500)), "--json")
    assert done.document["recorded"] == 4500
    assert (
        be("brand", "list", "--json").document[0]["daily_spend"] == f"{sum(1000 + i for i in range(4500)) / 10**6:.6f}"
    )
