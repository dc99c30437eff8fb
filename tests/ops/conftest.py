"""Real processes, for tests that start what an operator's files start."""

from __future__ import annotations

from tests.processes.conftest import processes

__all__ = ["processes"]
