"""Fixtures of the embedded servers' tests: a folder with a space in its name, and waiting with a deadline."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.local.servers import EmbeddedServers
from tests.patience import PATIENCE_S


def until(what: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
    """Waits until `what` holds; fails the test when it does not in time."""
    deadline = time.monotonic() + patience_s
    while not what():
        assert time.monotonic() < deadline, f"not within {patience_s:.0f} s"
        time.sleep(0.02)


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="a folder "))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def data_dir(folder: Path) -> Iterator[Path]:
    """The data folder of a test's servers, removed at the end."""
    yield folder / "my data"
    EmbeddedServers(folder / "my data").remove()
