"""README.md: what it shows is run, and its figures are those of the benchmarks."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from engine.cli import cli
from engine.cli.run import run
from engine.settings import Settings
from engine.wiring import System
from tests.docs.documents import README, ROOT, blocks

OPERATIONS = ROOT / "docs" / "operations.md"


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


@pytest.mark.parametrize("path", [README, OPERATIONS], ids=lambda path: path.name)
def test_the_commands_answer_word_for_word(
    path: Path,
    ready: System,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    (shown,) = blocks(path, "console")
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
    shown = next(block for block in blocks(OPERATIONS, "sh") if "DATABASE_URL" in block)
    exports = dict(re.findall(r"^export (\w+)=(\S+)$", shown, re.M))
    settings = Settings.load(exports, None)
    assert not settings.embedded
    assert settings.as_environment().items() >= exports.items()


def test_it_is_short_and_half_of_it_is_code_tables_and_pictures() -> None:
    text = README.read_text(encoding="utf-8")
    fenced = "".join(re.findall(r"^```.*?^```$", text, re.M | re.S)).splitlines()
    shown = [line for line in text.splitlines() if line.startswith(("|", "    make", "!["))]
    written = [line for line in text.splitlines() if line.strip()]
    assert len(written) <= 110
    assert 2 * (len(fenced) + len(shown)) >= len(written)


FIGURES = {
    "one `record_spend` a round trip, busy-polling": "one record_spend a round trip",
    "the same, blocking": "the same, asleep while it waits",
    "1,000 spends in one `record_spends`, objects made beforehand": "record_spends of 1,000 Spends, amount_micros",
    "1,000 asyncio callers, one spend each": "asyncio, 1,000 callers with a spend each",
    "`try_spend` of a lease, in memory": "try_spend of a lease, spool included",
    "sustained, every row persisted into PostgreSQL": "sustained into spend_log",
}
"""Rows of the README's table, and the row of RESULTS.md from which each figure is."""


def test_the_figures_are_those_of_the_benchmarks() -> None:
    results = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    measured = dict(re.findall(r"^\| (.+?) \| [^|]+ \| ([\d,]+/s) \| [\d,]+/s \| ", results, re.M)[::-1])
    ratios = dict(re.findall(r"^\| (.+?) \| [^|]+ \| [\d,]+/s \| [\d,]+/s \| ([\d.]+) \| ", results, re.M)[::-1])
    shown = re.findall(r"^\| (.+?) \| ([\d,]+/s) \| ([\d.]+) x ", README.read_text(encoding="utf-8"), re.M)
    assert [name for name, _, _ in shown] == list(FIGURES)
    for name, rate, ratio in shown:
        assert (rate, ratio) == (measured[FIGURES[name]], ratios[FIGURES[name]]), name
    cost = re.search(r"Redis' processor a spend: ([\d.]+) µs alone, ([\d.]+) µs in batches of 1,000", results)
    assert cost
    late = re.search(
        r"^- Single spends at half the highest load \([\d,]+/s\): p50 ([\d.]+) ms, p99 ([\d.]+) ms", results, re.M
    )
    assert late
    text = README.read_text(encoding="utf-8")
    assert f"Single spends at half the highest load take {late[1]} ms (p50) and {late[2]} ms (p99)." in text
    assert f"takes {float(cost[1]):.0f} µs of Redis' CPU, a spend in a batch of 1,000 takes {cost[2]} µs" in text


def test_it_says_what_the_package_asks_for() -> None:
    text = README.read_text(encoding="utf-8")
    assert 'requires-python = ">=3.11"' in (ROOT / "pyproject.toml").read_text()
    assert "Python 3.11" in text
    picture = ROOT / "docs" / "images" / "budgets.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < 300_000


def _with(named: dict[str, str]) -> dict[str, str]:
    return {**{k: v for k, v in os.environ.items() if not k.endswith("_URL")}, **named, "PYTHONPATH": str(ROOT)}
