"""docs/bidders.md: its Python is run from top to bottom, and its tables name the client's own values."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

from engine import AsyncBudgetClient, BudgetClient
from engine.client.aio.client import MAX_WAITING
from engine.live.replies import (
    ACCEPTED,
    CONFLICT,
    COUNTED_WORDS,
    DUPLICATE,
    NOT_READY,
    RECORDED,
    REFUSED,
    UNKNOWN_CAMPAIGN,
)
from engine.wiring import System
from tests.docs.documents import ROOT, blocks
from tests.patience import PATIENCE_S

BIDDERS = ROOT / "docs" / "bidders.md"
TEXT = BIDDERS.read_text(encoding="utf-8")


def test_the_code_for_bidders_runs_from_top_to_bottom(
    system: System, environment: dict[str, str], tmp_path: Path
) -> None:
    system.rebuilder.rebuild()
    brand = system.manage.create_brand("Nordlicht", 100_000_000, None, None, "test").row
    system.manage.create_campaign(brand.id, "Launch", None, None, "test")
    code = "\n".join(blocks(BIDDERS, "python")).replace("/var/lib/bidder", str(tmp_path)) + "\nclient.close()"
    # What the calls do is looked at, and not how soon: a busy machine may need more than a quarter of a second.
    code, clients = re.subn(r"Client\.from_env\(\)", f"Client.from_env(timeout_ms={int(PATIENCE_S * 1000)})", code)
    assert clients == 2
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_URL")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**kept, **environment, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=4 * PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["['recorded', 'recorded']", "True", "True", "accepted settled", "100"]
    plan = system.live.read_brand(brand.id, 0)
    assert plan is not None
    assert plan.daily_spend == 250_000 + 1_500 + 1_234 + 1_250_000 + 100 * 10_000


def test_the_defaults_for_bidders_are_those_of_the_client() -> None:
    options = inspect.signature(BudgetClient.from_url).parameters
    for name in ("timeout_ms", "busy_poll_us"):
        assert f"| `{name}` | {options[name].default} |" in TEXT
    assert f"| `ttl` | {inspect.signature(BudgetClient.lease).parameters['ttl'].default} s |" in TEXT
    assert f"({MAX_WAITING:,} by default)" in TEXT


def test_the_outcomes_for_bidders_are_true_where_the_client_s_are() -> None:
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| (yes|no) \| ", TEXT, re.M)
    listed = {outcome: true == "yes" for outcomes, true in rows for outcome in re.findall(r"`(\w+)`", outcomes)}
    assert listed.keys() == {RECORDED, ACCEPTED, REFUSED, DUPLICATE, CONFLICT, UNKNOWN_CAMPAIGN, NOT_READY}
    assert {outcome for outcome, true in listed.items() if true} == set(COUNTED_WORDS)


def test_every_call_for_bidders_is_one_that_the_clients_have() -> None:
    for name in re.findall(r"`(?:client\.)?([a-z_]+)\([^`]*\)`", TEXT):
        assert hasattr(BudgetClient, name) or hasattr(AsyncBudgetClient, name) or f"def {name}(" in _sources(), name


def _sources() -> str:
    return "".join(path.read_text(encoding="utf-8") for path in (ROOT / "engine").rglob("*.py"))
