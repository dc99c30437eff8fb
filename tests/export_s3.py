"""Not of `make test`: installs moto's S3 server from the package index, in an environment of its own, and exports to it over HTTP.

Run by `make export-bucket`. TEST_S3_PYTHON names a Python that has `moto[server]` already.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.request
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyarrow import fs

from engine.errors import BudgetError
from engine.flows.export.manifest import NAME, NotWhole
from engine.flows.export.places import PlaceRefused
from engine.wiring import System
from tests.flows.conftest import clock
from tests.flows.exports import DAY, closed_day, correct, logged, recorded
from tests.ports import free_port

__all__ = ["clock"]

MOTO = "moto[server]==5.2.5"
D = DAY.isoformat()


@pytest.fixture(scope="session")
def s3_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has moto."""
    if given := os.environ.get("TEST_S3_PYTHON"):
        return Path(given)
    folder = tmp_path_factory.mktemp("moto") / "venv"
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    words = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", MOTO]
    subprocess.run(words, check=True, timeout=590)
    return python


@pytest.fixture
def s3(s3_python: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The URL of an empty bucket's prefix, and the server's process."""
    port = free_port()
    server = subprocess.Popen(
        [s3_python, "-m", "moto.server", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    try:
        for _ in range(600):
            try:
                request = urllib.request.Request(f"http://127.0.0.1:{port}/exports", method="PUT")
                urllib.request.urlopen(request, timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        yield f"s3://exports/spend?endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1", server
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def closed(clock: System) -> System:
    return closed_day(clock)


def files_of(url: str) -> fs.S3FileSystem:
    """The bucket, as pyarrow reads it."""
    return fs.S3FileSystem(endpoint_override=url.partition("endpoint_override=")[2].partition("&")[0], scheme="http")


def names(files: fs.S3FileSystem) -> list[str]:
    found = files.get_file_info(fs.FileSelector("exports/spend", recursive=True, allow_not_found=True))
    return sorted(one.path for one in found if one.type == fs.FileType.File)


def test_a_day_in_a_bucket_is_the_log_s_and_is_compared_checked_and_replaced(
    closed: System, s3: tuple[str, subprocess.Popen[bytes]]
) -> None:
    import pyarrow.parquet as pq

    url, server = s3
    files = files_of(url)
    done = closed.exporter.export(DAY, url)
    there = [f"exports/spend/{D}/{name}" for name in (NAME, "shard-01.parquet", "shard-02.parquet")]
    assert (done.state, names(files)) == ("written", there)
    found = [tuple(row.values()) for name in there[1:] for row in pq.read_table(name, filesystem=files).to_pylist()]
    assert found == logged(closed)
    assert recorded(closed) == [(DAY, url, 65, done.manifest.micros, True)]
    assert closed.exporter.export(DAY, url).state == "unchanged"
    assert closed.exporter.days(url) == [DAY]
    correct(closed)
    assert closed.exporter.export(DAY, url).state == "replaced"
    # A file too many, and a byte that is another.
    with files.open_output_stream(f"exports/spend/{D}/shard-09.parquet") as file:
        file.write(b"PAR1")
    with pytest.raises(NotWhole, match=r"shard-09\.parquet is there"):
        closed.exporter.check(DAY, url)
    assert closed.exporter.export(DAY, url).state == "replaced"
    assert names(files) == there
    with files.open_input_file(there[0]) as file:
        assert json.loads(file.read())["rows"] == 66
    # It goes away.
    server.kill()
    server.wait()
    with pytest.raises(PlaceRefused, match="could not be read or written"):
        closed.exporter.export(DAY, url, again=True)
    with pytest.raises(PlaceRefused):
        closed.exporter.check(DAY, url)


def test_an_upload_that_ends_in_its_middle_is_no_export(
    closed: System, s3: tuple[str, subprocess.Popen[bytes]]
) -> None:
    url, _ = s3
    files = files_of(url)
    closed.exporter.export(DAY, url)
    correct(closed)

    def end() -> None:
        if any(name.endswith("shard-01.parquet") for name in names(files)):
            raise BudgetError("the process ends here")

    with pytest.raises(BudgetError, match="ends here"):
        closed.exporter.export(DAY, url, between=end)
    assert f"exports/spend/{D}/{NAME}" not in names(files)
    assert recorded(closed)[0][-1] is False
    with pytest.raises(NotWhole, match=r"has no manifest\.json"):
        closed.exporter.check(DAY, url)
    assert closed.exporter.export(DAY, url).state == "replaced"
    assert recorded(closed)[0][-1] is True


def test_a_bucket_that_is_not_there_is_one_line(closed: System, s3: tuple[str, subprocess.Popen[bytes]]) -> None:
    with pytest.raises(PlaceRefused) as refused:
        closed.exporter.export(DAY, s3[0].replace("s3://exports", "s3://nowhere"))
    assert "\n" not in str(refused.value)
    assert recorded(closed) == []
