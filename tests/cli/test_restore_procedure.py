"""The procedure of docs/operations.md after a restore, command by command as it stands there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.wiring import System
from tests.backup import Backup
from tests.cli.conftest import Be
from tests.cli.test_doctor_and_verify import findings

OPERATIONS = Path(__file__).resolve().parents[2] / "docs" / "operations.md"


def procedure() -> list[list[str]]:
    """The commands of the numbered steps, in order."""
    section = OPERATIONS.read_text(encoding="utf-8").partition("## Backups and restoring")[2].partition("\n## ")[0]
    steps = "\n".join(re.findall(r"^\d\. .*$", section, re.M))
    return [shlex.split(command)[1:] for command in re.findall(r"`(budget-engine [^`]+)`", steps)]


@pytest.mark.long
def test_the_procedure_of_the_documents_brings_a_restored_catalog_and_redis_together(
    be: Be, spent: System, backup: Callable[[], Backup]
) -> None:
    be("persist")
    earlier = backup()
    be("brand", "update", "1", "--daily", "12")
    be("brand", "create", "Borealis", "--daily", "7")
    be("campaign", "create", "2", "Launch")
    be("campaign", "create", "1", "Autumn")
    be("spend", "131073", "6")
    be("spend", "65537", "1")
    earlier.restore()
    doctor = findings(be("doctor", "--json"))
    assert "an older PostgreSQL came back" in doctor["catalog changes"]["detail"]
    commands = procedure()
    assert [words[0] for words in commands] == ["migrate", "persist", "check", "doctor", "verify"]
    for words in commands:
        done = be(*words)
        assert done.status == 0 or words[0] == "doctor", (words, done.out, done.err)
    assert findings(be("doctor", "--json"))["catalog changes"]["state"] == "ok"
    assert be("brand", "create", "Corona", "--daily", "10", "--json").document["id"] == 3
    assert be("brand", "update", "1", "--daily", "5").status == 0
    brand, lost = spent.live.read_brand(1, 0), spent.live.read_brand(2, 0)
    assert brand is not None and lost is not None
    assert (brand.daily_limit, brand.daily_spend) == (5_000_000, 4_750_000)
    assert (lost.archived, lost.daily_spend) == (True, 6_000_000)
    assert be("verify").status == 0
