"""A closed day as Parquet has the log's rows, each once and in order, and a manifest of their sums; repeating it changes nothing."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
import pyarrow.parquet as pq
import pytest
from sqlalchemy import text

from benchmarks.export_size import DAY as LARGE_DAY
from benchmarks.export_size import fill
from engine.domain.periods import DAY_MS
from engine.errors import BudgetError, Refused, ServerAway
from engine.flows.export import parquet
from engine.flows.export.manifest import NAME, NotWhole
from engine.flows.export.places import PlaceRefused
from engine.ledger.locks import Lock, take
from engine.wiring import System
from tests.flows.conftest import rows_only
from tests.flows.exports import DAY, NOON, close, closed_day, correct, exported_rows, left_in, logged, recorded
from tests.flows.test_persist import rows


@pytest.fixture
def closed(clock: System) -> System:
    return closed_day(clock)


def manifest_of(folder: Path) -> Any:
    return json.loads((folder / DAY.isoformat() / NAME).read_text())


def test_the_files_have_every_row_of_the_log_in_order_and_the_manifest_adds_up(closed: System, tmp_path: Path) -> None:
    done = closed.exporter.export(DAY, str(tmp_path))
    wanted = logged(closed)
    assert len(wanted) == 65
    assert exported_rows(tmp_path) == wanted
    assert (done.state, done.manifest.rows, done.manifest.micros) == ("written", 65, sum(row[8] for row in wanted))
    said = manifest_of(tmp_path)
    assert (said["day"], said["schema_version"], said["instance"]) == ("2030-05-14", 1, closed.instance)
    assert {kind: part["rows"] for kind, part in said["kinds"].items()} == {"refund": 1, "spend": 64}
    assert {brand: part["micros"] for brand, part in said["brands"].items()} == {
        str(brand): sum(row[8] for row in wanted if row[6] == brand) for brand in (1, 2)
    }
    assert tuple(said["first"].values()) == wanted[0][:4]
    assert tuple(said["last"].values()) == wanted[-1][:4]
    for entry in said["files"]:
        path = tmp_path / DAY.isoformat() / entry["name"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == entry["sha256"]
        assert (path.stat().st_size, pq.read_metadata(path).num_rows) == (entry["bytes"], entry["rows"])
    assert [entry["shard"] for entry in said["files"]] == [1, 2]
    assert recorded(closed) == [(DAY, str(tmp_path), 65, done.manifest.micros, True)]
    assert [finding for check in closed.verifier.verify(days=30) for finding in check.findings] == []


def test_columns_that_repeat_are_dictionaries_and_all_are_zstd(closed: System, tmp_path: Path) -> None:
    closed.exporter.export(DAY, str(tmp_path))
    group = pq.read_metadata(tmp_path / DAY.isoformat() / "shard-01.parquet").row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert {column.compression for column in columns.values()} == {"ZSTD"}
    assert {name for name, column in columns.items() if "RLE_DICTIONARY" in column.encodings} == {
        "shard", "generation", "day", "brand_id", "campaign_id", "kind",
    }  # fmt: skip
    assert "DELTA_BINARY_PACKED" in columns["n"].encodings


def test_the_same_day_again_is_compared_and_left_and_written_with_again_alone(closed: System, tmp_path: Path) -> None:
    first = closed.exporter.export(DAY, str(tmp_path))
    before = {path: path.stat().st_ino for path in tmp_path.rglob("*.parquet")}
    second = closed.exporter.export(DAY, str(tmp_path))
    assert (second.state, second.manifest) == ("unchanged", first.manifest)
    assert {path: path.stat().st_ino for path in tmp_path.rglob("*.parquet")} == before
    third = closed.exporter.export(DAY, str(tmp_path), again=True)
    assert (third.state, third.manifest_sha256) == ("replaced", first.manifest_sha256), "the same rows, the same bytes"
    assert {path: path.stat().st_ino for path in tmp_path.rglob("*.parquet")} != before
    assert [name for name in left_in(tmp_path) if name.startswith(".")] == []


def test_a_day_to_which_rows_came_is_written_anew_and_until_then_verify_says_that_it_is_outdated(
    closed: System, tmp_path: Path
) -> None:
    closed.exporter.export(DAY, str(tmp_path))
    correct(closed)
    check = closed.verifier.verify()[-1]
    assert (check.id, check.findings) == ("V16", [])
    assert check.checked == f"1 exports, 1 to repeat because rows came later: {DAY} in {tmp_path}"
    done = closed.exporter.export(DAY, str(tmp_path))
    assert done.state == "replaced"
    assert done.why == "its manifest has 0 rows with 0 micros of kind correction, found are 1 with -500000"
    assert exported_rows(tmp_path) == logged(closed)
    assert closed.verifier.verify()[-1].checked == "1 exports"


@rows_only
@pytest.mark.parametrize(
    ("change", "micros"),
    [
        ("UPDATE exported_day SET micros = micros + 7", 7),
        ("DELETE FROM spend_log WHERE event_id = 'win-2'; UPDATE campaign_day SET spend_micros = 1 WHERE brand_id = 2", 2_000_000),
    ],
)  # fmt: skip
def test_verify_fails_where_the_log_has_less_than_was_exported(
    closed: System, tmp_path: Path, change: str, micros: int
) -> None:
    closed.exporter.export(DAY, str(tmp_path))
    with closed.db.begin() as conn:
        conn.execute(text(change))
    check = closed.verifier.verify()[-1]
    assert (check.id, check.difference_micros) == ("V16", micros)
    assert check.findings[0].startswith(f"{DAY} in {tmp_path}: 65 rows with ")


def test_what_is_not_closed_or_not_over_or_gone_is_refused(closed: System, tmp_path: Path) -> None:
    today = DAY.replace(day=15)
    for day, why in (
        (today, "2030-05-15 is not exported, because 2 shards have not closed it (1, 2): run `budget-engine close-periods`"),
        (DAY.replace(year=2029), "no shard has closed 2029-05-14: it is not over, or is before the first brand"),
    ):  # fmt: skip
        with pytest.raises(Refused) as refused:
            closed.exporter.export(day, str(tmp_path))
        assert str(refused.value) == why
    with closed.db.begin() as conn:
        conn.execute(text("DELETE FROM shard_close WHERE shard = 2"))
    with pytest.raises(Refused, match=r"because 1 shard has not closed it \(2\)"):
        closed.exporter.export(DAY, str(tmp_path))
    close(closed, NOON + DAY_MS)
    with closed.db.begin() as conn:
        conn.execute(text("INSERT INTO dropped_day VALUES (1, :day, 1, 1, 0, 0, now())"), {"day": DAY})
    with pytest.raises(Refused, match="rows of 2030-05-14 were dropped from the log"):
        closed.exporter.export(DAY, str(tmp_path))
    assert left_in(tmp_path) == []


def test_a_day_without_a_spend_is_an_export_of_no_rows(closed: System, tmp_path: Path) -> None:
    close(closed, NOON + 2 * DAY_MS)
    done = closed.exporter.export(DAY.replace(day=15), str(tmp_path))
    assert (done.manifest.rows, done.manifest.files) == (0, ())
    assert left_in(tmp_path) == ["2030-05-15", f"2030-05-15/{NAME}"]
    assert closed.exporter.check(DAY.replace(day=15), str(tmp_path)).state == "verified"


def test_one_export_of_a_day_at_a_time(closed: System, tmp_path: Path) -> None:
    with closed.db.begin() as conn:
        take(conn, Lock.EXPORT, DAY.toordinal())
        with pytest.raises(Refused, match="another process exports 2030-05-14 now"):
            closed.exporter.export(DAY, str(tmp_path))
    assert closed.exporter.export(DAY, str(tmp_path)).state == "written"


def test_another_installation_s_export_is_not_touched(closed: System, tmp_path: Path) -> None:
    closed.exporter.export(DAY, str(tmp_path))
    path = tmp_path / DAY.isoformat() / NAME
    path.write_text(path.read_text().replace(closed.instance, "00000000-0000-0000-0000-000000000000"))
    for call in (closed.exporter.export, closed.exporter.check):
        with pytest.raises(Refused, match="is the export of another installation"):
            call(DAY, str(tmp_path))


def _flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def _edit(path: Path, old: str, new: str) -> None:
    changed = path.read_text().replace(old, new, 1)
    assert changed != path.read_text()
    path.write_text(changed)


def _other_sums(folder: Path) -> None:
    """A manifest whose own sums agree, of a file with other rows."""
    said = json.loads((folder / NAME).read_text())
    for part in (said["kinds"]["spend"], said["brands"]["2"], said):
        part["micros"] += 1
    (folder / NAME).write_text(json.dumps(said))


def _other_end(folder: Path) -> None:
    """A manifest that says that the first row is another one."""
    said = json.loads((folder / NAME).read_text())
    for first in (said["first"], said["files"][0]["first"]):
        first["n"] -= 1
    (folder / NAME).write_text(json.dumps(said))


def _another_file(folder: Path) -> None:
    """A file whose digest is right, and whose rows are another shard's."""
    shutil.copy(folder / "shard-02.parquet", folder / "shard-01.parquet")
    said = json.loads((folder / NAME).read_text())
    first, second = said["files"]
    first["sha256"], first["bytes"] = second["sha256"], second["bytes"]
    (folder / NAME).write_text(json.dumps(said))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a bit": (lambda f: _flip(f / "shard-01.parquet"), "shard-01.parquet has another SHA-256 than its manifest"),
    "an end": (lambda f: (f / "shard-02.parquet").write_bytes(b"PAR1"), "shard-02.parquet has 4 bytes, its manifest has "),
    "a file": (lambda f: (f / "shard-02.parquet").unlink(), "shard-02.parquet is not there"),
    "a file more": (lambda f: (f / "shard-09.parquet").write_bytes(b""), "shard-09.parquet is there, and its manifest.json does not name it"),
    "a sum": (_other_sums, "its manifest has 64 rows with "),
    "rows": (_another_file, "shard-01.parquet has 2 rows, its manifest has 63"),
    "no manifest": (lambda f: (f / NAME).unlink(), "has no manifest.json"),
    "half a manifest": (lambda f: (f / NAME).write_text("{"), "its manifest.json cannot be read"),
    "a path": (lambda f: _edit(f / NAME, "shard-01.parquet", "../../../etc/passwd"), "a name or digest that no export writes"),
    "a day": (lambda f: _edit(f / NAME, "2030-05-14", "2030-05-13"), "its manifest.json is of 2030-05-13"),
    "a number": (lambda f: _edit(f / NAME, '"rows": 65', '"rows": 1e400'), "its manifest.json cannot be read"),
    "an end of rows": (_other_end, "shard-01.parquet begins or ends with another row than its manifest says"),
    "its ends": (lambda f: _edit(f / NAME, '"position": 0', '"position": 5'), "its ends are not those of its files"),
    "depth": (lambda f: (f / NAME).write_text("[" * 100_000), "its manifest.json cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("what", DAMAGE)
def test_what_does_not_add_up_is_one_line_and_no_longer_verified_and_is_written_anew(
    closed: System, tmp_path: Path, what: str
) -> None:
    closed.exporter.export(DAY, str(tmp_path))
    damage, said = DAMAGE[what]
    damage(tmp_path / DAY.isoformat())
    with pytest.raises(NotWhole) as wrong:
        closed.exporter.check(DAY, str(tmp_path))
    assert said in str(wrong.value)
    assert "\n" not in str(wrong.value)
    assert recorded(closed)[0][-1] is False
    assert closed.exporter.export(DAY, str(tmp_path)).state == "replaced"
    assert recorded(closed)[0][-1] is True
    assert exported_rows(tmp_path) == logged(closed)
    assert closed.exporter.check(DAY, str(tmp_path)).state == "verified"


class Killed(BaseException):
    """The process ends here."""


def test_left_half_way_nothing_is_there_and_what_was_there_stays(closed: System, tmp_path: Path) -> None:
    def end() -> None:
        raise Killed

    with pytest.raises(Killed):
        closed.exporter.export(DAY, str(tmp_path), between=end)
    assert (left_in(tmp_path), recorded(closed)) == ([], [])
    closed.exporter.export(DAY, str(tmp_path))
    there = left_in(tmp_path)
    correct(closed)
    with pytest.raises(Killed):
        closed.exporter.export(DAY, str(tmp_path), between=end)
    assert left_in(tmp_path) == there
    # What a process that was killed could not remove goes with the next export.
    left = tmp_path / f".{DAY}.{closed.instance[:8]}.writing"
    left.mkdir()
    (left / "shard-01.parquet").write_bytes(b"PAR1")
    closed.exporter.export(DAY, str(tmp_path))
    assert left_in(tmp_path) == there
    assert exported_rows(tmp_path) == logged(closed)


@pytest.mark.long
def test_a_large_day_is_written_in_little_memory_and_a_lost_postgresql_leaves_nothing(
    clock: System, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fill(clock, 400_000, events=True)
    ended: list[int] = []

    def end_its_session() -> None:
        if not ended:
            query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY (SELECT shard%' AND backend_type = 'client backend' AND datname = current_database()"
            ended.append(len(rows(clock, query)))

    with pytest.raises(BudgetError) as lost:
        clock.exporter.export(LARGE_DAY, str(tmp_path), between=end_its_session)
    assert isinstance(lost.value, ServerAway | PlaceRefused)
    assert not isinstance(lost.value, psycopg2.Error)
    assert ended == [1]
    assert capfd.readouterr().err == ""
    assert left_in(tmp_path) == []
    done = clock.exporter.export(LARGE_DAY, str(tmp_path))
    assert done.manifest.rows == 400_000
    assert done.manifest.bytes / done.manifest.rows < 18, "twelve bytes of each row are its event id"
    assert exported_rows(tmp_path, LARGE_DAY) == logged(clock, LARGE_DAY)
    assert parquet.memory_peak() < 200 << 20
