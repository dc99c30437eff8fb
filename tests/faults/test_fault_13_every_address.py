"""Fault 13 over every address that a page, a part of one, a table or a script of ours reads: beside a frozen server each answers in time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from tests.faults.test_fault_13_hangs import LIMIT_S, NAMED, Web, frozen, server_of
from tests.faults.test_fault_13_hangs import PARTS as SERVERS
from tests.patience import in_time
from tests.processes.conftest import Own, own_servers, until
from tests.web.gallery import SECRET, World, every_page, make_world

PARTS: Final = (
    "/budgets/live", "/budgets/poll", "/budgets/{w.brand}/preview?daily=5", "/budgets.csv", "/live", "/brands/{w.brand}/live", "/campaigns/{w.campaign}/live",
    "/system/live", "/system.txt", "/operations/{w.waiting}/progress", "/activity.csv", "/catalog.csv", "/brands/{w.brand}/spend.csv",
    "/campaigns/{w.campaign}/spend.csv", "/rq/0/data/queues.json", "/rq/0/data/workers.json", "/rq/0/data/job/{w.job}.json",
    "/rq/0/data/jobs/jobs/queued/8/asc/1.json", "/readyz", "/metrics",
)  # fmt: skip
QUIET: Final = ("/readyz", "/metrics", "/system.txt")
"""They have words of their own for it."""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Own]:
    yield from own_servers(tmp_path_factory.mktemp("logs"))


@pytest.fixture(scope="module")
def world(own: Own) -> World:
    own.system.rebuilder.rebuild(range(64))
    return make_world(own.system)


@pytest.fixture(scope="module")
def web(own: Own, world: World) -> Web:
    """The page without a login would be closed once there are users; Ada is an admin."""
    made = Web(own, BUDGET_LOGIN="always")
    form = made.form("/login")
    answer = made.post("/login", form, actor="Ada", password=SECRET)
    assert answer.status == 302, answer.text[-2000:]
    made.cookie = answer.cookie
    return made


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("which", ["hot", "jobs", "postgres"])
def test_every_address_answers_in_time_beside_a_frozen_server_and_says_which_where_it_needs_it(
    which: str, own: Own, web: Web, world: World
) -> None:
    addresses = [*every_page(world).values(), *(part.format(w=world) for part in PARTS)]
    before = {path: web.get(path).status for path in addresses}
    assert set(before.values()) <= {200, 204, 400, 404, 503}, before
    with frozen(server_of(own, which)):
        until(lambda: web.states()[SERVERS[which]] == "down")
        answers = {path: web.get(path) for path in addresses}
    slow = {path: answer.took_s for path, answer in answers.items() if not in_time(answer.took_s, LIMIT_S)}
    assert slow == {}
    wrong = {path: answer.status for path, answer in answers.items() if answer.status not in (before[path], 503)}
    assert wrong == {}
    silent = [
        path
        for path, answer in answers.items()
        if answer.status == 503 and path not in QUIET and NAMED[which].lower() not in plain(answer.text)
    ]
    assert silent == [], [answers[path].text[-600:] for path in silent[:3]]
    until(lambda: web.states()[SERVERS[which]] == "ok")


def plain(page: str) -> str:
    return page.replace("</strong>", "").replace("<strong>", "").lower()
