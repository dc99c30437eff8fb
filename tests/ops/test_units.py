"""The systemd units: hardened, restarted, and understood by systemd itself where it is installed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.ops.given import UNITS, directives, env_file
from tests.ops.programs import checked, program

HARDENED = {
    "DynamicUser": "yes",
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateDevices": "yes",
    "PrivateTmp": "yes",
    "CapabilityBoundingSet": "",
    "SystemCallFilter": "@system-service",
    "RestrictNamespaces": "yes",
}
MOST_EXPOSED = 2.0
"""Of ten, by `systemd-analyze security`; below two it calls a unit OK."""


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_a_unit_is_hardened_and_loads_its_secrets(path: Path) -> None:
    lines = directives(path)
    once = dict(lines)
    assert HARDENED.items() <= once.items()
    assert all(key in ("LoadCredential", "Environment") or [k for k, _ in lines].count(key) == 1 for key, _ in lines)
    assert all(
        re.fullmatch(r"([A-Z_]+):/etc/budget-engine/credentials/\1", v) for k, v in lines if k == "LoadCredential"
    )
    if "migrate" in path.name:
        assert (once["Type"], "Restart" in once, "WantedBy" in once) == ("oneshot", False, False)
    else:
        assert (once["Type"], once["Restart"], once["WantedBy"]) == ("exec", "always", "multi-user.target")
        assert int(once["TimeoutStopSec"]) > 10, "longer than a worker takes to end"


def test_there_is_a_unit_for_each_process() -> None:
    assert [path.name for path in UNITS] == [
        f"budget-engine-{name}.service" for name in ("api", "migrate", "scheduler", "web", "worker")
    ]
    assert env_file()["BUDGET_TRUSTED_PROXIES"] == "127.0.0.1", "nginx of ops/nginx is on this machine"


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_systemd_understands_a_unit_and_calls_it_safe(path: Path, tmp_path: Path) -> None:
    analyze = program("systemd-analyze")
    # The program that it starts is not installed here; any other will do for reading the unit.
    unit = tmp_path / path.name
    unit.write_text(path.read_text().replace("/opt/budget-engine/bin/budget-engine", "/bin/true"))
    checked(analyze, "verify", "--man=no", unit)
    exposure = checked(analyze, "security", "--offline=true", "--no-pager", unit)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", exposure)
    assert found and float(found[1]) < MOST_EXPOSED
