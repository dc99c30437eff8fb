"""Fault 13: each server in turn takes connections and says nothing (SIGSTOP). Pages, commands and jobs name it in time and go on with the rest."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from html import unescape
from io import StringIO
from pathlib import Path
from statistics import median
from typing import NamedTuple
from urllib.parse import urlencode

import pytest
from sqlalchemy import text

from engine import jobs
from engine.cli import cli
from engine.cli.run import run
from engine.client.sync import BudgetClient
from engine.errors import ServerHangs
from engine.flows.persist.persister import DrainStats
from engine.local.bound import processes_in
from engine.local.server import Server
from engine.wiring import COMMANDS, System
from tests.faults.figures import Figures
from tests.faults.pages import shown_to_buyers
from tests.patience import PATIENCE_S, TIMES, beside_well, in_time
from tests.ports import free_port
from tests.processes.conftest import Own, brand_of, count, own_servers, until

VIEWERS = 10
LIMIT_S = 3.0
PARTS = {"hot": "redis", "jobs": "jobs_redis", "postgres": "postgresql"}
NAMED = {"hot": "Redis hangs", "jobs": "obs Redis hangs", "postgres": "PostgreSQL hangs"}
OURS = {
    "hot": ("redis", "journal"),
    "jobs": ("jobs_redis", "worker", "scheduler"),
    "postgres": ("postgresql", "journal"),
}
"""The parts that may look otherwise while a server hangs."""


class Answer(NamedTuple):
    status: int
    text: str
    took_s: float
    cookie: str = ""


class Form(NamedTuple):
    cookie: str
    fields: dict[str, str]


class Web:
    """The page as a process on the servers of the test."""

    def __init__(self, own: Own, **settings: str) -> None:
        self.port = free_port()
        self.cookie = ""
        own.processes.environment = {**own.environment, "BUDGET_WEB_PORT": str(self.port), **settings}
        self.process = own.processes.start("web")
        until(lambda: self.get("/healthz").status == 200, why=lambda: self.process.said)
        until(lambda: self.states().get("postgresql") == "ok" and self.states().get("redis") == "ok")

    def get(self, path: str) -> Answer:
        return self._ask("GET", path, None, {"Cookie": self.cookie} if self.cookie else {})

    def post(self, path: str, form: Form, **fields: str) -> Answer:
        """Sends a form that was opened before, as its browser does."""
        headers = {"Cookie": form.cookie, "Origin": self.origin, "Content-Type": "application/x-www-form-urlencoded"}
        return self._ask("POST", path, urlencode({**form.fields, **fields}), headers)

    def form(self, path: str) -> Form:
        """A page's form, with what its browser keeps and sends along."""
        page = self.get(path)
        assert page.status == 200, (path, page)
        found = re.findall(r'<input[^>]*name="(\w+)"[^>]*value="([^"]*)"', page.text)
        return Form(page.cookie, {name: unescape(value) for name, value in found})

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _ask(self, method: str, path: str, body: str | None, headers: dict[str, str]) -> Answer:
        began = time.monotonic()
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            line.request(method, path, body, headers)
            answer = line.getresponse()
            cookie = "; ".join(each.partition(";")[0] for each in answer.headers.get_all("Set-Cookie") or [])
            return Answer(answer.status, answer.read().decode(), time.monotonic() - began, cookie)
        except OSError as error:
            return Answer(0, str(error), time.monotonic() - began)
        finally:
            line.close()

    def states(self) -> dict[str, str]:
        """The parts by /readyz."""
        found: dict[str, str] = json.loads(self.get("/readyz").text or "{}").get("parts", {})
        return found


def _stops(pid: int) -> bool:
    """Stops a process; False where it ended meanwhile."""
    try:
        os.kill(pid, signal.SIGSTOP)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def frozen(server: Server) -> Iterator[None]:
    """Every process of a server stopped: its kernel goes on taking connections and bytes."""
    stopped = [pid for pid in processes_in(server.folder) if _stops(pid)]
    assert stopped
    try:
        yield
    finally:
        for pid in stopped:
            with suppress(ProcessLookupError):  # one that was killed meanwhile
                os.kill(pid, signal.SIGCONT)


@contextmanager
def viewers(web: Web, path: str = "/live") -> Iterator[list[Answer]]:
    """Ten viewers of a page, each of whom asks again every two seconds, as htmx does."""
    seen: list[Answer] = []
    gone = threading.Event()

    def look() -> None:
        while not gone.is_set():
            seen.append(web.get(path))
            gone.wait(2)

    crowd = [threading.Thread(target=look) for _ in range(VIEWERS)]
    for one in crowd:
        one.start()
    try:
        yield seen
    finally:
        gone.set()
        for one in crowd:
            one.join()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Own]:
    """One set of servers for all of these: each is well again after its test."""
    yield from own_servers(tmp_path_factory.mktemp("logs"))


@pytest.fixture(scope="module")
def campaign(own: Own) -> int:
    """A campaign with 4.00 spent and written."""
    own.system.rebuilder.rebuild(range(64))
    _, (first, *_) = brand_of(own.system, "Aurora", 1, daily=10_000_000)
    own.system.client.record_spend(first, "4")
    own.system.status.refresh(own.system.persister.drain_all().changed_brands)
    return first


@pytest.fixture(scope="module")
def web(own: Own, campaign: int) -> Web:
    return Web(own)


def server_of(own: Own, which: str) -> Server:
    return {"hot": own.hot, "jobs": own.jobs, "postgres": own.postgres}[which]


@pytest.mark.parametrize("which", ["hot", "jobs", "postgres"])
def test_ten_viewers_of_a_frozen_server_see_which_one_it_is_and_nobody_takes_the_page_for_dead(
    which: str, own: Own, web: Web, campaign: int, figures: Callable[[Figures], None]
) -> None:
    brand = campaign >> 16
    pages = ["/", "/status", "/changes", f"/brands/{brand}/spend", f"/brands/{brand}/edit", f"/campaigns/{campaign}/archive", "/brands/new", "/rq/", "/rq/0/data/queues.json", "/metrics"]  # fmt: skip
    pages += [page for page in shown_to_buyers(campaign) if page not in pages]
    with viewers(web) as seen:  # what ten viewers cost on this machine while nothing hangs
        alive_well = [web.get("/healthz").took_s for _ in range(20) if not time.sleep(0.05)]
    well_s = max(answer.took_s for answer in seen)
    until(lambda: {web.states()[part] for part in PARTS.values()} == {"ok"}, why=lambda: str(web.states()))
    before = web.states()
    with frozen(server_of(own, which)):
        first = web.get("/")
    assert beside_well(first.took_s, LIMIT_S, well_s), "nobody knew of it yet, and one wait is enough"
    until(lambda: web.states() == before, why=lambda: str((before, web.states())))
    with frozen(server_of(own, which)), viewers(web) as seen:
        alive = [web.get("/healthz") for _ in range(30) if not time.sleep(0.1)]
        ready = web.get("/readyz")
        answers = {path: web.get(path) for path in pages}
        during = web.states()
        alive += [web.get("/healthz") for _ in range(5)]
    slowest = max(answer.took_s for answer in (*answers.values(), *seen, ready))
    figures(
        Figures(
            len(alive) + len(answers) + len(seen),
            more=f"/healthz median {1000 * median(a.took_s for a in alive):.0f} ms, slowest {1000 * max(a.took_s for a in alive):.0f} ms;"
            f" /readyz {1000 * ready.took_s:.0f} ms; slowest page {1000 * slowest:.0f} ms, {1000 * well_s:.0f} ms while nothing hung",
        )
    )
    assert {answer.status for answer in alive} == {200}
    # One that waited for a server would take 1.5 s; 100 ms is for a machine that does nothing else.
    assert median(answer.took_s for answer in alive) < max(0.1, TIMES * median(alive_well))
    assert beside_well(max(answer.took_s for answer in alive), 0, max(alive_well))
    assert beside_well(slowest, LIMIT_S, well_s)
    assert ready.status == 503
    assert during[PARTS[which]] == "down"
    assert {part for part in during if during[part] != before[part]} <= {*OURS[which], "verify"}
    assert NAMED[which] in seen[-1].text
    assert NAMED[which] in answers["/status"].text
    for path in shown_to_buyers(campaign):
        assert NAMED[which].lower() in answers[path].text.replace("</strong>", "").lower(), (
            path,
            answers[path].text[-3000:],
        )
    for path in ("/", "/status"):
        assert "Aurora" in answers[path].text  # old figures with their age, or the log's
    assert {answer.status for answer in (*answers.values(), *seen)} <= {200, 503}
    for path, answer in answers.items():
        assert answer.status == 200 or NAMED[which] in answer.text, (path, answer.text[:2000])
    until(lambda: web.states() == before, why=lambda: str((before, web.states())))


COMMANDS_OF = {
    "hot": ("brand list", "brand show 1", "campaign list", "check", "persist", "verify", "reconcile --dry-run", "rebuild --all", "close-periods", "spend 65537 0.01", "brand create Late --daily 5", "doctor"),
    "jobs": ("doctor",),
    "postgres": ("brand list", "brand show 1", "brand days 1", "campaign list", "check", "persist", "verify", "reconcile --dry-run", "rebuild --all", "close-periods", "quarantine list", "brand create Never --daily 5", "migrate", "replay {spends}", "doctor"),
}  # fmt: skip


class Heard(StringIO):
    """What each thread writes, by itself: commands that run side by side do not hear each other."""

    def __init__(self) -> None:
        super().__init__()
        self._of = threading.local()

    def write(self, said: str) -> int:
        if not isinstance(said, str):
            raise TypeError("text is wanted")  # click asks so whether this takes bytes
        self._of.__dict__.setdefault("said", []).append(said)
        return len(said)

    def taken(self) -> str:
        """What the thread that asks has written since it asked last."""
        return "".join(self._of.__dict__.pop("said", []))


class Ran(NamedTuple):
    status: int
    out: str
    err: str
    took_s: float


@pytest.mark.parametrize("which", ["hot", "jobs", "postgres"])
def test_every_command_names_the_frozen_server_within_three_seconds_and_ends(
    which: str, own: Own, campaign: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, figures: Callable[[Figures], None]
) -> None:  # fmt: skip
    for name, value in own.environment.items():
        monkeypatch.setenv(name, value)
    spends = tmp_path / "spends.csv"
    spends.write_text("at,event_id,brand,campaign,amount_micros\n,late,Aurora,c0,10\n")
    out, err = Heard(), Heard()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)

    def ran(words: str) -> Ran:
        began = time.monotonic()
        status = run(cli, words.format(spends=spends).split(" "))
        return Ran(status, out.taken(), err.taken(), time.monotonic() - began)

    # What Python has to import is no wait.
    assert [ran(words).status for words in ("doctor", f"replay {spends}", "brand list")][1:] == [0, 0]
    with ThreadPoolExecutor(4) as together:
        well_s = max(said.took_s for said in together.map(ran, ["brand list"] * 4))
        with frozen(server_of(own, which)):
            found = dict(zip(COMMANDS_OF[which], together.map(ran, COMMANDS_OF[which]), strict=True))
    for words, said in found.items():
        assert "hang" in said.out + said.err or "does not answer" in said.err, (words, said)
        assert str(server_of(own, which).port) in said.out + said.err, (words, said)
        assert len(said.err.splitlines()) <= 1, (words, said)
        # What can go on without that server does, and says what it lacks.
        goes_on = which == "hot" and words.split()[0] in ("brand", "campaign")
        assert said.status == (0 if goes_on else 1), (words, said)
    slowest = max(found, key=lambda words: found[words].took_s)
    figures(Figures(len(found), more=f"slowest: {slowest}, {1000 * found[slowest].took_s:.0f} ms"))
    assert beside_well(found[slowest].took_s, LIMIT_S, well_s), found[slowest]
    assert ran("brand list").status == 0
    own.system.persister.drain_all()  # what was spent here is no other test's


@pytest.mark.parametrize("which", ["hot", "postgres"])
def test_a_jobs_wait_for_a_frozen_server_ends_and_the_job_goes_on_when_the_server_is_back(
    which: str, own: Own, campaign: int
) -> None:
    system = System(own.system.settings, COMMANDS)  # a job's own patience is 5 s, with the same ways out
    loop, done, stop = jobs.persist_loop(system), DrainStats(), threading.Event()
    thread = threading.Thread(target=loop.run, args=(stop.is_set, done))
    try:
        before = count(own.system)
        thread.start()
        until(lambda: bool(system.live) and thread.is_alive() and not loop.away)
        with frozen(server_of(own, which)):
            assert in_time(until(lambda: loop.away), 10)
            if which == "postgres":
                own.system.client.record_spend(campaign, "1")
            with pytest.raises(ServerHangs):
                system.publisher.publish_pending() if which == "postgres" else system.live.now_ms()
        if which == "hot":
            own.system.client.record_spend(campaign, "1")
        until(lambda: count(own.system) == before + 1)
        assert thread.is_alive()
    finally:
        stop.set()
        thread.join(PATIENCE_S)
        system.close()


def test_a_statement_that_is_slow_on_a_server_that_is_well_is_not_ended(own: Own, campaign: int) -> None:
    system = System(own.system.settings, COMMANDS)
    try:
        with system.db.connect() as conn:
            assert conn.execute(text("SELECT 1 FROM pg_sleep(3)")).scalar_one() == 1
    finally:
        system.close()


def test_after_the_first_who_waited_for_a_frozen_server_the_others_are_told_at_once(own: Own, campaign: int) -> None:
    system = System(own.system.settings, COMMANDS)
    try:
        system.live.now_ms()
        system.catalog.brands()
        with frozen(own.hot), frozen(own.postgres):
            for ask in (system.live.now_ms, system.catalog.brands):
                with pytest.raises(ServerHangs):
                    ask()
                began = time.monotonic()
                with pytest.raises(ServerHangs):
                    ask()
                assert time.monotonic() - began < 1, "a second wait would take 1.5 s"
        until(lambda: _answers(system))
    finally:
        system.close()


def _answers(system: System) -> bool:
    try:
        return bool(system.live.now_ms()) and bool(system.catalog.brands())
    except ServerHangs:
        return False


def test_persist_carries_spends_over_while_the_jobs_redis_is_frozen(own: Own, campaign: int) -> None:
    with frozen(own.jobs):
        began = time.monotonic()
        assert own.system.is_waited_for("persist") is False  # asked for with RQ's own patience it would be minutes
        assert in_time(time.monotonic() - began, LIMIT_S)
        own.system.client.record_spend(campaign, "1")
        assert own.system.persister.drain_all().rows == 1


@pytest.mark.long
def test_spends_are_as_quick_while_a_server_hangs_that_is_not_theirs(
    own: Own, campaign: int, figures: Callable[[Figures], None]
) -> None:
    def timed(client: BudgetClient, spends: int = 300) -> list[float]:
        took = []
        for _ in range(spends):
            began = time.perf_counter()
            assert client.record_spend(campaign, "0.001").outcome == "recorded"
            took.append((time.perf_counter() - began) * 1000)
        return sorted(took)

    with BudgetClient.from_url(own.environment["REDIS_URL"], timeout_ms=2000) as client:
        timed(client)
        well = timed(client)
        with frozen(own.postgres), frozen(own.jobs):
            alone = timed(client)
    more = f"median {median(well):.3f} ms with all servers well, {median(alone):.3f} ms with two frozen"
    figures(Figures(600, 600, more=more))
    # Twice: other load on the machine comes and goes between the two; a wait for a server would be 1,500 ms.
    assert median(alone) < 2 * median(well) + 0.5
    assert alone[-1] < 1000
