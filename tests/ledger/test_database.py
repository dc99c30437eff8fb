"""The door to PostgreSQL: every URL form of libpq passes, a server that is away is named without its password, and nobody runs on a wrong schema."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import DataError

from engine.errors import InvalidSetting, ServerAway, WrongVersion
from engine.ledger import log_rows, migrate, revision, spend_log
from engine.ledger.database import libpq_params, make_engine, wait_for_revision, where
from engine.ledger.models import LOG_TABLES, Base
from tests.ledger.spends import TODAY, row, write

CAMPAIGN = 7 * 65536 + 1


@pytest.fixture
def empty(empty_url: str) -> Iterator[Engine]:
    engine = make_engine(empty_url)
    yield engine
    engine.dispose()


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_every_spelling_of_the_url_reaches_the_server(ledger_url: str, scheme: str) -> None:
    engine = make_engine(scheme + ledger_url[ledger_url.index(":") :] + "?application_name=bids&sslmode=prefer")
    with engine.connect() as connection:
        assert connection.execute(text("SHOW application_name")).scalar_one() == "bids"
    engine.dispose()


@pytest.mark.parametrize(
    ("url", "given"),
    [
        (
            "postgres://u:p@h/db?sslmode=verify-full&sslrootcert=/ca.pem",
            {"sslmode": "verify-full", "sslrootcert": "/ca.pem"},
        ),
        ("postgresql://u@a:1,b:2/db?target_session_attrs=read-write", {"host": "a,b", "port": "1,2"}),
        ("postgresql://%2Frun%2Fpg/db", {"host": "/run/pg", "dbname": "db"}),
        (
            "postgresql://u:p%40%2F@[::1]:6432/db?connect_timeout=2",
            {"host": "::1", "password": "p@/", "connect_timeout": "2"},
        ),
        ("postgresql:///?service=bids", {"service": "bids"}),
    ],
)
def test_what_libpq_understands_is_passed_on(url: str, given: dict[str, str]) -> None:
    params = libpq_params(url)
    assert {name: params[name] for name in given} == given


def test_a_session_is_in_utc_and_waits_for_the_disk_whatever_the_url_says(ledger_url: str) -> None:
    engine = make_engine(ledger_url + "?options=-c%20timezone%3DAsia/Tokyo%20-c%20statement_timeout%3D7s")
    with engine.connect() as connection:
        shown = {
            name: connection.execute(text(f"SHOW {name}")).scalar_one()
            for name in ("timezone", "synchronous_commit", "statement_timeout", "transaction_isolation")
        }
    assert shown == {
        "timezone": "UTC",
        "synchronous_commit": "on",
        "statement_timeout": "7s",
        "transaction_isolation": "read committed",
    }
    engine.dispose()


@pytest.mark.parametrize(
    "url", ["", "mysql://u:secret@h/db", "host=h password=secret", "postgresql://u:secret@h:port/db"]
)
def test_a_wrong_url_is_refused_by_its_settings_name_without_its_password(url: str) -> None:
    with pytest.raises(InvalidSetting, match="DATABASE_URL") as error:
        make_engine(url)
    assert error.value.field == "DATABASE_URL"
    assert "secret" not in str(error.value)


def test_where_shows_every_host_and_no_password() -> None:
    assert where("postgresql://u:secret@a:1,b:2/db") == "a:1,b:2/db"
    assert where("postgres://u:secret@h/db?sslmode=require") == "h:5432/db"


def test_a_server_that_is_away_is_said_to_be_away_in_one_line() -> None:
    engine = make_engine("postgresql://u:secret@127.0.0.1:1/db")
    with pytest.raises(ServerAway) as error, engine.connect():
        pass
    assert (error.value.part, error.value.where) == ("PostgreSQL", "127.0.0.1:1/db")
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)


def test_a_wrong_password_is_told_as_such(ledger_url: str) -> None:
    parts = urlsplit(ledger_url)
    engine = make_engine(f"postgresql://{parts.username}:wrong@{parts.hostname}:{parts.port}{parts.path}")
    with pytest.raises(ServerAway, match="password authentication failed"), engine.connect():
        pass


def kill_session(engine: Engine, pid: int) -> None:
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})


def test_a_connection_cut_in_the_middle_loses_the_transaction_and_says_away(engine: Engine) -> None:
    write(engine, [row(CAMPAIGN)])

    def cut_after_copy() -> None:
        with engine.begin() as connection:
            spend_log.copy_rows(connection, list(log_rows.rows_of([row(CAMPAIGN, n=2)])))
            kill_session(engine, connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
            connection.execute(text("SELECT 1"))

    def cut_before_copy() -> None:
        with engine.begin() as connection:
            kill_session(engine, connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
            spend_log.copy_rows(connection, list(log_rows.rows_of([row(CAMPAIGN, n=3)])))

    def cut_before_commit() -> None:
        with engine.begin() as connection:
            spend_log.copy_rows(connection, list(log_rows.rows_of([row(CAMPAIGN, n=4)])))
            kill_session(engine, connection.execute(text("SELECT pg_backend_pid()")).scalar_one())

    for cut in (cut_after_copy, cut_before_copy, cut_before_commit):
        with pytest.raises(ServerAway):
            cut()
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM spend_log")).scalar_one() == 1


def test_a_connection_that_died_in_the_pool_is_replaced_unseen(engine: Engine, ledger_url: str) -> None:
    with engine.connect() as connection:
        pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    other = make_engine(ledger_url)
    kill_session(other, pid)
    other.dispose()
    with engine.connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1


def test_a_wrong_statement_is_not_taken_for_a_server_that_is_away(engine: Engine) -> None:
    with engine.connect() as connection, pytest.raises(DataError):
        connection.execute(text("SELECT 1 / 0"))


def test_the_migrations_make_the_tables_of_the_models(engine: Engine) -> None:
    with engine.begin() as connection:
        for table in LOG_TABLES:
            spend_log.ensure_partition(connection, TODAY, table)
        options = {"compare_type": True, "compare_server_default": True, "include_name": migrate.include_name}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []
        laws = (
            "SELECT conrelid::regclass::text || ' ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint"
        )
        laws += " WHERE contype IN ('c', 'f') AND connamespace = CAST(:schema AS regnamespace) AND conparentid = 0"
        migrated = set(connection.execute(text(laws), {"schema": "public"}).scalars())
        connection.execute(text("CREATE SCHEMA modelled"))
        connection.execute(text("SET LOCAL search_path TO modelled"))
        Base.metadata.create_all(connection)
        modelled = set(connection.execute(text(laws), {"schema": "modelled"}).scalars())
        connection.execute(text("SET LOCAL search_path TO public"))
        migrated = {law for law in migrated if not law.startswith(tuple(f"{table}_p" for table in LOG_TABLES))}
        connection.rollback()
    assert {law.removeprefix("public.") for law in migrated} == {law.removeprefix("modelled.") for law in modelled}


def test_migrating_twice_changes_nothing_and_down_leaves_nothing(empty: Engine) -> None:
    head = revision.expected()
    assert revision.current(empty) is None
    assert migrate.upgrade(empty) == (None, head)
    with empty.begin() as connection:
        first = connection.execute(text("SELECT uuid FROM instance")).scalar_one()
        spend_log.ensure_partition(connection, TODAY)
    assert migrate.upgrade(empty) == (head, head)
    with empty.connect() as connection:
        assert connection.execute(text("SELECT uuid FROM instance")).scalar_one() == first
    assert migrate.downgrade(empty, "base") == (head, None)
    assert inspect(empty).get_table_names() == ["alembic_version"]
    assert migrate.upgrade(empty) == (None, head)
    with empty.connect() as connection:
        assert connection.execute(text("SELECT uuid FROM instance")).scalar_one() != first


def test_two_programs_that_start_at_once_migrate_once(empty: Engine) -> None:
    barrier = threading.Barrier(3)

    def start(_: int) -> bool:
        barrier.wait()
        return migrate.upgrade(empty).before is None

    with ThreadPoolExecutor(3) as pool:
        assert sorted(pool.map(start, range(3))) == [False, False, True]


def test_a_database_of_a_newer_program_is_refused_and_left_alone(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for call in (lambda: migrate.upgrade(engine), lambda: wait_for_revision(engine)):
        with pytest.raises(WrongVersion, match="9999, which this program does not know"):
            call()
    assert revision.current(engine) == "9999"


def test_a_process_waits_for_the_migration_and_says_so_once(empty: Engine) -> None:
    said: list[str] = []
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            migrate.upgrade(empty)

    assert wait_for_revision(empty, said.append, sleep=sleep) is True
    assert said == [
        f"waiting: the database is at revision none, this program speaks {revision.expected()}: run `budget-engine migrate`"
    ]
    assert len(naps) == 3


def test_a_process_that_is_told_to_stop_waits_no_longer(empty: Engine) -> None:
    assert wait_for_revision(empty, should_stop=lambda: True) is False


def test_waiting_ends_with_what_was_missing(empty: Engine) -> None:
    with pytest.raises(WrongVersion, match="run `budget-engine migrate`"):
        wait_for_revision(empty, timeout_s=0)
    with pytest.raises(ServerAway):
        wait_for_revision(make_engine("postgresql://u:p@127.0.0.1:1/db"), timeout_s=0)
