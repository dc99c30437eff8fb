"""What the process of `prepared.py` imports before it forks. It opens nothing and starts no thread."""

from __future__ import annotations

import gc

import api.app
import api.serve
import engine.cli.run
import engine.doorbell
import engine.processes
import engine.wiring
import web.app
import web.serve

__all__ = ["api", "engine", "web"]

# The forks share these objects' memory for as long as no collection walks over them.
gc.freeze()
