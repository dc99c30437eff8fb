"""Fault 6: a Redis that answers and refuses everything. Commands tell it in one line, pages name it, and jobs go on when it takes calls again."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from engine import jobs
from engine.cli import cli
from engine.cli.run import run
from engine.errors import BudgetError
from engine.flows.persist.persister import DrainStats
from engine.wiring import COMMANDS, System
from tests.faults.refusals import EACH, REFUSALS
from tests.faults.test_fault_13_hangs import COMMANDS_OF, LIMIT_S, Heard, Ran, Web
from tests.patience import PATIENCE_S, in_time
from tests.processes.conftest import Own, brand_of, count, own_servers, until, verified

PAGES = (
    "/",
    "/status",
    "/changes",
    "/system",
    "/brands/1/spend",
    "/campaigns/65537",
    "/metrics",
    "/readyz",
    "/healthz",
)
NAMES = ("Redis", "redis")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Own]:
    """One set of servers for all of these: each is well again after its test."""
    for made in own_servers(tmp_path_factory.mktemp("logs")):
        made.system.rebuilder.rebuild(range(64))
        brand_of(made.system, "Aurora", 1, daily=10_000_000)
        yield made


@pytest.fixture(scope="module")
def web(own: Own) -> Web:
    return Web(own)


@pytest.mark.parametrize("word", EACH)
def test_fault_06_each_command_tells_a_redis_that_refuses_in_one_line(
    word: str, own: Own, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in own.environment.items():
        monkeypatch.setenv(name, value)
    out, err = Heard(), Heard()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)

    def ran(words: str) -> Ran:
        status = run(cli, words.replace("Late", f"Late {word}").split(" ") if word not in words else words.split(" "))
        return Ran(status, out.taken(), err.taken(), 0)

    commands = [words for words in COMMANDS_OF["hot"] if not words.startswith("brand create")]
    commands.append(f"brand create {word} --daily 5")
    with REFUSALS[word](own.hot), ThreadPoolExecutor(6) as together:
        found = dict(zip(commands, together.map(ran, commands), strict=True))
    for words, said in found.items():
        assert "Traceback" not in said.out + said.err, (words, said)
        assert len(said.err.splitlines()) <= 1, (words, said)
        assert said.status in (0, 1), (words, said)
        if said.status == 1:
            assert any(name in said.out + said.err for name in NAMES), (words, said)
    assert found["spend 65537 0.01"].status == 1
    assert ran("check").status == 0
    own.system.persister.drain_all()
    assert verified(own.system) == []


@pytest.mark.parametrize("word", EACH)
def test_fault_06_each_page_answers_while_redis_refuses_and_names_it(word: str, own: Own, web: Web) -> None:
    with REFUSALS[word](own.hot):
        answers = {path: web.get(path) for path in PAGES}
    for path, answer in answers.items():
        assert answer.status in (200, 503), (path, answer)
        assert in_time(answer.took_s, LIMIT_S), (path, answer.took_s)
        assert "Traceback" not in answer.text and "Internal Server Error" not in answer.text, path
    assert answers["/healthz"].status == 200
    assert "Redis" in answers["/status"].text, answers["/status"].text[:2000]
    assert "Traceback" not in web.process.said, web.process.said[-3000:]
    until(lambda: web.get("/readyz").status == 200 or web.states().get("redis") == "ok")


@pytest.mark.parametrize("word", EACH)
def test_fault_06_persist_goes_on_by_itself_when_redis_takes_calls_again(word: str, own: Own) -> None:
    system = System(own.system.settings, COMMANDS)
    _, (campaign,) = brand_of(own.system, f"persist {word}", 1)
    loop, done, stop, failed = jobs.persist_loop(system), DrainStats(), threading.Event(), list[BaseException]()

    def work() -> None:
        try:
            loop.run(stop.is_set, done)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        before = count(own.system)
        with REFUSALS[word](own.hot):
            with suppress(BudgetError):
                system.publisher.keep_published()
            assert thread.is_alive(), failed
        assert own.system.client.record_spend(campaign, "1").outcome == "recorded"
        until(lambda: count(own.system) == before + 1, why=lambda: str(failed))
        assert thread.is_alive() and failed == []
    finally:
        stop.set()
        thread.join(PATIENCE_S)
        system.close()
    assert verified(own.system) == []
