"""How other processes find the embedded servers: a private file that the running `up` writes, and the lock that shows
that it is alive.

Standard library only, because bidders on the same machine import it.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Final, NamedTuple

from engine.errors import Refused, ServerAway

LOCK: Final = "up.lock"
RUNNING: Final = "running.json"


class Running(NamedTuple):
    """The addresses of the servers of a running `up`, passwords included."""

    hot: str
    jobs: str
    database: str
    secret_key: str


def read_running(data_dir: Path) -> Running:
    """The servers that run on a data folder. Raises ServerAway when none do, Refused when the folder is another
    user's.
    """
    try:
        if not _is_locked(data_dir / LOCK):
            raise _away(
                data_dir,
                "start them with `make up` or `budget-engine up`, or set REDIS_URL, JOBS_REDIS_URL and DATABASE_URL",
            )
        found = json.loads((data_dir / RUNNING).read_text(encoding="utf-8"))
        return Running(found["hot"], found["jobs"], found["database"], found["secret_key"])
    except PermissionError as error:
        raise Refused(f"{error.filename} belongs to another user: run this as the user who runs `up`") from None
    except (FileNotFoundError, ValueError, KeyError):
        raise _away(data_dir, "they are still starting, try again in a moment") from None


def write_running(data_dir: Path, running: Running) -> None:
    """Publishes the servers' addresses atomically, to the same user only."""
    write_private(data_dir / RUNNING, json.dumps({**running._asdict(), "pid": os.getpid()}))


def forget_running(data_dir: Path) -> None:
    """Removes the file, so that no process finds the servers any more."""
    (data_dir / RUNNING).unlink(missing_ok=True)


def write_private(path: Path, text: str) -> None:
    """Writes a file that only its owner may read, atomically."""
    made = path.with_name(path.name + ".new")
    # An existing file or link is removed and not written through.
    made.unlink(missing_ok=True)
    handle = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    made.replace(path)


def _is_locked(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _away(data_dir: Path, hint: str) -> ServerAway:
    error = ServerAway("embedded servers", str(data_dir), hint)
    error.args = (f"no embedded servers run on {data_dir}: {hint}",)
    return error
