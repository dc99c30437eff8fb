"""A database that is given again is as a fresh copy, whatever the test before did to it."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, text

from engine.client.sync import Spend
from engine.ledger.database import make_engine
from engine.settings import Settings
from engine.wiring import System
from tests.databases import RESTING, Databases, named_database
from tests.first_start import FirstStart

TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
STANDING = ("SELECT * FROM alembic_version", "SELECT * FROM instance", "SELECT * FROM journal_cursor ORDER BY shard")
INDEX = "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 'campaign'::regclass AND NOT indisunique"
NEXT_IDS = "SELECT sequencename, last_value FROM pg_sequences ORDER BY 1"


def seen(databases: Databases, name: str) -> list[Any]:
    """Everything in a database, and the ids that come next."""
    engine = make_engine(named_database(databases.url, name))
    with engine.connect() as connection:
        found: list[Any] = [connection.execute(text(query)).all() for query in (TABLES, *STANDING, NEXT_IDS)]
        found += [connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() for (table,) in found[0]]
    engine.dispose()
    return found


@pytest.fixture
def fresh(postgres: Engine, server_url: str, template: str) -> Databases:
    return Databases(postgres, server_url, template)


def number(databases: Databases, name: str) -> int:
    """PostgreSQL's own number of a database: a copy that is made anew has another."""
    with databases.postgres.connect() as connection:
        found = connection.execute(text("SELECT oid FROM pg_database WHERE datname = :name"), {"name": name})
        return int(found.scalar_one())


def given_again(databases: Databases) -> str:
    """What is given when it is the turn of the first that was given back."""
    for name in [databases.take() for _ in range(RESTING)]:
        databases.give_back(name)
    return databases.take()


def test_one_that_a_system_has_written_into_is_given_again_under_another_name_as_it_was_made(
    fresh: Databases, environment: dict[str, str]
) -> None:
    name = fresh.take()
    made, which = seen(fresh, name), number(fresh, name)
    system = System(Settings.load({**environment, "DATABASE_URL": named_database(fresh.url, name)}, None))
    FirstStart().make(system)
    brand = system.manage.create_brand("Aurora", 9_000_000, None, None, "test").row
    (campaign,) = system.manage.create_campaigns(brand.id, ["c"], "test")
    system.client.record_spends([Spend(campaign.id, "0.001")] * 1000)
    system.status.refresh(system.persister.drain_all().changed_brands)
    assert seen(fresh, name) != made
    fresh.give_back(name)  # with its connections open
    again = given_again(fresh)
    assert again != name
    assert number(fresh, again) == which
    assert seen(fresh, again) == made
    system.close()
    fresh.give_back(again)
    fresh.close()


CHANGES = (
    "ALTER TABLE campaign ADD COLUMN more int",
    "ALTER TABLE campaign ALTER COLUMN name DROP NOT NULL",
    "ALTER TABLE journal_cursor ADD CONSTRAINT broken CHECK (shard <> 3) NOT VALID",
    "CREATE TABLE more (id int)",
    "CREATE INDEX more ON brand (name, id)",
    "DROP INDEX {index}",
    "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "ALTER SEQUENCE brand_id_seq MAXVALUE 9",
    "CREATE RULE none AS ON DELETE TO hold DO INSTEAD NOTHING",
    "REVOKE INSERT ON brand FROM CURRENT_USER",
)


def test_one_whose_tables_a_test_has_changed_is_not_given_again(fresh: Databases) -> None:
    name = fresh.take()
    made, which = seen(fresh, name), number(fresh, name)
    engine = make_engine(named_database(fresh.url, name))
    with engine.connect() as connection:
        index = connection.execute(text(INDEX)).scalars().first()
        for change in CHANGES:
            assert fresh.untouched(connection)
            connection.execute(text(change.format(index=index)))
            assert not fresh.untouched(connection), change
            connection.rollback()
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE brand RENAME TO brand_away"))
    engine.dispose()
    fresh.give_back(name)
    again = given_again(fresh)
    assert number(fresh, again) != which
    assert seen(fresh, again) == made
    fresh.give_back(again)
    fresh.close()
