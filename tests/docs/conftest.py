"""The fixtures of tests/live, with test data in Redis and a movable clock, for documents that show the hot path."""

from __future__ import annotations

from tests.live.conftest import clock, live, plain, plant, wire

__all__ = ["clock", "live", "plain", "plant", "wire"]
