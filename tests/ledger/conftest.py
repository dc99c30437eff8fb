"""Fixtures of the ledger's tests: a migrated, empty database for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from engine.ledger.catalog import Catalog
from engine.ledger.database import make_engine


@pytest.fixture
def engine(ledger_url: str) -> Iterator[Engine]:
    made = make_engine(ledger_url)
    yield made
    made.dispose()


@pytest.fixture
def catalog(engine: Engine) -> Catalog:
    return Catalog(engine)
