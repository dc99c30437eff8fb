"""The folders of the embedded servers: private, locked against a second `up`, with passwords and ports that survive
restarts.

Started by root, the servers run as an ordinary user, who cannot enter root's private folders. Their data is then below
/var/lib/budget-engine, and a pointer file in the data folder has the path.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pwd
import secrets
import shutil
import stat
import time
from pathlib import Path
from typing import IO, Final, NamedTuple

from engine.errors import Refused, shown
from engine.running import LOCK, forget_running, write_private

SHARED: Final = Path("/var/lib/budget-engine")
ACCOUNTS: Final = ("budget-engine", "nobody")
"""Users that the servers may run as, the preferred one first. The engine creates no user; that is the administrator's
decision.
"""
_POINTER: Final = "servers-at"
_OWNER: Final = "owner"
_SECRETS: Final = "secrets.json"
_SUPERUSER: Final = "superuser"
_PORTS: Final = "ports.json"
_LOCK_PATIENCE_S: Final = 1.0
"""How long to wait for the lock. A command that checks whether an `up` runs holds it for a moment."""


class Account(NamedTuple):
    """The ordinary user that servers run as when root starts them."""

    uid: int
    gid: int


class Secrets(NamedTuple):
    """The servers' passwords and the key of the web page: random, made once, readable by the owner only."""

    hot: str
    jobs: str
    database: str
    secret_key: str


class DataDir:
    """One data folder. Call `take()` before anything is written, and `release()` when the servers have stopped."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: int | None = None
        self._folder_fd: int | None = None
        self.account = _account()

    @property
    def place(self) -> Path:
        """The folder that `take()` opened. The owner of the parent folder may have put a link under its name since."""
        opened = Path(f"/proc/self/fd/{self._folder_fd}")
        return opened if self._folder_fd is not None and opened.exists() else self.path

    def take(self) -> None:
        """Makes the folder and locks it. Raises Refused when another `up` has the lock or the folder is read-only."""
        try:
            self._refuse_links()
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._open_folder()
            handle = os.open(self.place / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            self._close_folder()
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
                self._close_folder()
                raise Refused(
                    f"another `up` (process {holder}) runs on {self.path}: use that one, stop it first,"
                    " or set BUDGET_DATA_DIR to another folder"
                ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        self._lock = handle
        # The last `up` may have been killed before it removed its addresses.
        forget_running(self.place)

    def _open_folder(self) -> None:
        """Opens the folder and keeps it open. Raises Refused when another user owns it or a link on its path: such a
        folder may hold links to files of this user.
        """
        self._refuse_links()
        self._folder_fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        if (owner := os.fstat(self._folder_fd).st_uid) != os.geteuid():
            self._close_folder()
            raise Refused(
                f"{self.path} belongs to the user with id {owner}: run this as that user, or set BUDGET_DATA_DIR"
            )

    def _refuse_links(self) -> None:
        for part in (self.path, *self.path.parents):
            try:
                found = part.lstat()
            except FileNotFoundError:
                continue
            if stat.S_ISLNK(found.st_mode) and found.st_uid not in (0, os.geteuid()):
                raise Refused(
                    f"{part} is a link that the user with id {found.st_uid} made: set BUDGET_DATA_DIR to where it leads"
                )

    def _close_folder(self) -> None:
        if self._folder_fd is not None:
            os.close(self._folder_fd)
            self._folder_fd = None

    def release(self) -> None:
        """Unlocks and closes the folder."""
        if self._lock is not None:
            forget_running(self.place)
            os.close(self._lock)
            self._lock = None
        self._close_folder()

    def secrets(self) -> Secrets:
        """The passwords, made on the first call. Raises Refused when their file is damaged."""
        path = self.place / _SECRETS
        if not path.exists():
            hot, jobs, database = (secrets.token_urlsafe(24) for _ in range(3))
            made = Secrets(hot, jobs, database, secrets.token_hex(32))
            write_private(path, json.dumps(made._asdict()))
        try:
            return Secrets(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError):
            raise Refused(
                f"{self.path / _SECRETS} is damaged: bring it back, or move {self.path} away to begin with empty servers"
            ) from None

    def superuser(self) -> str:
        """The password of PostgreSQL's superuser, made on the first call. It has a file of its own: an older release
        would not accept another field in the file of `secrets()`.
        """
        path = self.place / _SUPERUSER
        if not path.exists():
            write_private(path, secrets.token_urlsafe(24))
        return path.read_text(encoding="utf-8").strip()

    def ports(self) -> dict[str, int]:
        """The ports of the last start, by role; empty when there was none or the file is damaged."""
        try:
            found = json.loads((self.place / _PORTS).read_text(encoding="utf-8"))
            return {str(name): int(port) for name, port in found.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}

    def keep_ports(self, ports: dict[str, int]) -> None:
        """Stores the ports for the next start."""
        write_private(self.place / _PORTS, json.dumps(ports))

    def base(self) -> Path:
        """The parent folder of the servers' folders. Raises Refused when it cannot be made or is not private."""
        if self.account is None:
            return self.path
        pointer = self.place / _POINTER
        try:
            if pointer.exists():
                return self._pointed_at(pointer)
            SHARED.mkdir(mode=0o755, parents=True, exist_ok=True)
            _check_private(SHARED)
            base = SHARED / secrets.token_hex(8)
            base.mkdir(mode=0o711)
            # The umask may have removed the rights that the servers' user needs to enter.
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

    def _pointed_at(self, pointer: Path) -> Path:
        """The parent folder that an earlier start made. Raises Refused when it is gone, or when this class cannot have
        made it: root would give foreign files to the servers' user.
        """
        base = Path(pointer.read_text(encoding="utf-8").strip())
        named = f"{self.path / _POINTER} says that the servers' data is in {shown(str(base))}, which is"
        if base.parent != SHARED or base.name in ("", ".", ".."):
            raise Refused(f"{named} not below {SHARED}: move {self.path} away to begin with empty servers")
        if base.is_symlink() or not base.is_dir():
            raise Refused(f"{named} gone: bring it back, or move {self.path} away to begin with empty servers")
        _check_private(SHARED)
        _check_private(base)
        self._keep_account(base)
        return base

    def _keep_account(self, base: Path) -> None:
        """Existing data keeps the user that wrote it, even if a preferred user was added to the machine since."""
        for folder in base.iterdir():
            owner = folder.lstat().st_uid
            for name in ACCOUNTS:
                with contextlib.suppress(KeyError):
                    found = pwd.getpwnam(name)
                    if found.pw_uid == owner != 0:
                        self.account = Account(found.pw_uid, found.pw_gid)

    def logs(self) -> Path:
        """The folder of the servers' logs."""
        (self.place / "logs").mkdir(mode=0o700, exist_ok=True)
        return self.path / "logs"

    def open_log(self, role: str, limit: int) -> IO[bytes]:
        """Opens one server's log for appending. A log of more than `limit` bytes is renamed to `.log.old` first."""
        (self.place / "logs").mkdir(mode=0o700, exist_ok=True)
        log = self.place / "logs" / f"{role}.log"
        if log.exists() and log.stat().st_size > limit:
            log.replace(log.with_suffix(".log.old"))
        return os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600), "ab")

    def folder(self, role: str, data_name: str) -> Path:
        """The data folder of one server, named by role, engine and major version. Raises Refused when there is data of
        another version.
        """
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
        """Makes a folder that only the servers' user can enter."""
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
        self.give(folder)

    def give(self, path: Path) -> None:
        """Makes the servers' user the owner of a path."""
        if self.account is not None:
            os.chown(path, self.account.uid, self.account.gid)

    def remove(self) -> None:
        """Deletes the folder, and the servers' folders below `SHARED`. Raises Refused while an `up` runs on it."""
        if not self.path.exists():
            return
        self.take()
        try:
            pointer = self.place / _POINTER
            if pointer.exists():
                base = Path(pointer.read_text(encoding="utf-8").strip())
                # Delete only what this class made: a damaged pointer may name another folder.
                if base.parent == SHARED and not base.is_symlink() and (base / _OWNER).exists():
                    shutil.rmtree(base, ignore_errors=True)
            shutil.rmtree(self.path, ignore_errors=True)
        finally:
            self.release()


def _check_private(folder: Path) -> None:
    """Raises Refused when another user can write to a folder. Root makes folders in it and changes their owner, which
    another user could exploit by links.
    """
    found = folder.stat()
    if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise Refused(
            f"{folder} may be written by others (owner {found.st_uid}, mode {stat.S_IMODE(found.st_mode):o}):"
            f" chown it to the user with id {os.geteuid()} and chmod it 755, or move it away"
        )


def _account() -> Account | None:
    """The user that the servers run as; None when this process is not root. Prefers a user of their own, which no other
    program shares. Raises Refused when the machine has none of `ACCOUNTS`.
    """
    if os.geteuid() != 0:
        return None
    for name in ACCOUNTS:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        if found.pw_uid != 0:
            return Account(found.pw_uid, found.pw_gid)
    raise Refused(
        f"as root, the servers run as the user `{ACCOUNTS[0]}` or `{ACCOUNTS[-1]}`, and this machine has neither:"
        " add one, or run this as an ordinary user"
    )
