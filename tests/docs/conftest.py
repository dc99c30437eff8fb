"""The planted Redis and the movable clock of the hot path's tests, for the documents that show it."""

from __future__ import annotations

from tests.live.conftest import clock, live, plain, plant, wire

__all__ = ["clock", "live", "plain", "plant", "wire"]
