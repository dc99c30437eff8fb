"""A new password of the hot Redis, as docs/operations.md has it: secrets in files, the units restarted, and bidders that spend all the while."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from rq import Worker

from engine.job_table import QUEUES
from engine.settings import URLS
from engine.wiring import System
from tests.ops.page import answered
from tests.ops.programs import ROOT, program
from tests.ports import free_port
from tests.processes.conftest import Load, Own, brand_of, lost_and_doubled, ready, until, verified
from tests.processes.test_upgrade_procedure import Machine

pytestmark = pytest.mark.long

TITLE = "### Change a password, command by command\n"
SECTION = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8").partition(TITLE)[2].partition("\n### ")[0]
BOTH, NEW_ALONE = re.findall(r"^```sh\n(.*?)^```$", SECTION, re.M | re.S)
PLACE = "/etc/budget-engine/credentials"


def test_a_password_is_changed_under_load_and_nobody_is_refused(own: Own, tmp_path: Path) -> None:
    program("redis-cli")
    secrets, port, server = tmp_path / "credentials", free_port(), urlsplit(own.environment["REDIS_URL"])
    secrets.mkdir(mode=0o700)
    for name in URLS:
        (secrets / name).write_text(f"{own.environment[name]}\n")
    files = {f"{name}_FILE": str(secrets / name) for name in URLS}
    plain = {name: value for name, value in own.environment.items() if name not in URLS}
    machine = Machine(tmp_path, {**plain, **files, "BUDGET_WEB_PORT": str(port)})

    def here(block: str) -> str:
        text = block.replace(PLACE, f"'{secrets}'").replace("redis.internal:6379", f"127.0.0.1:{server.port}")
        assert server.password
        return text.replace("'<password'", f"'<{server.password}'")

    def all_run() -> bool:
        workers = len(Worker.all(connection=own.system.jobs_redis))
        return workers == len(QUEUES) and answered(port, "/readyz") == 200

    try:
        machine.run("systemctl start budget-engine-web budget-engine-worker budget-engine-scheduler")
        until(lambda: ready(own.system) and all_run(), why=machine.said)
        _, campaigns = brand_of(own.system, "Acme", 2)
        with Load(own.environment["REDIS_URL"], campaigns, threads=2) as load:
            machine.run(here(BOTH))
            assert (secrets / "REDIS_URL").stat().st_mode & 0o777 == 0o600
            until(all_run, why=machine.said)
            machine.run(here(NEW_ALONE))
            before = load.spends
            until(lambda: load.spends > before + 200)
        assert load.unavailable == 0
        with redis.Redis.from_url(own.environment["REDIS_URL"]) as old, pytest.raises(redis.AuthenticationError):
            old.ping()
        url = (secrets / "REDIS_URL").read_text().strip()
        system = System(replace(own.system.settings, redis_url=url))
        # The worker may have the cursor of a shard just now.
        until(lambda: not system.persister.drain_all().left and lost_and_doubled(system, load) == (set(), []))
        assert lost_and_doubled(system, load) == (set(), [])
        assert verified(system) == []
        system.close()
    finally:
        machine.end()
