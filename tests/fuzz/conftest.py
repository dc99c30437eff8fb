from __future__ import annotations

from tests.flows.conftest import ready

__all__ = ["ready"]
