"""A pooler in transaction mode: pgbouncer itself, where it is installed; what the engine sets then, and which locks it takes, everywhere."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import pytest
from sqlalchemy import text

from engine.ledger.database import make_engine
from engine.ledger.pooler import set_in_transaction
from engine.settings import Settings
from engine.wiring import PAGES, System
from tests.ports import free_port
from tests.processes.conftest import Load, Processes, brand_of, lost_and_doubled, rows, until, verified

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin") or os.environ.get("TEST_PGBOUNCER")
needs_it = pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed; TEST_PGBOUNCER names its program")


def test_options_of_a_session_become_statements_of_a_transaction() -> None:
    options = (
        "-c search_path=a\\ b -c timezone=UTC -c default_transaction_isolation=read\\ committed -c lock_timeout=1500"
    )
    assert set_in_transaction(options) == (
        "SET TRANSACTION ISOLATION LEVEL read committed; SET LOCAL search_path = 'a b'; SET LOCAL timezone = 'UTC';"
        " SET LOCAL lock_timeout = '1500'"
    )


def test_no_lock_outlives_its_transaction() -> None:
    for path in (Path(__file__).resolve().parents[2] / "engine").rglob("*.py"):
        found = re.findall(r"pg_(?:try_)?advisory_lock\w*", path.read_text(encoding="utf-8"))
        assert found == [], f"{path.name}: behind a pooler a session's lock is kept by whoever comes next"


@pytest.fixture(params=["", "ignore_startup_parameters = options"], ids=["refused", "dropped"])
def pooled(request: pytest.FixtureRequest, environment: dict[str, str], tmp_path: Path) -> Iterator[dict[str, str]]:
    """The settings with pgbouncer before PostgreSQL, which refuses or drops the options of a session."""
    assert PGBOUNCER is not None
    real, port = urlsplit(environment["DATABASE_URL"]), free_port()
    folder = Path("/tmp") / f"pgbouncer-{port}"
    folder.mkdir(mode=0o755)
    (folder / "users.txt").write_text(f'"{real.username}" "{real.password}"\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={real.hostname} port={real.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {port}\nunix_socket_dir =\nauth_type = plain\nauth_file = {folder}/users.txt\n"
        f"pool_mode = transaction\ndefault_pool_size = 6\n{request.param}\n"
    )
    as_root = os.getuid() == 0
    process = subprocess.Popen(
        [PGBOUNCER, "-q", str(folder / "pgbouncer.ini")],
        user="nobody" if as_root else None,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = urlunsplit(real._replace(netloc=real.netloc.replace(f":{real.port}", f":{port}")))

    def answers() -> bool:
        try:
            psycopg2.connect(url).close()
        except psycopg2.OperationalError:
            return False
        return True

    until(answers)
    yield {**environment, "DATABASE_URL": url}
    process.send_signal(signal.SIGTERM)
    process.wait()
    shutil.rmtree(folder)


@needs_it
def test_each_transaction_through_a_pooler_has_the_options_of_a_session(pooled: dict[str, str]) -> None:
    direct = make_engine(pooled["DATABASE_URL"], options=PAGES.options)
    with direct.connect() as conn:
        found = [
            conn.execute(text(f"SHOW {name}")).scalar_one()
            for name in ("timezone", "synchronous_commit", "transaction_isolation", "lock_timeout", "statement_timeout")
        ]
    assert found == ["UTC", "on", "read committed", "1500ms", "8s"]
    direct.dispose()
    with psycopg2.connect(pooled["DATABASE_URL"]) as plain, plain.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("0",), "the next client of the session meets nothing of ours"


@needs_it
def test_everything_works_through_a_pooler_in_transaction_mode(pooled: dict[str, str], tmp_path: Path) -> None:
    system, processes = System(Settings.load(pooled, None)), Processes(pooled, tmp_path)
    try:
        system.rebuilder.rebuild_missing()
        _, campaigns = brand_of(system, "Aurora")
        for queue in ("persist", "jobs", "verify"):
            processes.start("worker", "--queue", queue)
        with Load(pooled["REDIS_URL"], campaigns) as load:
            until(lambda: rows(system, "SELECT count(*) > 300 FROM spend_log") == [(True,)], why=processes.said)
            system.live.unmark(system.instance, 1, "test")
            until(lambda: all(state.ready for state in system.live.read_shards()), why=processes.said)
        until(lambda: not system.persister.waiting(), why=processes.said)
        assert lost_and_doubled(system, load) == (set(), [])
        for words in (["migrate"], ["doctor"], ["check"], ["close-periods"], ["reconcile"], ["brand", "list"]):
            done = processes.start(*words)
            until(lambda done=done: not done.alive)  # type: ignore[misc]
            assert "Traceback" not in done.said and "unexpected" not in done.said, done.said
        assert verified(system) == []
        assert "Traceback" not in processes.said()
    finally:
        processes.end()
        system.close()
