"""Runs the console on granian: one serving process with threads, and a supervisor. SIGTERM or Ctrl-C ends both
cleanly.

The serving process also watches its parent, so that a killed parent leaves no orphan on the port.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels

from engine import logs
from engine.errors import InvalidSetting
from engine.settings import Settings
from web import oidc
from web.door import Door
from web.gate import Gate
from web.guard import is_loopback, may_upload

if TYPE_CHECKING:
    from engine.wiring import System

LOG = logging.getLogger("web")
STOP_S: Final = 8
"""Seconds after which a running request is cut off when the process ends."""
WATCH_S: Final = 1.0
CONNECTIONS: Final = 1024
HEAD_MS: Final = 10_000
"""For the head of a request, and for a connection on which none comes."""


def run_web(settings: Settings) -> None:
    """Serves the pages on settings.web_host and web_port until SIGTERM. Raises InvalidSetting for a port that is taken."""
    logs.configure()
    settings = replace(settings.resolved(), web_host=address_for(settings))
    refuse_weak_secrets(settings)
    oidc.check_installed(settings)
    check_port(settings.web_host, settings.web_port, "BUDGET_WEB_PORT")
    print(f"the page is on http://{shown_host(settings.web_host)}:{settings.web_port}/", flush=True)
    serve_on("web", settings.web_host, settings.web_port, partial(_load, settings, os.getpid()))


def serve_on(name: str, host: str, port: int, load: Callable[[], Any]) -> None:
    """Serves the ASGI application that `load` makes in the serving process, until SIGTERM."""
    server = Granian(
        name,
        address=host,
        port=port,
        interface=Interfaces.ASGINL,
        workers=1,
        http=HTTPModes.http1,
        websockets=False,
        # Connections, which take no thread: `web/door.py` reads their requests.
        backpressure=CONNECTIONS,
        http1_settings=HTTP1Settings(header_read_timeout=HEAD_MS),
        log_level=LogLevels.warning,
        log_dictconfig={
            "handlers": {},
            "loggers": {name: {"propagate": True} for name in ("_granian", "granian.access")},
        },
        workers_kill_timeout=STOP_S,
    )
    # Ctrl-C reaches the serving process too: then its end is no failure.
    logging.getLogger("_granian").addFilter(
        lambda record: not server.interrupt_signal or record.levelno < logging.ERROR
    )
    try:
        server.serve(target_loader=load, wrap_loader=False)
    except SystemExit:
        if not server.interrupt_signal:
            raise


def serve(system: System) -> None:
    """Serves the pages with these services' settings; the serving process opens its own connections."""
    run_web(system.settings)


def address_for(settings: Settings) -> str:
    """Where to listen: without a password on loopback only, with a warning where another address was set."""
    if settings.needs_login or is_loopback(settings.web_host):
        return settings.web_host
    LOG.warning(
        "BUDGET_ADMIN_PASSWORD is not set: listening on 127.0.0.1, not on %s. Set a password, or BUDGET_LOGIN=always, to open the page up.",
        settings.web_host,
    )
    return "127.0.0.1"


def refuse_weak_secrets(settings: Settings) -> None:
    """Raises InvalidSetting for weak secrets where others than this machine can reach the page."""
    if not is_loopback(settings.web_host) or settings.public_url or settings.trusted_proxies:
        if not settings.needs_login:
            name = "BUDGET_PUBLIC_URL" if settings.public_url else "BUDGET_TRUSTED_PROXIES"
            raise InvalidSetting(
                f"{name} is set, and BUDGET_ADMIN_PASSWORD is not: without a password the page is for this machine alone;"
                " write it like BUDGET_ADMIN_PASSWORD=correct-horse-battery",
                "BUDGET_ADMIN_PASSWORD",
            )
        settings.refuse_weak_secrets()


def _load(settings: Settings, parent: int) -> Any:
    """The application, in the serving process."""
    from engine.wiring import PAGES, System
    from web.app import create_app

    logs.configure()
    threading.Thread(target=watch_parent, args=(parent,), name="watch-parent", daemon=True).start()
    system = System(settings, PAGES)
    app = create_app(system)
    # Checks all servers in a thread, so that /readyz has a result at once even if a server hangs.
    system.overview.parts.board.keep_asking()
    system.budget_board.prepare()
    return Door(Gate(app.wsgi_app), may_upload=partial(may_upload, app))


def watch_parent(parent: int) -> None:
    """Ends this process when its parent is gone."""
    while os.getppid() == parent:
        time.sleep(WATCH_S)
    os._exit(1)


def check_port(host: str, port: int, name: str) -> None:
    """Raises InvalidSetting for a port that is taken. name: of the setting."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InvalidSetting(
                f"{name} {port} cannot be listened on at {host} ({error.strerror}): choose another port",
                name,
            ) from None


def shown_host(host: str) -> str:
    """A host as a URL has it."""
    return f"[{host}]" if ":" in host else host
