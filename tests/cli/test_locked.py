"""Somebody keeps locked what a command needs: the command ends, says so in a line and names what tells who, and spends go on."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import text

from engine.wiring import LOCKED_S, System
from tests.cli.conftest import Be
from tests.patience import PATIENCE_S

COMMANDS = {
    "brand list": "brand",
    "brand update 1 --daily 200": "brand",
    "campaign pause 65537": "campaign",
    "check": "status_change",
    "persist": "spend_log",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_waits_for_anothers_lock_ends_and_says_so(command: str, be: Be, spent: System) -> None:
    be("spend", "65538", "98")
    with spent.db.connect() as other:
        other.execute(text(f"LOCK TABLE {COMMANDS[command]} IN ACCESS EXCLUSIVE MODE"))
        began = time.monotonic()
        done = be(*command.split())
        assert time.monotonic() - began < LOCKED_S + PATIENCE_S
        assert (done.status, be("spend", "65537", "0.01").status) == (1, 0)
        other.rollback()
    assert "lock" in done.complaint and ("budget-engine doctor" in done.complaint or "shard 1" in done.complaint)
    assert be(*command.split()).status == 0
