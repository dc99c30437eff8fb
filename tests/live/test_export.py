"""`scripts export`: what it writes, and what it leaves alone."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner

from engine.cli import cli
from engine.cli.run import run
from engine.errors import Refused
from engine.live.export import GOLDEN, MANIFEST, export
from engine.live.scripts import LAYOUT, NAMES


def test_redis_gives_each_exported_script_the_sha1_of_the_manifest(tmp_path: Path, hot_redis: redis.Redis) -> None:
    export(tmp_path / "a" / "b")
    manifest = json.loads((tmp_path / "a" / "b" / MANIFEST).read_text())
    assert (manifest["layout"], manifest["names"]) == (LAYOUT, list(NAMES))
    for name in NAMES:
        script = manifest["scripts"][name]
        assert hot_redis.script_load((tmp_path / "a" / "b" / script["file"]).read_text()) == script["sha1"]
    written = {path.name for path in (tmp_path / "a" / "b").iterdir()}
    assert written == {f"{name}.lua" for name in NAMES} | {MANIFEST, GOLDEN}


def test_a_second_export_replaces_the_first_and_what_an_older_version_wrote(tmp_path: Path) -> None:
    export(tmp_path)
    older = b"#!lua\nreturn 1\n"
    (tmp_path / "trim.lua").write_bytes(older)
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    manifest["files"]["trim.lua"] = hashlib.sha1(older).hexdigest()
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    export(tmp_path)
    assert b"XTRIM" in (tmp_path / "trim.lua").read_bytes()


@pytest.mark.parametrize("name", ["trim.lua", MANIFEST, GOLDEN])
def test_a_file_that_is_not_ours_stays_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(Refused, match="was not written by an export"):
        export(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_an_exported_file_that_somebody_changed_stays(tmp_path: Path) -> None:
    export(tmp_path)
    (tmp_path / "trim.lua").write_text("mine")
    with pytest.raises(Refused, match="was changed since"):
        export(tmp_path)
    assert (tmp_path / "trim.lua").read_text() == "mine"


def test_a_file_in_place_of_the_folder_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    for target in (tmp_path / "file", tmp_path / "file" / "below"):
        assert run(cli, ["scripts", "export", str(target)]) == 1
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert str(target) in said


def test_the_command_says_what_it_wrote(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["scripts", "export", str(tmp_path / "out"), "--json"])
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    assert document["layout"] == LAYOUT
    assert set(document["scripts"]) == set(NAMES)
    assert all((tmp_path / "out" / name).is_file() for name in document["files"])


def test_a_link_in_the_folder_is_not_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / f".golden.json.{os.getpid()}").symlink_to(victim)
    export(folder)
    assert victim.read_text() == "precious"
    assert not (folder / "golden.json").is_symlink()
