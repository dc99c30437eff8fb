"""A migrated, empty database for each test of the ledger: one migrated template, copied in a blink."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from sqlalchemy import Engine, text

from engine.ledger import migrate
from engine.ledger.catalog import Catalog
from engine.ledger.database import make_engine


@pytest.fixture(scope="session")
def server_url(servers: Any) -> str:
    """The suite's PostgreSQL; its user may create databases."""
    return str(servers.database_url)


def named(url: str, database: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"/{database}"))


@pytest.fixture(scope="session")
def server(server_url: str) -> Iterator[Engine]:
    engine = make_engine(server_url).execution_options(isolation_level="AUTOCOMMIT")
    yield engine
    engine.dispose()


def run(server: Engine, statement: str) -> None:
    with server.connect() as connection:
        connection.execute(text(statement))


@pytest.fixture(scope="session")
def template(server: Engine, server_url: str) -> Iterator[str]:
    """The name of a migrated database that no test touches."""
    name = f"ledger_template_{uuid.uuid4().hex[:8]}"
    run(server, f"CREATE DATABASE {name}")
    engine = make_engine(named(server_url, name))
    migrate.upgrade(engine)
    engine.dispose()
    yield name
    run(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def empty_url(server: Engine, server_url: str) -> Iterator[str]:
    """A database without any table."""
    yield from _database(server, server_url, "template0")


@pytest.fixture
def ledger_url(server: Engine, server_url: str, template: str) -> Iterator[str]:
    """A migrated database without any brand."""
    yield from _database(server, server_url, template)


@pytest.fixture
def engine(ledger_url: str) -> Iterator[Engine]:
    engine = make_engine(ledger_url)
    yield engine
    engine.dispose()


@pytest.fixture
def catalog(engine: Engine) -> Catalog:
    return Catalog(engine)


def _database(server: Engine, server_url: str, template: str) -> Iterator[str]:
    name = f"ledger_{uuid.uuid4().hex[:12]}"
    run(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield named(server_url, name)
    run(server, f"DROP DATABASE {name} WITH (FORCE)")
