"""`budget-engine up`: starts servers, migrates, then runs worker, scheduler, web and demo traffic until Ctrl-C."""

from __future__ import annotations

import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Final

from engine import logs
from engine.errors import BudgetError, Refused
from engine.local.child import Child, stop_together
from engine.local.ports import next_free
from engine.local.printer import Printer
from engine.local.servers import EmbeddedServers
from engine.local.supervisor import StopAsked, Supervisor
from engine.secret_files import FROM_FILE, SUFFIX
from engine.settings import URLS, Settings, masked

_ANY_HOST: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def run_up(settings: Settings, demo: bool, yes: bool = False, nodes: int = 0, printer: Printer | None = None) -> int:
    """Runs everything until Ctrl-C or SIGTERM; returns the exit status. Raises a BudgetError when it cannot start.

    On named servers, `demo` raises Refused without `yes`, unless the demo made their catalog itself. nodes: as in
    `EmbeddedServers`; refused on named servers.
    """
    if nodes and not settings.embedded:
        raise Refused("--cluster is for embedded servers: REDIS_URL names others; unset it, or name a cluster in it")
    out = Printer() if printer is None else printer
    stop = StopAsked()
    with stop.listening():
        servers = EmbeddedServers(settings.data_dir, out.say, stop, nodes) if settings.embedded else None
        if servers is None:
            _say_where(settings, out)
        else:
            try:
                servers.start()
            except KeyboardInterrupt:
                out.say("stopped")
                return 0
        try:
            return _with_servers(settings, servers, demo, yes, out, stop)
        finally:
            if servers is not None:
                servers.stop()


def demo_allowed(settings: Settings) -> bool:
    """Whether the demo made the catalog, and not people. Checked after the migration, only on named servers."""
    # Imported here: a plain `up` does not need it.
    from engine.feeds import demo
    from engine.ledger.database import make_engine

    db = make_engine(settings.database_url)
    try:
        return demo.demo_allowed(db)
    finally:
        db.dispose()


def commands(demo: bool) -> list[list[tuple[str, list[str]]]]:
    """The processes by name, in the order of stopping: callers first, then those that persist their spends."""
    callers = [
        ("web", ["web"]),
        ("api", ["api"]),
        *([("traffic", ["demo-traffic"])] if demo else []),
        ("scheduler", ["scheduler"]),
    ]
    # Persist last: it persists what the others leave.
    workers = [(queue, ["worker", "--queue", queue]) for queue in ("verify", "jobs", "persist")]
    return [callers, workers]


def _with_servers(
    settings: Settings, servers: EmbeddedServers | None, demo: bool, yes: bool, out: Printer, stop: StopAsked
) -> int:
    environ = _environment(settings)
    if not _migrate(environ, out, stop):
        out.say("stopped")
        return 0
    if demo and servers is None and not yes and not demo_allowed(settings):
        raise Refused(
            f"--demo would add sample brands and traffic to the catalog at {masked(settings.database_url)},"
            " which it did not make: add --yes if that is wanted"
        )
    port = next_free(settings.web_port, settings.web_host)
    if port != settings.web_port:
        out.say(f"port {settings.web_port} is taken: the page is on {port}")
    environ["BUDGET_WEB_PORT"] = str(port)
    api_port = next_free(settings.api_port, settings.api_host, "API", {port})
    if api_port != settings.api_port:
        out.say(f"port {settings.api_port} is taken: the API is on {api_port}")
    environ["BUDGET_API_PORT"] = str(api_port)
    stages = [
        [Child(name, [sys.executable, "-m", "engine", *args], needed_by(name, environ), out) for name, args in stage]
        for stage in commands(demo)
    ]
    supervisor = Supervisor(stages, servers, out, stop)
    page = _Page(settings.web_host, port, out)
    try:
        supervisor.start()
        supervisor.run(page.look)
    finally:
        supervisor.stop()
    out.say("stopped, data kept")
    return 0


def _environment(settings: Settings) -> dict[str, str]:
    # Children find embedded servers through the data folder, which must not depend on their current folder.
    # Their output is a pipe to this process, so this process decides whether it is for people.
    style = {logs.STYLE: "text"} if logs.wants_text(sys.stdout) else {}
    return {**os.environ, "PYTHONUNBUFFERED": "1", "BUDGET_DATA_DIR": str(settings.data_dir), **style}


def needed_by(name: str, environ: Mapping[str, str]) -> dict[str, str]:
    """A child's environment, with only the secrets that it needs. The page signs sessions, checks passwords and
    serves metrics; the scheduler needs the jobs' Redis only.
    """
    wanted = {"web": FROM_FILE, "scheduler": ("JOBS_REDIS_URL",)}.get(name, URLS)
    withheld = {form for secret in FROM_FILE if secret not in wanted for form in (secret, secret + SUFFIX)}
    return {each: value for each, value in environ.items() if each not in withheld}


def _migrate(environ: dict[str, str], out: Printer, stop: StopAsked) -> bool:
    """Migrates the database; False when a stop was requested meanwhile."""
    out.say("migrating the database")
    child = Child("migrate", [sys.executable, "-m", "engine", "migrate"], needed_by("migrate", environ), out)
    child.start()
    try:
        while child.alive and not stop():
            time.sleep(0.05)
    finally:
        stop_together([child], 10.0)
    if stop():
        return False
    if child.returncode != 0:
        raise _MigrationFailed(f"the migration ended with {child.how_it_ended()}: see its last line above")
    return True


class _MigrationFailed(BudgetError):
    """The database could not be migrated."""


def _say_where(settings: Settings, out: Printer) -> None:
    out.say(
        f"using {masked(settings.redis_url)}, {masked(settings.jobs_redis_url)} and {masked(settings.database_url)}"
    )
    if settings.jobs_on_hot_redis:
        out.say("warning: REDIS_URL and JOBS_REDIS_URL are one server: a bidder's login may then start and delete jobs")


class _Page:
    """Prints the page's address once it answers."""

    def __init__(self, host: str, port: int, out: Printer) -> None:
        near = _ANY_HOST.get(host, host)
        shown = f"[{near}]" if ":" in near else near
        self._address = f"http://{shown}:{port}/"
        self._out = out
        self._open = False
        self._next = 0.0
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        out.say(f"waiting for the page on {self._address}")

    def look(self) -> None:
        """Asks the page four times a second until it answers."""
        now = time.monotonic()
        if self._open or now < self._next:
            return
        self._next = now + 0.25
        try:
            with self._opener.open(f"{self._address}healthz", timeout=0.5) as answer:
                self._open = answer.status == 200
        except (OSError, urllib.error.URLError):
            return
        if self._open:
            self._out.say(f"the page is at {self._address} (Ctrl-C stops everything; data is kept)")
