"""A program of another release writes nothing into a database that was migrated by a newer one, or not yet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from sqlalchemy import text

from engine.cli import cli
from engine.cli.group import Command
from engine.errors import WrongVersion
from engine.ledger import migrate, revision, runs
from engine.wiring import System
from tests.cli.conftest import Be
from tests.databases import run_sql

NEWER, OLDER = "9999", "0006"
FREE = {
    "up": "migrates first",
    "env": "prints settings",
    "migrate": "is what moves the revision",
    "doctor": "changes nothing, and tells the revision",
    "worker": "waits for the revision itself, and each of its transactions checks it",
    "spend": "needs no PostgreSQL",
    "cluster balance": "needs no PostgreSQL",
    "scripts export": "needs no server",
    "scripts acl": "needs no server",
}
"""Commands that run on any revision, and why."""
ANSWERS = {
    "web": "checked by itself, where PostgreSQL answers",
    "api": "the same",
    "scheduler": "the same, where DATABASE_URL is set",
}
WORDS = {"file": "/dev/null", "day": "2026-11-23", "first": "2026-11-23", "last": "2026-11-23"}


def commands(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command that the command line has, by its words."""
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None
        if isinstance(found, click.Group):
            yield from commands(found, f"{path}{name} ")
        else:
            yield f"{path}{name}", found


ALL = dict(commands(cli))


def words_for(command: click.Command) -> list[str]:
    """Arguments that let it begin: one for each that it asks for."""
    words: list[str] = []
    for param in command.params:
        if isinstance(param, click.Argument):
            words.append(WORDS.get(param.name or "", "1"))
        elif param.required:
            words += [param.opts[0], WORDS.get(param.name or "", "why")]
    return words


def written(system: System) -> dict[str, int]:
    """How many rows each table has, and how many changes it has seen."""
    with system.db.connect() as conn:
        names = conn.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).scalars().all()
        return {name: conn.execute(text(f"SELECT count(*) FROM {name}")).scalar_one() for name in names}


def at_revision(system: System, name: str) -> None:
    with system.db.begin() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = :name"), {"name": name})


def test_every_command_checks_the_revision_or_says_here_why_it_need_not() -> None:
    assert ALL.keys() >= FREE.keys() | ANSWERS.keys()
    for name, command in ALL.items():
        assert isinstance(command, Command), name
        assert command.any_revision == (name in FREE or name in ANSWERS), name


@pytest.mark.parametrize(("found", "todo"), [(NEWER, "upgrade the program"), (OLDER, "run `budget-engine migrate`")])
def test_no_command_writes_into_a_database_of_another_revision(
    spent: System, be: Be, found: str, todo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_revision(spent, found)
    before, redis_before = written(spent), spent.hot_redis.info("stats")["total_commands_processed"]  # type: ignore[index]
    for name, command in ALL.items():
        if name in FREE:
            continue
        done = be(*name.split(), *words_for(command))
        assert (done.status, done.out) == (1, ""), (name, done)
        assert f"revision {found}" in done.complaint and todo in done.complaint, (name, done)
        assert revision.expected() in done.complaint
    assert written(spent) == before
    assert spent.hot_redis.info("stats")["total_commands_processed"] - redis_before <= 1, "no script was called"  # type: ignore[index]


def test_a_job_that_is_at_work_while_the_database_is_migrated_writes_nothing_more(spent: System) -> None:
    at_revision(spent, NEWER)
    before = written(spent)
    drained = spent.persister.drain()
    assert all("revision 9999" in why for why in drained.problems.values()) and drained.problems
    with pytest.raises(WrongVersion, match="revision 9999"), runs.run(spent.db, "check"):
        raise AssertionError("it must not begin")
    with pytest.raises(WrongVersion, match="upgrade the program"):
        spent.manage.create_brand("late", None, None, None, "test")
    assert written(spent) == before
    assert all(state.ready for state in spent.live.read_shards()), "no shard is taken out of use for it"


def test_every_transaction_that_writes_checks_the_revision() -> None:
    # Those may begin one by themselves: the migration, the end of a run, logins, and doctor, which only reads.
    free = {"ledger/migrate.py", "ledger/runs.py", "ledger/sessions.py", "ledger/logins.py", "ledger/database.py"}
    engine = Path(__file__).resolve().parents[2] / "engine"
    found = {
        str(path.relative_to(engine)): text.count(".begin() as")
        for path in engine.rglob("*.py")
        if "migrations" not in path.parts and "doctor" not in path.parts
        if ".begin() as" in (text := path.read_text(encoding="utf-8"))
    }
    assert found == {
        "ledger/database.py": 1,
        "ledger/migrate.py": 1,
        "ledger/runs.py": 1,
        "ledger/sessions.py": 3,
        "ledger/logins.py": 2,
    }
    assert found.keys() == free


def test_the_revision_is_read_as_alembic_has_it(system: System) -> None:
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(migrate.config())
    assert revision.expected() == scripts.get_current_head()
    assert {found.revision for found in scripts.walk_revisions()} == {
        name for name in (f"{number:04}" for number in range(1, 100)) if revision.known(name)
    }
    assert revision.current(system.db) == revision.expected()
    run_sql(system.db.execution_options(isolation_level="AUTOCOMMIT"), "DROP TABLE alembic_version")
    assert revision.current(system.db) is None
    with pytest.raises(WrongVersion, match="revision none"):
        revision.check(system.db)
