"""All access to PostgreSQL: an engine from any URL that libpq takes, errors converted to ours, and waiting for the
schema.

libpq parses the URL itself (lists of hosts, sslmode, service files, sockets), because SQLAlchemy's parser knows only
some forms and takes a bare `postgresql://` for another driver.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import psycopg2
from psycopg2.extensions import parse_dsn
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import ExceptionContext

from engine.errors import InvalidSetting, ServerAway, ServerHangs, WrongVersion
from engine.ledger import revision
from engine.ledger.pooler import Sessions
from engine.ledger.silence import JOBS_S, Silent
from engine.urls import database_complaint, is_port

_UNKNOWN_PARAMETER: Final = re.compile(r'invalid URI query parameter: "([a-z_]{1,40})"')
WHERE: Final = "budget_where"
_EXAMPLE: Final = "postgresql://user:password@localhost:5432/budget"
# Every session uses UTC, acknowledges a commit when it is on disk, and waits for locks under READ COMMITTED.
_OPTIONS: Final = "-c timezone=UTC -c synchronous_commit=on -c default_transaction_isolation=read\\ committed"
READ_ONLY: Final = "25006"
TAKES_NO_WRITES: Final = (
    "it takes no writes: it is a standby, or set read-only; name the primary in DATABASE_URL,"
    " or all servers with target_session_attrs=read-write"
)
_DEFAULTS: Final = {
    "connect_timeout": "5",
    "application_name": "budget-engine",
    # A peer that vanished is detected in about a minute, not in the system's two hours.
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
}


def libpq_params(url: str, field: str = "DATABASE_URL") -> dict[str, str]:
    """What libpq reads from a URL, with our defaults. Raises InvalidSetting (without showing the URL, which has a
    password).
    """
    what = database_complaint(url)
    if what is not None:
        raise InvalidSetting(f"{field} {what}: write it like {_EXAMPLE}", field)
    try:
        given = parse_dsn("postgresql://" + url.partition("://")[2])
    except psycopg2.ProgrammingError as error:
        name = _UNKNOWN_PARAMETER.search(str(error))
        what = f"has a parameter {name[1]} that this libpq does not know" if name else "is not a URL that libpq reads"
        raise InvalidSetting(f"{field} {what}: write it like {_EXAMPLE}", field) from None
    for port in str(given.get("port", "5432")).split(","):
        if port and not is_port(port):
            # Not shown: in a malformed URL it may be a part of the password.
            raise InvalidSetting(
                f"{field} has a port that is not a number from 1 to 65535: write it like {_EXAMPLE}", field
            )
    params = {**_DEFAULTS, **{name: str(value) for name, value in given.items()}}
    # Ours come last, so they override the same options in the URL.
    params["options"] = f"{params['options']} {_OPTIONS}" if params.get("options") else _OPTIONS
    return params


def where(url: str) -> str:
    """Host, port and database of a URL for errors; never the password."""
    return _where(libpq_params(url))


def make_engine(
    url: str, *, pool_size: int = 5, max_overflow: int = 10, patience_s: float = JOBS_S, options: str = ""
) -> Engine:
    """An engine that connects on first use. Raises InvalidSetting for a wrong URL; its calls raise ServerAway while
    PostgreSQL is away.

    patience_s: seconds without a reply after which PostgreSQL counts as hanging. options: more options for each
    session.
    """
    params = libpq_params(url)
    params["options"] += options
    shown_where, sessions = _where(params), Sessions(*_patient(params, patience_s))
    engine = create_engine(
        "postgresql+psycopg2://",
        creator=sessions.connect,
        pool_pre_ping=True,
        pool_size=pool_size,
        max_overflow=max_overflow,
        pool_timeout=2 * patience_s,
        pool_recycle=1800,
        execution_options={WHERE: shown_where},
    )

    @event.listens_for(engine, "begin")
    def set_options(connection: Connection) -> None:
        if sessions.statement:
            connection.exec_driver_sql(sessions.statement)

    @event.listens_for(engine, "handle_error")
    def translate(context: ExceptionContext) -> None:
        # After a failed ping the pool makes a new connection.
        if context.is_pre_ping or not isinstance(context.original_exception, psycopg2.Error):
            return
        if getattr(context.original_exception, "pgcode", None) == READ_ONLY:
            # The connection goes too: the next may lead to the primary.
            context.is_disconnect = True
            raise _away(shown_where, context.original_exception) from context.original_exception
        if context.connection is None or context.is_disconnect or isinstance(context.original_exception, Silent):
            raise _away(shown_where, context.original_exception) from context.original_exception

    return engine


@contextmanager
def reaching(connection: Connection) -> Iterator[None]:
    """Around calls on a raw psycopg2 cursor, which SQLAlchemy does not see: a lost connection becomes ServerAway."""
    try:
        yield
    except (psycopg2.OperationalError, psycopg2.InterfaceError, psycopg2.InternalError) as error:
        # With a SQLSTATE the server is reachable and refused (disk full, deadlock); class 57P means that it is going
        # away.
        if error.pgcode is not None and not error.pgcode.startswith("57P") and error.pgcode != READ_ONLY:
            raise
        place = str(connection.engine.get_execution_options().get(WHERE, "DATABASE_URL"))
        connection.invalidate(error)
        raise _away(place, error) from error


def takes_writes(connection: Connection) -> bool:
    """False on a standby, and where sessions begin read-only."""
    return str(connection.execute(text("SHOW transaction_read_only")).scalar_one()) == "off"


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that writes. Raises WrongVersion where the database has another revision than this program: a program of another release
    would leave out what the tables need.
    """
    with engine.begin() as connection:
        revision.check_in(connection)
        yield connection


def wait_for_revision(
    engine: Engine,
    say: Callable[[str], None] = lambda message: None,
    *,
    timeout_s: float | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    poll_s: float = 1.0,
    sleep: Callable[[float], object] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Waits until the database has the schema revision of this program; calls `say` once for each new reason for
    waiting.

    True when it has, False when `should_stop` was true first.

    Raises WrongVersion at once for a database of a newer program; after `timeout_s`, ServerAway or WrongVersion by
    the reason.
    """
    wanted = revision.expected()
    give_up = None if timeout_s is None else clock() + timeout_s
    said = ""
    while True:
        reason: ServerAway | WrongVersion
        try:
            found = revision.current(engine)
            if found == wanted:
                return True
            if found is not None and not revision.known(found):
                raise revision.newer(found)
            reason = revision.older(found)
        except ServerAway as error:
            reason = error
        if give_up is not None and clock() >= give_up:
            raise reason
        # The length of a silence is no new reason.
        about = f"{reason.part} {reason.where} {reason.hint}" if isinstance(reason, ServerAway) else str(reason)
        if about != said:
            said = about
            say(f"waiting: {reason}")
        if should_stop():
            return False
        sleep(poll_s)


def _where(params: dict[str, str]) -> str:
    hosts = params.get("host", params.get("hostaddr", "localhost")).split(",")
    ports = params.get("port", "5432").split(",")
    places = [f"{host}:{ports[i] if i < len(ports) else ports[-1]}" for i, host in enumerate(hosts)]
    return f"{','.join(places)}/{params.get('dbname', params.get('user', ''))}"


def _patient(params: dict[str, str], patience_s: float) -> tuple[dict[str, str], float]:
    """What a Listener needs. With several hosts libpq asks one after the other, each for 2 s at least: all of them together have so much longer."""
    others = params.get("host", "").count(",")
    if not others:
        return params, patience_s
    each_s = max(2, int(patience_s))
    return {**params, "connect_timeout": str(each_s)}, patience_s + others * each_s


def _away(where: str, error: BaseException) -> ServerAway:
    if isinstance(error, Silent):
        return ServerHangs(
            "PostgreSQL", where, error.silent_s, "it takes connections and says nothing: look at its machine"
        )
    if getattr(error, "pgcode", None) == READ_ONLY:
        return ServerAway("PostgreSQL", where, TAKES_NO_WRITES)
    lines = str(error).strip().splitlines()
    said = lines[0].strip() if lines else type(error).__name__
    return ServerAway("PostgreSQL", where, f"{said}; start it, or correct DATABASE_URL")
