"""README.md: what it shows is run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys

import pytest

from engine.cli import cli
from engine.cli.run import run
from engine.settings import Settings
from engine.wiring import System
from tests.docs.documents import README, ROOT, blocks


@pytest.fixture
def ready(system: System) -> System:
    """A whole system on empty servers, as `up` leaves it."""
    system.rebuilder.rebuild()
    return system


def test_the_first_spend_from_python_is_what_it_says(ready: System, environment: dict[str, str]) -> None:
    brand = ready.manage.create_brand("Nordlicht", 100_000_000, None, None, "test").row
    ready.manage.create_campaign(brand.id, "Launch", None, None, "test")
    (snippet,) = blocks(README, "python")
    assert len([line for line in snippet.splitlines() if line]) == 5
    for named in (environment, {"REDIS_URL": environment["REDIS_URL"], "BUDGET_ENV_FILE": os.devnull}):
        done = subprocess.run(
            [sys.executable, "-c", snippet], env=_with(named), cwd=ROOT, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        asked, told, status = done.stdout.splitlines()
        assert asked.startswith("SpendResult('accepted', campaign_id=65537, reasons=()")
        assert told.startswith("SpendResult('recorded'" if named is environment else "SpendResult('duplicate'")
        assert status == "CampaignStatus('active', reasons=())"
    assert "0.003702" in done.stdout


def test_the_commands_answer_word_for_word(
    ready: System, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    (shown,) = blocks(README, "console")
    assert shown == _answered(shown, capsys)


def _answered(shown: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The same commands with what they print."""
    out = ""
    for line in shown.splitlines():
        if line.startswith("$ "):
            program, *words = shlex.split(line[2:])
            assert program == "budget-engine"
            run(cli, words)
            said = capsys.readouterr()
            assert not said.err
            out += f"{line}\n{said.out}"
    return out


def test_the_urls_it_shows_are_settings_that_load() -> None:
    (shown,) = blocks(README, "sh")
    exports = dict(re.findall(r"^export (\w+)=(\S+)$", shown, re.M))
    settings = Settings.load(exports, None)
    assert not settings.embedded
    assert settings.as_environment().items() >= exports.items()


def test_it_says_what_the_package_asks_for() -> None:
    text = README.read_text(encoding="utf-8")
    assert 'requires-python = ">=3.11"' in (ROOT / "pyproject.toml").read_text()
    assert "Python 3.11" in text
    picture = ROOT / "docs" / "images" / "status.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < 300_000


def _with(named: dict[str, str]) -> dict[str, str]:
    return {**{k: v for k, v in os.environ.items() if not k.endswith("_URL")}, **named, "PYTHONPATH": str(ROOT)}
