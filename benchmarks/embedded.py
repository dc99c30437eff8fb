"""Embedded servers for a benchmark."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.local.servers import EmbeddedServers, Urls


@contextmanager
def servers() -> Iterator[Urls]:
    """Starts empty embedded servers, and removes them at the end."""
    with tempfile.TemporaryDirectory(prefix="budget bench ") as folder:
        servers = EmbeddedServers(Path(folder) / "data")
        try:
            yield servers.start(may_create_databases=True)
        finally:
            servers.remove()
