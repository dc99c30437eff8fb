"""Backup and restore of docs/operations.md, block by block as they stand there: of PostgreSQL, of the hot Redis, and of both."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.local.binaries import find_postgres
from engine.local.valkey import _CONFIG, Valkey, _quoted
from tests.cli.test_restore_procedure import procedure
from tests.ops.programs import program
from tests.patience import PATIENCE_S
from tests.processes.conftest import ROOT, Own, back, brand_of, ready, rows, until, verified

pytestmark = pytest.mark.long

TITLE = "Back up and restore, command by command"
SECTION = (
    (ROOT / "docs" / "operations.md").read_text(encoding="utf-8").partition(f"## {TITLE}\n")[2].partition("\n## ")[0]
)


def blocks(heading: str) -> list[str]:
    """The blocks below a heading of the section."""
    part = SECTION.partition(f"### {heading}\n")[2].partition("\n### ")[0]
    found = re.findall(r"^```sh\n(.*?)^```$", part, re.M | re.S)
    assert found, heading
    return found


class Operator:
    """A person at a shell of the servers' machine, with this test's folders in place of the document's."""

    def __init__(self, own: Own, folder: Path) -> None:
        redis_cli = program("redis-cli")
        self.own, self.kept = own, folder / "backups"
        self.kept.mkdir()
        path = [Path(sys.executable).parent, find_postgres().folder, Path(redis_cli).parent, os.environ["PATH"]]
        self._environ = {**os.environ, **own.environment, "PYTHONPATH": str(ROOT), "PATH": ":".join(map(str, path))}

    def run(self, block: str) -> str:
        """Runs a block; every command in it must end well."""
        text = block.replace("/var/backups/budget", f"'{self.kept}'").replace(
            "/var/lib/redis", f"'{self.own.hot.folder}'"
        )
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text], env=self._environ, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def follow_the_procedure(self) -> None:
        """The numbered steps after a restore; doctor also misses worker and scheduler, which are stopped."""
        self.own.system.db.dispose()
        for words in procedure():
            self.run(" ".join(["budget-engine", *words, *(["|| true"] if words[0] == "doctor" else [])]))


@pytest.fixture
def operator(own: Own, tmp_path: Path) -> Operator:
    return Operator(own, tmp_path)


@pytest.fixture
def spend(own: Own) -> Callable[..., None]:
    """Records spends of the one campaign, persisted or not."""
    own.system.rebuilder.rebuild()
    until(lambda: ready(own.system))
    _, (campaign, _) = brand_of(own.system, "Acme", 2, daily=900_000_000)

    def record(name: str, *, persisted: bool) -> None:
        for i in range(20):
            assert own.system.client.record_spend(campaign, "0.5", event_id=f"{name}-{i}").outcome == "recorded"
        if persisted:
            own.system.persister.drain_all()

    return record


def events(own: Own) -> dict[str, int]:
    """How many rows there are of each group of events."""
    return dict(rows(own.system, "SELECT split_part(event_id, '-', 1), count(*) FROM spend_log GROUP BY 1"))


def assert_both_have(own: Own, *names: str) -> None:
    assert events(own) == dict.fromkeys(names, 20)
    assert rows(own.system, "SELECT count(*) - count(DISTINCT event_id) FROM spend_log") == [(0,)]
    brand = own.system.live.read_brand(1, 0)
    assert brand is not None and brand.daily_spend == len(names) * 20 * 500_000
    assert verified(own.system) == []


def lose(own: Own) -> None:
    """Stops the hot Redis, as its service would."""
    own.system.hot_redis.close()
    own.hot.stop()


def test_postgresql_is_backed_up_and_restored_and_the_journal_brings_what_came_after(
    own: Own, operator: Operator, spend: Callable[..., None]
) -> None:
    spend("before", persisted=True)
    operator.run(blocks("Back up both stores")[0])
    spend("after", persisted=True)
    spend("waiting", persisted=False)
    own.system.db.dispose()
    (restore,) = blocks("Restore PostgreSQL from its dump")
    operator.run(restore)
    assert events(own) == {"before": 20}
    operator.follow_the_procedure()
    assert_both_have(own, "before", "after", "waiting")
    dropped = re.search(r"`(DROP SCHEMA .*?)`", SECTION)
    assert dropped
    operator.run(f'psql "$DATABASE_URL" --set=ON_ERROR_STOP=1 --command="{dropped[1]}"')
    assert_both_have(own, "before", "after", "waiting")


@pytest.mark.parametrize("form", ["append-only file", "snapshot"])
def test_a_lost_redis_is_restored_and_brings_what_postgresql_did_not_have(
    form: str, own: Own, operator: Operator, spend: Callable[..., None]
) -> None:
    _, of_file, of_snapshot = blocks("Back up both stores")
    spend("persisted", persisted=True)
    spend("waiting", persisted=False)
    operator.run(of_file if form == "append-only file" else of_snapshot)
    assert own.system.hot_redis.config_get("auto-aof-rewrite-percentage") == {"auto-aof-rewrite-percentage": "100"}
    lose(own)
    exchange, compare = blocks("Restore the hot Redis")
    if form == "append-only file":
        operator.run(exchange)
        back(own.hot)
    else:
        put, switch_on = blocks("Restore the hot Redis from a snapshot")
        operator.run(put)
        start_without_file(own)
        operator.run(switch_on)
        assert own.system.hot_redis.info("persistence")["aof_enabled"] == 1
        lose(own)
        back(own.hot)
    operator.run(compare)
    assert_both_have(own, "persisted", "waiting")


def test_an_older_copy_of_redis_takes_nothing_from_the_log(
    own: Own, operator: Operator, spend: Callable[..., None]
) -> None:
    spend("early", persisted=True)
    operator.run(blocks("Back up both stores")[1])
    spend("late", persisted=True)
    lose(own)
    exchange, compare = blocks("Restore the hot Redis")
    operator.run(exchange)
    back(own.hot)
    operator.run(compare)
    assert_both_have(own, "early", "late")


def test_both_are_restored_to_the_moment_of_the_copy_of_redis(
    own: Own, operator: Operator, spend: Callable[..., None]
) -> None:
    of_postgresql, of_file, _ = blocks("Back up both stores")
    spend("first", persisted=True)
    operator.run(of_postgresql)
    spend("second", persisted=True)
    spend("third", persisted=False)
    operator.run(of_file)
    spend("lost", persisted=True)
    lose(own)
    own.system.db.dispose()
    operator.run(blocks("Restore PostgreSQL from its dump")[0])
    operator.run(blocks("Restore the hot Redis")[0])
    back(own.hot)
    operator.follow_the_procedure()
    assert_both_have(own, "first", "second", "third")


def start_without_file(own: Own) -> None:
    """Starts the hot Redis on its folder with `appendonly no`."""
    hot = own.hot
    assert isinstance(hot, Valkey)
    conf = _CONFIG.format(port=hot.port, folder=_quoted(hot.folder), password=_quoted(hot.password))
    assert "appendonly yes\n" in conf
    conf = conf.replace("appendonly yes\n", "appendonly no\n")
    hot.spawn([hot.program.path(hot.program.parts[0]), "-"], conf.encode())
    hot.wait(lambda: False, PATIENCE_S)
