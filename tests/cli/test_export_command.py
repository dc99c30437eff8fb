"""`export` on the command line: what it prints, and one line for everything that goes wrong, with nothing half-written and nothing lost."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.live.scripts import swapping
from engine.wiring import System
from tests.cli.conftest import Be
from tests.cli.test_manners import shell
from tests.docs.documents import ROOT, blocks
from tests.flows.exports import DAY, closed_day, correct, exported_rows, left_in, logged, recorded
from tests.flows.test_persist import rows
from tests.live.plant import MOVABLE_CLOCK

D = DAY.isoformat()
NOBODY = 65_534


@pytest.fixture
def closed(be: Be, ready: System) -> Iterator[System]:
    with swapping({"lib/clock.lua": MOVABLE_CLOCK}):
        yield closed_day(ready)


def test_it_prints_one_line_or_one_document_and_is_a_run_of_its_own(be: Be, closed: System, tmp_path: Path) -> None:
    done = be("export", "--day", D, "--to", str(tmp_path))
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("2030-05-14: 65 rows, 8.561771, in 2 files, ")
    assert done.out.endswith(f"bytes: written in {tmp_path}\n")
    document = be("export", "--day", D, "--to", str(tmp_path), "--json").document
    assert (document["day"], document["to"], document["state"]) == (D, str(tmp_path), "unchanged")
    assert (document["rows"], document["files"]) == (65, 2)
    assert document["bytes"] == sum(path.stat().st_size for path in tmp_path.rglob("*.parquet"))
    assert be("export", "--day", D, "--to", str(tmp_path), "--again", "--json").document["state"] == "replaced"
    checked = be("export", "--to", str(tmp_path), "--check", "--json").document
    assert checked == [{**document, "state": "verified"}]
    ran = rows(closed, "SELECT outcome, detail FROM job_run WHERE job = 'export' ORDER BY id")
    assert [outcome for outcome, _ in ran] == ["done"] * 4
    assert be("export", "--to", str(tmp_path / "a"), "--check").status == 1, "no such folder"


def test_wrong_usage_is_status_2(be: Be, closed: System, tmp_path: Path) -> None:
    for words in (
        ("--to", "x"),
        ("--day", D),
        ("--day", "14.5.2030", "--to", "x"),
        ("--day", D, "--to", " "),
        ("--day", D, "--to", "x", "--again", "--check"),
        ("--day", D, "--to", "s3://"),
        ("--day", D, "--to", "s3://key:secret@bucket/x"),
        ("--day", D, "--to", "s3://bucket/x?colour=red"),
    ):
        done = be("export", *words)
        assert (done.status, done.out) == (2, ""), words
        assert "secret@" not in done.complaint


def test_files_that_do_not_add_up_are_one_line_and_exit_1(be: Be, closed: System, tmp_path: Path) -> None:
    be("export", "--day", D, "--to", str(tmp_path))
    (tmp_path / D / "shard-02.parquet").write_bytes(b"PAR1")
    for words in (("--day", D), ()):
        done = be("export", *words, "--to", str(tmp_path), "--check")
        assert (done.status, done.out) == (1, "")
        assert done.complaint.startswith(
            f"the export of {D} in {tmp_path} does not add up: shard-02.parquet has 4 bytes"
        )
    (tmp_path / "2030-05-13").mkdir()
    complaint = be("export", "--to", str(tmp_path), "--check").complaint
    assert complaint.startswith("2 of 2 days do not add up; the first: the export of 2030-05-13")


@pytest.fixture
def no_room() -> Iterator[None]:
    """No file may be longer than 1,500 bytes, so a write fails in its middle as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_write_that_fails_in_its_middle_leaves_what_was_there(
    be: Be, closed: System, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    be("export", "--day", D, "--to", str(tmp_path))
    there = left_in(tmp_path)
    before = exported_rows(tmp_path)
    correct(closed)
    request.getfixturevalue("no_room")
    for to in (tmp_path, tmp_path / "new"):
        done = be("export", "--day", D, "--to", str(to))
        assert (done.status, done.out) == (1, "")
        assert "could not be read or written (File too large): nothing half-written is left" in done.complaint
    assert left_in(tmp_path) == sorted([*there, "new"])
    assert exported_rows(tmp_path) == before
    assert recorded(closed)[0][-1] is False, "it lacks a row, and retention must not count on it"


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 kB. Skips where none may be mounted."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no file system may be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_one_line_and_nothing_is_left_on_it(be: Be, closed: System, tiny_disk: Path) -> None:
    done = be("export", "--day", D, "--to", str(tiny_disk))
    assert (done.status, done.out) == (1, "")
    assert "No space left on device" in done.complaint
    assert left_in(tiny_disk) == []
    assert recorded(closed) == []


def test_a_folder_without_permission_and_a_file_are_one_line(be: Be, closed: System, tmp_path: Path) -> None:
    shut = tmp_path / "shut"
    shut.mkdir(0o500)
    if os.geteuid() == 0:
        os.seteuid(NOBODY)
    try:
        done = be("export", "--day", D, "--to", str(shut))
    finally:
        os.seteuid(os.getuid())
    assert (done.status, done.out) == (1, "")
    assert "Permission denied" in done.complaint
    file = tmp_path / "file"
    file.write_text("mine")
    done = be("export", "--day", D, "--to", str(file))
    assert (done.status, done.complaint) == (1, f"{file} is a file: name a folder to export into")
    assert file.read_text() == "mine"
    assert "Not a directory" in be("export", "--day", D, "--to", str(file / "below")).complaint
    assert recorded(closed) == []


def test_an_s3_that_is_away_is_one_line(be: Be, closed: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    to = "s3://bucket/prefix?endpoint_override=127.0.0.1:1&scheme=http&region=eu-central-1"
    for words in (("--day", D), ("--day", D, "--check"), ("--check",)):
        done = be("export", *words, "--to", to)
        assert (done.status, done.out) == (1, "")
        assert done.complaint.startswith(f"{to} could not be read or written (")
    assert recorded(closed) == []


@pytest.mark.long
def test_without_the_extra_one_line_says_what_to_install(
    closed: System, environment: dict[str, str], tmp_path: Path
) -> None:
    code = "import sys; sys.modules['pyarrow'] = None; from engine.__main__ import main; main()"
    for to in (str(tmp_path), "s3://bucket/x"):
        done = subprocess.run(
            [sys.executable, "-c", code, "export", "--day", D, "--to", to],
            env={**os.environ, **environment}, cwd=ROOT, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (1, "")
        (line,) = done.stderr.splitlines()
        assert line.endswith("needs the package pyarrow, which is not installed: pip install 'budget-engine[export]'")


@pytest.mark.long
def test_a_killed_export_leaves_no_day_and_the_next_one_is_whole(
    closed: System, environment: dict[str, str], tmp_path: Path
) -> None:
    code = (
        "import os, signal; from engine.flows.export import places;"
        "places._FolderDraft.commit = lambda *_: os.kill(os.getpid(), signal.SIGKILL);"
        "from engine.__main__ import main; main()"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code, "export", "--day", D, "--to", str(tmp_path)],
        env={**os.environ, **environment}, cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert killed.returncode == -9
    assert recorded(closed) == []
    assert not (tmp_path / D).exists()
    assert left_in(tmp_path) != []
    done = shell("export", "--day", D, "--to", str(tmp_path), environment=environment)
    assert done.returncode == 0, done.stderr
    assert exported_rows(tmp_path) == logged(closed)
    assert [name for name in left_in(tmp_path) if name.startswith(".")] == []


def test_the_recipe_for_pyarrow_reads_the_day_back(
    be: Be, closed: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    be("export", "--day", D, "--to", str(tmp_path / "exports"))
    (recipe,) = blocks(ROOT / "docs" / "operations.md", "python")
    monkeypatch.chdir(tmp_path)
    exec(compile(recipe, "operations.md", "exec"), {})
    wanted = rows(closed, "SELECT brand_id, sum(amount_micros)::bigint FROM spend_log GROUP BY 1 ORDER BY 1")
    assert capsys.readouterr().out.splitlines() == [f"{brand} {micros}" for brand, micros in wanted]
