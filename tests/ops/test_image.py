"""The Dockerfile. No engine of containers is needed: its steps of the first stage are run in a folder, and what they make is started read-only."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.ops.programs import ROOT
from tests.test_packaging import _NO_INDEX


class Step(NamedTuple):
    """One instruction."""

    word: str
    rest: str


def stages() -> list[list[Step]]:
    """The instructions of each stage; what stands above the first FROM is left out."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    joined = re.sub(r"\\\n\s*", " ", re.sub(r"^#.*\n", "", text, flags=re.M))
    found: list[list[Step]] = []
    for line in filter(None, joined.splitlines()):
        step = Step(*line.split(" ", 1))
        if step.word == "FROM":
            found.append([])
        if found:
            found[-1].append(step)
    return found


def of(stage: list[Step], word: str) -> list[str]:
    return [step.rest for step in stage if step.word == word]


def copied() -> list[str]:
    """The files and folders of the checkout that the first stage copies."""
    return [name for rest in of(stages()[0], "COPY") for name in rest.split()[:-1]]


def test_the_last_stage_is_small_and_its_user_owns_nothing() -> None:
    build, last = stages()
    assert build[0].rest == "${PYTHON_IMAGE} AS build" and last[0].rest == "${PYTHON_IMAGE}"
    (base,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", (ROOT / "Dockerfile").read_text(), re.M)
    assert re.fullmatch(r"docker\.io/library/python:3\.\d+-slim-bookworm", base), "Debian, and so glibc"
    assert of(last, "COPY") == ["--from=build /opt/budget-engine /opt/budget-engine"]
    assert not re.search(r"apt|pip|gcc|chmod|chown", " ".join(of(last, "RUN")))
    assert of(last, "USER") == ["10001:10001"]
    words = [step.word for step in last]
    assert words.index("USER") > words.index("COPY")
    assert json.loads(of(last, "ENTRYPOINT")[0]) == ["budget-engine"]
    assert json.loads(of(last, "CMD")[0]) == ["web"]
    assert of(last, "EXPOSE") == ["8000 8001"]


def test_everything_that_is_fetched_has_a_digest() -> None:
    for command in re.findall(r"-m pip (?:--python \S+ )?\w+ [^&]*", " ".join(of(stages()[0], "RUN"))):
        assert "--require-hashes" in command or "--no-index" in command or "--no-deps --no-build-isolation" in command
        assert "--no-build-isolation" in command or "--no-index" in command


def test_only_what_is_copied_may_enter_the_build_and_no_secret_does() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == set(copied())
    assert all((ROOT / name).exists() for name in copied())
    for secret in (".env", "secrets", ".git", ".data"):
        assert not any(fnmatch.fnmatch(secret, name) for name in copied())


def test_the_files_for_systemd_are_put_where_the_units_look_for_them(tmp_path: Path) -> None:
    section = (ROOT / "docs" / "install.md").read_text(encoding="utf-8").partition("## Systemd\n")[2]
    put = blocks_of(section)[1]
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    run_steps(re.sub(r" /etc/", f" {tmp_path}/etc/", put), ROOT)
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    names = {
        f"etc/systemd/system/budget-engine-{name}.service" for name in ("api", "migrate", "scheduler", "web", "worker")
    }
    assert found == names | {"etc/budget-engine/budget-engine.env"}
    assert (tmp_path / "etc/budget-engine/credentials").stat().st_mode & 0o777 == 0o700


def blocks_of(section: str) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```$", section, re.M | re.S)


def run_steps(commands: str, folder: Path) -> None:
    """Runs commands as the build would. Skips where pip cannot reach its index."""
    environ = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environ |= {
        "PATH": f"{Path(sys.base_prefix) / 'bin'}:{os.environ['PATH']}",
        "PIP_CONSTRAINT": "",
        "PIP_RETRIES": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    done = subprocess.run(
        ["sh", "-euc", commands], cwd=folder, env=environ, capture_output=True, text=True, timeout=500
    )
    if any(sign in done.stderr for sign in _NO_INDEX):
        pytest.skip(f"pip cannot reach its index: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
