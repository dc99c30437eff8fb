"""A disk that is full: the server's writes fail, as they do when a process may not make files longer."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from engine.local.bound import processes_in
from engine.local.server import Server
from tests.processes.conftest import Load, Own, back, brand_of, count, lost_and_doubled, own, ready, until, verified

__all__ = ["own"]


def _limit(server: Server, pids: list[int], size: str) -> None:
    # By the servers' user: root may not everywhere limit what another runs.
    account = server.data.account
    who = {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}
    for pid in pids:
        done = subprocess.run(["prlimit", f"--pid={pid}", f"--fsize={size}:"], cwd="/", **who)
        # One of PostgreSQL's helpers may have ended meanwhile.
        assert done.returncode == 0 or pid not in processes_in(server.folder)


@contextmanager
def full(server: Server) -> Iterator[None]:
    """No file of the server grows any more; a write beyond what a file has fails."""
    limited = processes_in(server.folder)
    assert limited
    _limit(server, limited, "0")
    try:
        yield
    finally:
        alive = [pid for pid in processes_in(server.folder) if pid in limited]
        if alive:
            _limit(server, alive, "unlimited")


def told_of_long_files(own: Own) -> None:
    """Starts the hot Redis so that a file that may not grow is an error of the write, as a full disk is, and no signal."""
    own.hot.stop()
    spawn = own.hot.spawn
    ignoring = ("/bin/sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh")
    own.hot.spawn = lambda args, config=b"": spawn([*ignoring, *args], config)  # type: ignore[method-assign]
    back(own.hot)


@pytest.mark.long
def test_a_redis_whose_disk_is_full_takes_no_spend_and_a_spend_sent_again_later_counts_once(
    own: Own,
) -> None:
    told_of_long_files(own)
    own.processes.start("worker", "--queue", "persist")
    own.system.rebuilder.rebuild(range(64))
    campaigns = [c for i in range(4) for c in brand_of(own.system, f"brand {i}")[1]]
    until(lambda: ready(own.system), why=own.processes.said)
    with Load(own.environment["REDIS_URL"], campaigns) as load:
        until(lambda: load.spends > 100)
        with full(own.hot):
            until(lambda: load.unavailable > 10, why=own.processes.said)
            refused = len(load.acknowledged)
            until(lambda: load.unavailable > 30, why=own.processes.said)
            assert len(load.acknowledged) == refused
            assert own.hot.alive
        until(lambda: len(load.acknowledged) > refused + 100, why=own.processes.said)
        load.stop()
    until(lambda: count(own.system) >= load.spends, why=own.processes.said)
    assert lost_and_doubled(own.system, load) == (set(), [])
    assert verified(own.system) == []


@pytest.mark.long
def test_a_postgresql_whose_disk_is_full_loses_no_spend_and_persist_goes_on_when_there_is_room(own: Own) -> None:
    worker = own.processes.start("worker", "--queue", "persist")
    own.system.rebuilder.rebuild(range(64))
    campaigns = [c for i in range(4) for c in brand_of(own.system, f"brand {i}")[1]]
    with Load(own.environment["REDIS_URL"], campaigns) as load:
        until(lambda: count(own.system) > 100, why=own.processes.said)
        with full(own.postgres):
            until(lambda: "persist waits: PostgreSQL" in worker.said, why=own.processes.said)
            before = len(load.acknowledged)
            until(lambda: len(load.acknowledged) > before + 200, why=own.processes.said)
        # Its log of writes could not grow, so it stopped; whoever made room starts it.
        own.postgres.stop()
        own.postgres.end_leftovers()
        back(own.postgres)
        own.system.db.dispose()
        until(lambda: "goes on" in worker.said, why=own.processes.said)
        load.stop()
    until(lambda: count(own.system) >= load.spends, why=own.processes.said)
    assert load.unavailable == 0
    assert lost_and_doubled(own.system, load) == (set(), [])
    assert verified(own.system) == []
    assert "Traceback" not in worker.said, worker.said
