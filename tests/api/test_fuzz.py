"""A short run of `make api-fuzz`."""

from __future__ import annotations

from engine.wiring import System
from tests.api.fuzz import fuzz


def test_no_request_that_is_made_from_the_document_gets_an_error_of_the_server(ready: System) -> None:
    statuses = fuzz(ready, examples=3, seeded=1)
    assert {200, 201, 404, 422} <= set(statuses) and sum(statuses.values()) > 50, statuses
