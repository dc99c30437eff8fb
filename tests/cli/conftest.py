"""The command line on empty real servers: `be("brand", "list")` runs one command in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from engine.cli import cli
from engine.cli.run import run
from engine.wiring import System


@dataclass(frozen=True)
class Done:
    """The result of one command: exit status, stdout and stderr."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)

    @property
    def complaint(self) -> str:
        """The one line on stderr."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("budget-engine: ")
        assert "Traceback" not in self.err
        return lines[0].removeprefix("budget-engine: ")


Be = Callable[..., Done]


@pytest.fixture
def be(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Be:
    """Runs `budget-engine` with arguments, under the settings of this test."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def called(*words: str) -> Done:
        capsys.readouterr()
        status = run(cli, words)
        output = capsys.readouterr()
        return Done(status, output.out, output.err)

    return called


@pytest.fixture
def spent(be: Be, ready: System) -> System:
    """A brand with two campaigns and three spends, of which one is not in PostgreSQL yet."""
    be("brand", "create", "Acme", "--daily", "100")
    be("campaign", "create", "1", "Spring")
    be("campaign", "create", "1", "Summer")
    be("spend", "65537", "1.5", "--event-id", "win-1")
    be("spend", "65538", "2")
    be("persist")
    be("spend", "65537", "0.25")
    return ready
