"""Where the data of test servers is: in memory, because a disk delays each start, each new database and each fsync."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

ROOM: Final = 4 * 2**30


def folder_in_memory() -> str | None:
    """A folder in memory, where that has room; else None, which stands for the usual place. TMPDIR names another."""
    memory = Path("/dev/shm")  # a folder made there is private to its owner
    if os.environ.get("TMPDIR") or not os.access(memory, os.W_OK) or shutil.disk_usage(memory).free < ROOM:
        return None
    return str(memory)
