"""What root starts writes through nobody's links, gives nothing away, and hands each process the secrets that it needs and no others."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import psycopg2.errors
import pytest

from engine.errors import InvalidSetting, Refused
from engine.job_table import QUEUES
from engine.ledger import migrate
from engine.ledger.database import make_engine
from engine.local import data_dir as module
from engine.local import roles
from engine.local.data_dir import DataDir
from engine.local.servers import EmbeddedServers
from engine.running import LOCK, RUNNING, Running, write_running
from engine.secret_files import FROM_FILE
from engine.settings import Settings, jobs_redis_url
from engine.up import commands, needed_by
from engine.wiring import System
from tests.local.conftest import until

STRANGER = 54321
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can own what another user made")
PRECIOUS = "precious\n"


@pytest.fixture
def victim(folder: Path) -> Path:
    """A file of root's that a stranger would like to see overwritten or given away."""
    made = folder / "victim"
    made.write_text(PRECIOUS)
    made.chmod(0o600)
    return made


@pytest.fixture
def shared(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """In place of /var/lib/budget-engine."""
    made = folder / "shared"
    made.mkdir(mode=0o755)
    monkeypatch.setattr(module, "SHARED", made)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def link(place: Path, target: Path, owner: int = STRANGER) -> None:
    place.symlink_to(target)
    os.lchown(place, owner, owner)


@as_root
@pytest.mark.parametrize("name", [LOCK, "secrets.json.new", f"{RUNNING}.new", "ports.json.new", "logs"])
def test_root_takes_no_folder_of_another_user_and_touches_nothing_that_its_links_lead_to(
    name: str, folder: Path, victim: Path
) -> None:
    theirs = folder / "theirs"
    theirs.mkdir()
    link(theirs / name, victim)
    os.chown(theirs, STRANGER, STRANGER)
    with pytest.raises(Refused, match=f"belongs to the user with id {STRANGER}"):
        DataDir(theirs).take()
    assert victim.read_text() == PRECIOUS
    assert victim.stat().st_uid == 0


@pytest.mark.parametrize("name", [LOCK, "secrets.json.new", f"{RUNNING}.new", "ports.json.new"])
def test_a_link_in_the_folder_is_not_written_through(name: str, folder: Path, victim: Path) -> None:
    ours = folder / "ours"
    ours.mkdir()
    (ours / name).symlink_to(victim)
    data = DataDir(ours)
    try:
        data.take()
        data.secrets()
        data.keep_ports({"hot": 1})
        write_running(data.place, Running("a", "b", "c", "d"))
    except Refused as refused:
        assert name == LOCK and "cannot be written" in str(refused)
    finally:
        data.release()
    assert victim.read_text() == PRECIOUS


def test_a_log_that_is_a_link_is_not_written_through(folder: Path, victim: Path) -> None:
    data = DataDir(folder / "ours")
    data.take()
    (data.logs() / "hot.log").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        data.open_log("hot", 1 << 20)
    data.release()
    assert victim.read_text() == PRECIOUS


@as_root
def test_a_link_that_another_user_made_leads_root_nowhere_and_one_of_root_does(folder: Path) -> None:
    real = folder / "real"
    real.mkdir()
    link(folder / "theirs", real)
    link(folder / "roots", real, owner=0)
    for path in (folder / "theirs", folder / "theirs" / "below"):
        with pytest.raises(Refused, match=f"is a link that the user with id {STRANGER} made"):
            DataDir(path).take()
    data = DataDir(folder / "roots")
    data.take()
    data.release()
    assert list(real.iterdir()) == [real / LOCK]


def test_a_folder_that_is_exchanged_while_it_is_held_gets_nothing(folder: Path) -> None:
    if not Path("/proc/self/fd").exists():
        pytest.skip("only Linux names open folders")
    data, elsewhere = DataDir(folder / "ours"), folder / "elsewhere"
    elsewhere.mkdir()
    data.take()
    (folder / "ours").rename(folder / "moved")
    (folder / "ours").symlink_to(elsewhere)
    data.secrets()
    data.keep_ports({"hot": 1})
    data.open_log("hot", 1).close()
    write_running(data.place, Running("a", "b", "c", "d"))
    data.release()
    assert list(elsewhere.iterdir()) == []
    assert {path.name for path in (folder / "moved").iterdir()} == {LOCK, "secrets.json", "ports.json", "logs"}


@as_root
@pytest.mark.parametrize("where", ["elsewhere", "above", "a link", "a stranger's", "open to all"])
def test_a_pointer_to_what_the_engine_has_not_made_gives_nothing_away(
    where: str, folder: Path, shared: Path, victim: Path
) -> None:
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    place = {"elsewhere": elsewhere, "above": shared / ".."}.get(where, shared / "0123456789abcdef")
    if where == "a link":
        place.symlink_to(elsewhere)
    elif where in ("a stranger's", "open to all"):
        place.mkdir()
        place.chmod(0o777 if where == "open to all" else 0o755)
        os.chown(place, STRANGER if where == "a stranger's" else 0, 0)
    data = DataDir(folder / "ours")
    data.take()
    (data.path / "servers-at").write_text(str(place))
    with pytest.raises(Refused):
        data.make_private(data.folder("hot", "valkey-9"))
    data.release()
    assert list(elsewhere.iterdir()) == []
    assert elsewhere.stat().st_uid == 0


@as_root
def test_a_place_for_servers_that_others_may_write_in_is_refused(folder: Path, shared: Path) -> None:
    os.chown(shared, STRANGER, STRANGER)
    data = DataDir(folder / "ours")
    data.take()
    with pytest.raises(Refused, match="may be written by others"):
        data.base()
    data.release()


@as_root
def test_servers_run_as_a_user_of_their_own_where_there_is_one_and_old_data_keeps_its_user(
    folder: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`games` stands for a user of their own: every Debian has it."""
    nobody, own = pwd.getpwnam("nobody").pw_uid, pwd.getpwnam("games").pw_uid
    old = DataDir(folder / "old")
    assert old.account is not None and old.account.uid == nobody, "this machine has no budget-engine user"
    old.take()
    old.make_private(old.folder("hot", "valkey-9"))
    old.release()
    monkeypatch.setattr(module, "ACCOUNTS", ("games", "nobody"))
    for path, user in ((folder / "new", own), (folder / "old", nobody)):
        data = DataDir(path)
        data.take()
        made = data.folder("hot", "valkey-9")
        data.make_private(made)
        data.release()
        assert made.stat().st_uid == user
        assert data.account is not None and data.account.uid == user


def test_each_process_is_given_the_secrets_that_it_needs_and_no_others() -> None:
    forms = [form for name in FROM_FILE for form in (name, f"{name}_FILE")]
    environ = {**dict.fromkeys(forms, "x"), "PATH": "/bin", "BUDGET_DATA_DIR": "/d"}
    given = {
        name: set(needed_by(name, environ)) - {"PATH", "BUDGET_DATA_DIR"}
        for stage in commands(True)
        for name, _ in stage
    }
    urls = {form for form in forms if "URL" in form}
    assert given == {
        "web": set(forms),
        "scheduler": {"JOBS_REDIS_URL", "JOBS_REDIS_URL_FILE"},
        "api": urls,
        "traffic": urls,
        **dict.fromkeys(QUEUES, urls),
    }
    assert set(needed_by("migrate", environ)) == urls | {"PATH", "BUDGET_DATA_DIR"}


def test_the_scheduler_needs_the_jobs_redis_alone() -> None:
    own = {"JOBS_REDIS_URL": "redis://:pw@jobs:6379/0"}
    assert jobs_redis_url(own, None) == "redis://:pw@jobs:6379/0"
    for other in ({"REDIS_URL": "nonsense"}, {"DATABASE_URL": "postgresql://db/budget"}):
        with pytest.raises(InvalidSetting, match="REDIS_URL"):
            jobs_redis_url({**own, **other}, None)


def test_a_child_of_up_is_started_without_what_it_does_not_need(folder: Path) -> None:
    """Read from the process itself."""
    environ = needed_by(
        "persist", {**os.environ, "SECRET_KEY": "signs", "BUDGET_ADMIN_PASSWORD": "word", "REDIS_URL": "r"}
    )
    code = "import json, os; print(json.dumps(sorted(n for n in os.environ if n.startswith(('SECRET', 'BUDGET_ADMIN', 'REDIS'))))) "
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == ["REDIS_URL"]


def asked(url: str, statement: str) -> list[tuple[object, ...]]:
    """The rows of one statement."""
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []
    finally:
        connection.close()


RIGHTS = "SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls FROM pg_roles WHERE rolname = current_user"
OWNED = "SELECT datname FROM pg_database WHERE datdba = current_user::regrole"


def test_the_engines_role_in_postgresql_is_no_superuser_and_owns_one_database(folder: Path) -> None:
    servers = EmbeddedServers(folder / "data")
    try:
        url = servers.start().database
        assert asked(url, RIGHTS) == [(False,) * 5]
        assert asked(url, OWNED) == [("budget",)]
        for refused in (
            "CREATE DATABASE other",
            "CREATE ROLE other",
            "COPY (SELECT 1) TO PROGRAM 'true'",
            "CHECKPOINT",
        ):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                asked(url, refused)
        engine = make_engine(url)
        migrate.upgrade(engine)
        engine.dispose()
        assert "budget_mover" not in str(asked(url, "SELECT rolname FROM pg_roles"))
        servers.stop()
        assert asked(servers.start().database, OWNED) == [("budget",)], "and after a restart"
    finally:
        servers.remove()


def old_data(path: Path) -> EmbeddedServers:
    """Servers as the release before made them: the role of the engine is the first superuser, and no other password is kept."""
    servers = EmbeddedServers(path)
    servers.data.take()
    servers._make()
    postgres = servers.all[-1]
    password = servers.data.place / "superuser"
    password.write_text(servers.data.secrets().database)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(roles, "SUPERUSER", "budget")
        postgres.launch()
        until(lambda: reaches(postgres.url.rpartition("/")[0] + "/postgres"))
        asked(postgres.url.rpartition("/")[0] + "/postgres", "CREATE DATABASE budget")
    engine = make_engine(postgres.url)
    migrate.upgrade(engine)
    engine.dispose()
    assert asked(postgres.url, RIGHTS)[0][0] is True
    password.unlink()
    servers.stop()
    return servers


def reaches(url: str) -> bool:
    try:
        psycopg2.connect(url, connect_timeout=1).close()
    except psycopg2.OperationalError:
        return False
    return True


@pytest.mark.long
def test_an_up_on_data_whose_role_was_superuser_takes_that_away_and_keeps_every_row(folder: Path) -> None:
    servers = old_data(folder / "data")
    try:
        for _ in range(2):
            url = servers.start().database
            assert asked(url, RIGHTS) == [(False,) * 5]
            assert asked(url, OWNED) == [("budget",)]
            foreign = (
                "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = 'public'"
            )
            assert asked(url, f"{foreign} AND relowner <> current_user::regrole") == [(0,)]
            assert asked(url, "SELECT rolname FROM pg_roles WHERE rolsuper OR rolname LIKE 'budget%' ORDER BY 1") == [
                ("budget",),
                ("budget_mover",),
                ("postgres",),
            ]
            assert asked(url, "SELECT rolsuper OR rolcanlogin FROM pg_roles WHERE rolname = 'budget_mover'") == [
                (False,)
            ]
            made = System(
                Settings.load(
                    {"REDIS_URL": servers.urls.hot, "JOBS_REDIS_URL": servers.urls.jobs, "DATABASE_URL": url}, None
                )
            )
            made.rebuilder.rebuild_missing()
            made.manage.create_brand(f"brand {os.urandom(4).hex()}", None, None, None, "test")
            made.log_days.make_ahead()
            made.close()
            servers.stop()
    finally:
        servers.remove()
