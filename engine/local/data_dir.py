"""The embedded servers' folders: private, locked against a second `up`, passwords and ports kept over restarts.

Started by root, the servers run as an ordinary user, who may not go through root's private folders. So their data then stands below
/var/lib/budget-engine, and a pointer in the data folder says where.
"""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import secrets
import shutil
import time
from pathlib import Path
from typing import Final, NamedTuple

from engine.errors import Refused
from engine.running import LOCK, forget_running, write_private

SHARED: Final = Path("/var/lib/budget-engine")
_POINTER: Final = "servers-at"
_OWNER: Final = "owner"
_SECRETS: Final = "secrets.json"
_PORTS: Final = "ports.json"
_LOCK_PATIENCE_S: Final = 1.0
"""A command that looks whether an `up` runs holds the lock for a blink."""


class Account(NamedTuple):
    """The ordinary user that servers run as when root starts them."""

    uid: int
    gid: int


class Secrets(NamedTuple):
    """Random, made once, readable by the owner only."""

    hot: str
    jobs: str
    database: str
    secret_key: str


class DataDir:
    """One data folder. `take()` it before anything is written; `release()` it when the servers have stopped."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: int | None = None
        self.account = _account()

    def take(self) -> None:
        """Makes the folder and holds it. Raises Refused when another `up` holds it or it cannot be written."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._check_owner()
            handle = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise Refused(
                f"BUDGET_DATA_DIR {self.path} cannot be written ({error.strerror}): name another folder, or make it yours"
            ) from None
        deadline = time.monotonic() + _LOCK_PATIENCE_S
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() < deadline:
                    time.sleep(0.02)
                    continue
                holder = os.pread(handle, 20, 0).decode(errors="replace").strip() or "unknown"
                os.close(handle)
                raise Refused(
                    f"another `up` (process {holder}) runs on {self.path}: use that one, stop it first,"
                    " or set BUDGET_DATA_DIR to another folder"
                ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        self._lock = handle
        # The last `up` may have been killed before it could say that it is gone.
        forget_running(self.path)

    def _check_owner(self) -> None:
        """Root may enter everybody's folder, but would not find that user's servers there: it keeps its own elsewhere."""
        made = self.path / _SECRETS
        if made.exists() and (owner := made.stat().st_uid) != os.geteuid():
            raise Refused(
                f"{self.path} belongs to the user with id {owner}: run this as that user, or set BUDGET_DATA_DIR"
            )

    def release(self) -> None:
        """Lets go of the folder."""
        forget_running(self.path)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def secrets(self) -> Secrets:
        """The passwords, made on the first call."""
        path = self.path / _SECRETS
        if not path.exists():
            hot, jobs, database = (secrets.token_urlsafe(24) for _ in range(3))
            made = Secrets(hot, jobs, database, secrets.token_hex(32))
            write_private(path, json.dumps(made._asdict()))
        try:
            return Secrets(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError):
            raise Refused(
                f"{path} is damaged: bring it back, or move {self.path} away to begin with empty servers"
            ) from None

    def ports(self) -> dict[str, int]:
        """The ports of the last start."""
        try:
            found = json.loads((self.path / _PORTS).read_text(encoding="utf-8"))
            return {str(name): int(port) for name, port in found.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}

    def keep_ports(self, ports: dict[str, int]) -> None:
        """Remembers the ports for the next start."""
        write_private(self.path / _PORTS, json.dumps(ports))

    def base(self) -> Path:
        """Where the servers' own folders are made. Raises Refused when there is no place for them."""
        if self.account is None:
            return self.path
        pointer = self.path / _POINTER
        try:
            if pointer.exists():
                base = Path(pointer.read_text(encoding="utf-8").strip())
                if not base.is_dir():
                    raise Refused(
                        f"{pointer} says that the servers' data is in {base}, which is gone: bring it back,"
                        f" or move {self.path} away to begin with empty servers"
                    )
                return base
            SHARED.mkdir(mode=0o755, parents=True, exist_ok=True)
            base = SHARED / secrets.token_hex(8)
            base.mkdir(mode=0o711)
            # The umask may have taken away what the servers' user needs to get through.
            SHARED.chmod(0o755)
            base.chmod(0o711)
            write_private(base / _OWNER, str(self.path))
            write_private(pointer, str(base))
        except OSError as error:
            raise Refused(
                f"as root, the servers' data goes below {SHARED}, which cannot be written ({error.strerror}):"
                " make it writable, or run this as an ordinary user"
            ) from None
        return base

    def logs(self) -> Path:
        """Where what the servers say is kept."""
        folder = self.path / "logs"
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def folder(self, role: str, data_name: str) -> Path:
        """One server's folder, named by engine and major version. Raises Refused when another version's data is there."""
        wanted = self.base() / f"{role}-{data_name}"
        if not wanted.exists():
            for other in sorted(self.base().glob(f"{role}-*")):
                if other.suffix != ".new":
                    raise Refused(
                        f"{other} holds data of {other.name.removeprefix(f'{role}-')}, and the program here is {data_name}:"
                        " use the old program, or move that folder away to begin empty"
                    )
        return wanted

    def make_private(self, folder: Path) -> None:
        """A folder that only the servers' user may enter."""
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
        self.give(folder)

    def give(self, path: Path) -> None:
        """Makes the servers' user the owner."""
        if self.account is not None:
            os.chown(path, self.account.uid, self.account.gid)

    def remove(self) -> None:
        """Deletes everything, wherever it stands. Raises Refused while an `up` runs on it."""
        if not self.path.exists():
            return
        self.take()
        try:
            pointer = self.path / _POINTER
            if pointer.exists():
                base = Path(pointer.read_text(encoding="utf-8").strip())
                # Only what this class has made: a damaged pointer must not name anything else.
                if base.parent == SHARED and (base / _OWNER).exists():
                    shutil.rmtree(base, ignore_errors=True)
            shutil.rmtree(self.path, ignore_errors=True)
        finally:
            self.release()


def _account() -> Account | None:
    if os.geteuid() != 0:
        return None
    try:
        found = pwd.getpwnam("nobody")
    except KeyError:
        raise Refused(
            "as root, the servers run as the user `nobody`, which this machine lacks: add it, or run this as an ordinary user"
        ) from None
    return Account(found.pw_uid, found.pw_gid)
