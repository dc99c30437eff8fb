"""Runs the API on granian, as `web/serve.py` does the pages: one serving process with threads. SIGTERM ends it cleanly."""

from __future__ import annotations

import os
import threading
from functools import partial
from typing import TYPE_CHECKING

from engine import logs
from engine.settings import Settings
from web.serve import check_port, serve_on, shown_host, watch_parent

if TYPE_CHECKING:
    from api.door import ApiDoor
    from engine.wiring import System


def run_api(settings: Settings) -> None:
    """Serves the API on settings.api_host and api_port until SIGTERM. Raises InvalidSetting for a port that is taken."""
    logs.configure()
    settings = settings.resolved()
    check_port(settings.api_host, settings.api_port, "BUDGET_API_PORT")
    print(f"the API is on http://{shown_host(settings.api_host)}:{settings.api_port}/api/docs", flush=True)
    serve_on("api", settings.api_host, settings.api_port, partial(load, settings, os.getpid()))


def serve(system: System) -> None:
    """Serves the API with these services' settings; the serving process opens its own connections."""
    run_api(system.settings)


def load(settings: Settings, parent: int) -> ApiDoor:
    """The application, in the serving process."""
    from api import guard, rates
    from api.app import TIMEOUT_MS, create_api
    from api.door import ApiDoor
    from api.quick import MOST_WAITING, Quick
    from engine.client.aio.client import AsyncBudgetClient
    from engine.wiring import PAGES, System

    logs.configure()
    threading.Thread(target=watch_parent, args=(parent,), name="watch-parent", daemon=True).start()
    system = System(settings, PAGES)
    app = create_api(system)
    known, limits = app.extensions[guard.KNOWN], app.extensions[rates.KEY]
    known.keep_fresh()
    client = AsyncBudgetClient.from_url(
        settings.redis_url, TIMEOUT_MS, MOST_WAITING, wait_replicas=settings.wait_replicas
    )
    # Checks all servers in a thread, so that /readyz has a result at once even if a server hangs.
    system.overview.parts.board.keep_asking()
    return ApiDoor(app.wsgi_app, Quick(client, known, limits))
