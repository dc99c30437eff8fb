"""Real servers for the test suite: embedded ones, or those of TEST_REDIS_URL, TEST_JOBS_REDIS_URL and
TEST_DATABASE_URL.

Named servers must be empty, or marked by an earlier run of the suite, because the tests wipe them. The suite never
reads `.env` or the production settings.
"""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from sqlalchemy import Engine

from engine.ledger import migrate
from engine.ledger.database import make_engine
from engine.local.servers import EmbeddedServers, Urls
from engine.settings import TABLE, Settings
from engine.wiring import System
from tests import compile_once, midnight
from tests.backup import Backup
from tests.databases import Databases, named_database, run_sql
from tests.faults.figures import pytest_terminal_summary
from tests.first_start import FirstStart
from tests.in_memory import folder_in_memory

__all__ = ["pytest_terminal_summary"]

SUITE_MARK = "budget-engine:test-suite"
TEST_URLS = ("TEST_REDIS_URL", "TEST_JOBS_REDIS_URL", "TEST_DATABASE_URL")


def pytest_collection_finish() -> None:
    """Excludes imported modules and collected tests from garbage collection, because they stay until the end."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """No test begins so late in a day that it would end in the next."""
    midnight.wait_over(midnight.LONG_S if item.get_closest_marker("long") else midnight.QUICK_S)


@pytest.fixture(scope="session", autouse=True)
def _unset_environment() -> Iterator[None]:
    """Removes a developer's own settings from the environment."""
    with pytest.MonkeyPatch.context() as patch:
        for setting in TABLE:
            patch.delenv(setting.name, raising=False)
            patch.delenv(f"{setting.name}_FILE", raising=False)
        patch.setenv("BUDGET_ENV_FILE", os.devnull)
        yield


@pytest.fixture(scope="session", autouse=True)
def _compile_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        compile_once.install(patch)
        yield


@pytest.fixture(scope="session")
def servers() -> Iterator[Urls]:
    """Starts the suite's servers where none are named; yields their URLs."""
    named = [os.environ.get(name, "") for name in TEST_URLS]
    if any(named):
        if not all(named):
            pytest.exit(f"set all of {', '.join(TEST_URLS)}, or none for embedded servers", 2)
        _refuse_foreign_keys(named)
        yield Urls(*named)
        return
    folder = Path(tempfile.mkdtemp(prefix="budget engine tests ", dir=folder_in_memory()))
    embedded = EmbeddedServers(folder / "data")
    try:
        yield embedded.start(may_create_databases=True)
    finally:
        embedded.remove()
        shutil.rmtree(folder, ignore_errors=True)


def _refuse_foreign_keys(urls: list[str]) -> None:
    for name, url in zip(TEST_URLS[:2], urls, strict=False):
        with redis.Redis.from_url(url) as plain:
            if plain.dbsize() and not plain.exists(SUITE_MARK):
                pytest.exit(f"{name} holds keys that are not the test suite's: give an empty Redis", 2)
            plain.set(SUITE_MARK, 1)


@pytest.fixture(scope="session")
def hot_url(servers: Urls) -> str:
    return servers.hot


@pytest.fixture(scope="session")
def hot_port(hot_url: str) -> int:
    return urlsplit(hot_url).port or 6379


@pytest.fixture
def hot_redis(hot_url: str) -> Iterator[redis.Redis]:
    """A client of the hot Redis, which is emptied first."""
    with redis.Redis.from_url(hot_url) as plain:
        _empty(plain)
        yield plain


@pytest.fixture
def jobs_redis(servers: Urls) -> Iterator[redis.Redis]:
    """A client of RQ's Redis, which is emptied first."""
    with redis.Redis.from_url(servers.jobs) as plain:
        _empty(plain)
        yield plain


def _empty(plain: redis.Redis) -> None:
    plain.flushdb()
    plain.set(SUITE_MARK, 1)


@pytest.fixture(scope="session")
def server_url(servers: Urls) -> str:
    """The URL of PostgreSQL's maintenance database."""
    return servers.database


@pytest.fixture(scope="session")
def postgres(server_url: str) -> Iterator[Engine]:
    """An engine for CREATE and DROP DATABASE."""
    engine = make_engine(server_url).execution_options(isolation_level="AUTOCOMMIT")
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def template(postgres: Engine, server_url: str) -> Iterator[str]:
    """The name of a migrated database that no test changes; a copy of it is made in milliseconds."""
    name = f"test_template_{uuid.uuid4().hex[:8]}"
    run_sql(postgres, f"CREATE DATABASE {name}")
    engine = make_engine(named_database(server_url, name))
    migrate.upgrade(engine)
    engine.dispose()
    yield name
    run_sql(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def databases(postgres: Engine, server_url: str, template: str) -> Iterator[Databases]:
    made = Databases(postgres, server_url, template)
    yield made
    made.close()


@pytest.fixture
def empty_url(postgres: Engine, server_url: str) -> Iterator[str]:
    """The URL of a database without tables."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    run_sql(postgres, f"CREATE DATABASE {name} TEMPLATE template0")
    yield named_database(server_url, name)
    run_sql(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def ledger_url(databases: Databases, server_url: str) -> Iterator[str]:
    """The URL of a migrated database without brands; it has the instance uuid of its template."""
    name = databases.take()
    yield named_database(server_url, name)
    databases.give_back(name)


@pytest.fixture
def environment(servers: Urls, hot_redis: redis.Redis, jobs_redis: redis.Redis, ledger_url: str) -> dict[str, str]:
    """Settings of a process on the suite's servers, which are empty."""
    return {
        "REDIS_URL": servers.hot,
        "JOBS_REDIS_URL": servers.jobs,
        "DATABASE_URL": ledger_url,
        "BUDGET_ENV_FILE": os.devnull,
        "SECRET_KEY": "tests-only",
        # `make packed` runs tests in the other form of the log.
        "SPEND_LOG": os.environ.get("TEST_SPEND_LOG", "rows"),
    }


@pytest.fixture
def system(environment: dict[str, str]) -> Iterator[System]:
    """The services on empty servers: a migrated database without brands, Redis without marks."""
    made = System(Settings.load(environment, None))
    yield made
    made.close()


@pytest.fixture(scope="session")
def first_start(template: str) -> FirstStart:
    """Makes a `system` ready. It copies from this one template database."""
    return FirstStart()


@pytest.fixture
def ready(system: System, first_start: FirstStart) -> System:
    """The system after its first start: the rebuild of an empty log."""
    first_start.make(system)
    return system


@pytest.fixture
def backup(postgres: Engine, system: System) -> Iterator[Callable[[], Backup]]:
    """Takes backups of the system's database."""
    made: list[Backup] = []

    def take() -> Backup:
        made.append(Backup(postgres, system))
        return made[-1]

    yield take
    for one in made:
        one.remove()
