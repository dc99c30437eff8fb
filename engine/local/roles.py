"""The roles of the embedded PostgreSQL. The engine's role owns one database and is not a superuser.

In data of an older release it is a superuser; `take_superuser_away` corrects that at the start.
"""

from __future__ import annotations

import secrets
from typing import Any, Final

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import encrypt_password

SUPERUSER: Final = "postgres"
_MOVER: Final = "budget_mover"
_NO_RIGHTS: Final = "NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
_CHANGE_OWNERS: Final = """
DO $$
DECLARE statement text;
BEGIN
  FOR statement IN
    SELECT format('ALTER TABLE %s OWNER TO {owner}', c.oid::regclass)
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname !~ '^(pg_|information_schema)' AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                          AND c.relkind = 'S' AND d.deptype IN ('a', 'i'))
    UNION ALL
    SELECT format('ALTER ROUTINE %s OWNER TO {owner}', p.oid::regprocedure)
      FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname !~ '^(pg_|information_schema)'
    UNION ALL
    SELECT format('ALTER TYPE %s OWNER TO {owner}', t.oid::regtype)
      FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
     WHERE n.nspname !~ '^(pg_|information_schema)' AND t.typtype IN ('e', 'd')
  LOOP
    EXECUTE statement;
  END LOOP;
END $$
"""


def is_superuser(connection: Any) -> bool:
    """Whether a session's role is a superuser."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        return bool(cursor.fetchone()[0])


def make_role(superuser: Any, name: str, password: str, database: str) -> None:
    """Creates the engine's role and its database where they are missing. superuser: a session with autocommit."""
    with superuser.cursor() as cursor:
        cursor.execute("SELECT FROM pg_roles WHERE rolname = %s", (name,))
        if cursor.fetchone() is None:
            cursor.execute(
                _with_password("CREATE ROLE {} LOGIN " + _NO_RIGHTS + " PASSWORD {}", superuser, name, password)
            )
        cursor.execute("SELECT FROM pg_database WHERE datname = %s", (database,))
        if cursor.fetchone() is None:
            cursor.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(database), sql.Identifier(name))
            )


def take_superuser_away(url: str, name: str, password: str, database: str, superuser_password: str) -> None:
    """Replaces the engine's role of an older release, which is a superuser.

    PostgreSQL cannot take superuser rights from the first role. So that role is renamed to `SUPERUSER`, and a new role
    without rights gets the name, the password and the tables. One transaction does all of it, so after a kill the next
    start repeats it. url: of the engine's role.
    """
    mover = secrets.token_urlsafe(24)
    first = psycopg2.connect(url, connect_timeout=2)
    try:
        first.autocommit = True
        with first.cursor() as cursor:
            cursor.execute("SELECT FROM pg_roles WHERE rolname = %s", (_MOVER,))
            verb = "CREATE" if cursor.fetchone() is None else "ALTER"
            cursor.execute(_with_password(verb + " ROLE {} LOGIN SUPERUSER PASSWORD {}", first, _MOVER, mover))
    finally:
        first.close()
    moving = psycopg2.connect(url, user=_MOVER, password=mover, connect_timeout=2)
    try:
        role = sql.Identifier(name)
        with moving, moving.cursor() as cursor:
            cursor.execute(sql.SQL("ALTER ROLE {} RENAME TO {}").format(role, sql.Identifier(SUPERUSER)))
            cursor.execute(_with_password("ALTER ROLE {} PASSWORD {}", moving, SUPERUSER, superuser_password))
            cursor.execute(
                _with_password("CREATE ROLE {} LOGIN " + _NO_RIGHTS + " PASSWORD {}", moving, name, password)
            )
            cursor.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(database), role))
            cursor.execute(sql.SQL(_CHANGE_OWNERS).format(owner=role))
            # The role stays, but it cannot log in and nobody has its password.
            cursor.execute(sql.SQL("ALTER ROLE {} NOLOGIN NOSUPERUSER").format(sql.Identifier(_MOVER)))
    finally:
        moving.close()


def _with_password(statement: str, connection: Any, name: str, password: str) -> sql.Composed:
    """Fills a role's name and password into a statement. The password is sent as its SCRAM verifier, because
    PostgreSQL logs a statement that fails.
    """
    verifier = encrypt_password(password, name, scope=connection, algorithm="scram-sha-256")
    return sql.SQL(statement).format(sql.Identifier(name), sql.Literal(verifier))
