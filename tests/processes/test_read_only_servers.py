"""A standby and a replica are named as what they are, and a list of PostgreSQL servers survives the loss of its primary."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest
import redis
from sqlalchemy import text

from engine.errors import ServerAway
from engine.local.postgres import Postgres
from engine.settings import Settings
from engine.wiring import System
from tests.databases import named_database
from tests.processes.conftest import (
    Load,
    Own,
    brand_of,
    lost_and_doubled,
    own_servers,
    ready,
    rows,
    until,
    verified,
)
from tests.processes.standby import promote, replayed, standby_of, url_of
from web import create_app


@pytest.fixture
def pair(tmp_path: object) -> Iterator[tuple[Own, Postgres]]:
    """Own servers with a ready system, and a standby of their PostgreSQL."""
    for own in own_servers(tmp_path):  # type: ignore[arg-type]
        own.system.rebuilder.rebuild_missing()
        standby = standby_of(own.postgres)
        try:
            yield own, standby
        finally:
            own.processes.end()
            standby.stop()


def system_at(own: Own, url: str) -> System:
    return System(Settings.load({**own.environment, "DATABASE_URL": url}, None))


def looked_at(system: System) -> dict[str, tuple[str, str]]:
    return {part.key: (part.state, part.detail) for part in system.overview.health().parts}


def test_a_standby_is_down_for_readyz_and_doctor_and_a_change_on_it_says_so_in_one_line(
    pair: tuple[Own, Postgres],
) -> None:
    own, standby = pair
    replayed(own.postgres, standby)
    system = system_at(own, url_of(standby))
    try:
        state, detail = looked_at(system)["postgresql"]
        assert state == "down" and "a standby" in detail and "target_session_attrs=read-write" in detail
        assert "\n" not in detail
        answer = create_app(system).test_client().get("/readyz")
        assert (answer.status_code, answer.json["parts"]["postgresql"]) == (503, "down")  # type: ignore[index]
        with pytest.raises(ServerAway, match="it takes no writes: it is a standby"):
            system.manage.create_brand("late", None, None, None, "test")
        for words in (["doctor"], ["brand", "create", "late"]):
            own.processes.environment["DATABASE_URL"] = url_of(standby)
            done = own.processes.start(*words)
            until(lambda done=done: not done.alive)  # type: ignore[misc]
            assert "standby" in done.said and "Traceback" not in done.said, done.said
        promote(standby)
        until(lambda: system.overview.health().parts[1].state == "ok")
        assert system.manage.create_brand("late", None, None, None, "test").row.id
    finally:
        system.close()


def test_a_database_that_was_set_read_only_is_down_too(system: System, environment: dict[str, str]) -> None:
    system.rebuilder.rebuild_missing()
    name = environment["DATABASE_URL"].rpartition("/")[2]
    with system.db.begin() as conn:
        conn.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
    fresh = System(
        Settings.load({**environment, "DATABASE_URL": named_database(environment["DATABASE_URL"], name)}, None)
    )
    try:
        state, detail = looked_at(fresh)["postgresql"]
        assert state == "down" and "set read-only" in detail
        with pytest.raises(ServerAway, match="it takes no writes"):
            fresh.manage.create_brand("late", None, None, None, "test")
    finally:
        fresh.close()


def test_a_redis_that_is_a_read_only_replica_is_down_for_readyz(system: System, hot_redis: redis.Redis) -> None:
    system.rebuilder.rebuild_missing()
    until(lambda: looked_at(system)["redis"][0] == "ok")
    hot_redis.replicaof("127.0.0.1", 1)  # type: ignore[arg-type]
    try:
        until(lambda: "it is a read-only replica; point REDIS_URL at the primary" in looked_at(system)["redis"][1])
        assert looked_at(system)["redis"][0] == "down"
        answer = create_app(system).test_client().get("/readyz")
        assert (answer.status_code, answer.json["parts"]["redis"]) == (503, "down")  # type: ignore[index]
    finally:
        hot_redis.replicaof("NO", "ONE")  # type: ignore[arg-type]
    until(lambda: looked_at(system)["redis"][0] == "ok")


def test_a_jobs_redis_that_is_a_read_only_replica_is_down_for_readyz(system: System, jobs_redis: redis.Redis) -> None:
    jobs_redis.replicaof("127.0.0.1", 1)  # type: ignore[arg-type]
    try:
        until(lambda: "point JOBS_REDIS_URL at the primary" in looked_at(system)["jobs_redis"][1])
        assert looked_at(system)["jobs_redis"][0] == "down"
    finally:
        jobs_redis.replicaof("NO", "ONE")  # type: ignore[arg-type]


@pytest.mark.long
def test_every_process_works_with_a_list_of_servers_and_a_failover_of_postgresql_under_load_loses_nothing(
    pair: tuple[Own, Postgres],
) -> None:
    own, standby = pair
    # The standby stands first, so that each process must pass it over.
    url = url_of(standby, own.postgres)
    own.processes.environment["DATABASE_URL"] = url
    system = system_at(own, url)
    try:
        _, campaigns = brand_of(system, "Aurora")
        worker = own.processes.start("worker", "--queue", "persist")
        others = [own.processes.start("worker", "--queue", "jobs"), own.processes.start("scheduler")]
        with Load(own.environment["REDIS_URL"], campaigns) as load:
            until(lambda: rows(system, "SELECT count(*) > 200 FROM spend_log") == [(True,)], why=own.processes.said)
            process = own.postgres.process
            assert process is not None
            process.send_signal(signal.SIGKILL)
            process.wait()
            own.postgres.stop()
            time.sleep(0.5)
            promote(standby)
            before = len(load.acknowledged)
            until(lambda: len(load.acknowledged) > before + 100, why=own.processes.said)
            assert load.unavailable == 0, "bidders do not notice"
        until(lambda: ready(system) and not system.persister.waiting(), why=own.processes.said)
        assert lost_and_doubled(system, load) == (set(), [])
        for words in (["persist"], ["check"], ["brand", "list"], ["verify"]):
            done = own.processes.start(*words)
            until(lambda done=done: not done.alive)  # type: ignore[misc]
            assert done.process.returncode == 0, done.said
        assert verified(system) == []
        assert all(each.alive for each in (worker, *others)), own.processes.said()
        assert "Traceback" not in own.processes.said()
    finally:
        system.close()
