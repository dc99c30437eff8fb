"""The settings, read once: from the environment, else from `.env` at the root. Each is checked before anything starts.

Standard library only, because bidders import it. `TABLE` is the one list of settings with their parsers; a test
compares the docs to it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Final, NamedTuple

from engine.domain.people import Grant, parse_groups
from engine.env_file import read_env_file
from engine.errors import InvalidInput, InvalidSetting, shown
from engine.page_urls import issuer_complaint, public_url_complaint
from engine.secret_files import FROM_FILE, SUFFIX, secret
from engine.urls import (
    database_complaint,
    jobs_redis_complaint,
    masked,
    redis_complaint,
    servers_of,
)

__all__ = [
    "DROP_EXPORTED",
    "LOGIN_ALWAYS",
    "PACKED",
    "TABLE",
    "URLS",
    "Setting",
    "Settings",
    "hot_redis_url",
    "jobs_redis_url",
    "masked",
    "root",
]

DROP_EXPORTED: Final = "exported"
"""The value of SPEND_LOG_DROP with which only exported days are dropped."""
LOGIN_ALWAYS: Final = "always"
"""The value of BUDGET_LOGIN with which the page needs a login before there is a user."""
PACKED: Final = "packed"
"""The value of SPEND_LOG with which persist writes packed rows."""


class Setting(NamedTuple):
    """One row of the documented table; an empty default means unset.

    field: the attribute of `Settings`. parse: reads and checks the value, raises InvalidSetting. show: converts it to
    text again.
    """

    name: str
    default: str
    meaning: str
    example: str
    field: str
    parse: Callable[[_Reader, str], Any]
    show: Callable[[Any], str] = str


def _text(read: _Reader, name: str) -> str:
    return read.text(name)


def _checked(complaint: Callable[[str], str | None]) -> Callable[[_Reader, str], str]:
    return lambda read, name: read.checked(name, complaint)


def _number(least: int, most: int) -> Callable[[_Reader, str], int]:
    return lambda read, name: read.number(name, least, most)


def _number_or_none(least: int, most: int) -> Callable[[_Reader, str], int | None]:
    return lambda read, name: read.number_or_none(name, least, most)


def _one_of(*allowed: str) -> Callable[[_Reader, str], str]:
    return _checked(lambda value: None if value in allowed else f"is not one of {', '.join(allowed)}")


def _or_none(value: int | None) -> str:
    return "none" if value is None else str(value)


def _joined(networks: tuple[IPv4Network | IPv6Network, ...]) -> str:
    return ",".join(map(str, networks))


def _host(value: str) -> str | None:
    return None if re.fullmatch(r"[A-Za-z0-9._:%-]+", value) else "is not a host name or address"


def _groups(read: _Reader, name: str) -> dict[str, Grant]:
    value = read.text(name)
    try:
        return parse_groups(value) if value else {}
    except InvalidInput as error:
        raise InvalidSetting(f"{name}: {error}: write it like {name}={_ROWS[name].example}", name) from None


def _groups_text(groups: Mapping[str, Grant]) -> str:
    scopes = {group: "" if ids is None else ":" + "+".join(map(str, sorted(ids))) for group, (_, ids) in groups.items()}
    return ",".join(f"{group}={role}{scopes[group]}" for group, (role, _) in groups.items())


def _url(read: _Reader, name: str) -> str:
    return read.checked(name, public_url_complaint).rstrip("/")


# fmt: off
TABLE: Final = (
    Setting("REDIS_URL", "", "the hot Redis, one server, a cluster or Sentinel's primary: budgets, counters and the journal",
            "redis://:password@redis.internal:6379/0", "redis_url", _checked(redis_complaint)),
    Setting("JOBS_REDIS_URL", "", "Redis for RQ's job queues; preferably a server of its own",
            "redis://:password@jobs.internal:6379/0", "jobs_redis_url", _checked(jobs_redis_complaint)),
    Setting("DATABASE_URL", "", "PostgreSQL: catalog and spend log",
            "postgresql://budget:password@db.internal:5432/budget", "database_url", _checked(database_complaint)),
    Setting("SECRET_KEY", "", "the key that signs the web page's sessions and forms",
            "6f1d5c1a0f7e4b0e8d0a3b52c8f9d7e1", "secret_key", _text),
    Setting("BUDGET_DATA_DIR", ".data", "the data folder of the embedded servers",
            "/var/lib/my-budgets", "data_dir", lambda read, name: read.folder(name)),
    Setting("BUDGET_WEB_HOST", "127.0.0.1", "the address on which the web page listens", "0.0.0.0", "web_host", _checked(_host)),
    Setting("BUDGET_WEB_PORT", "8000", "the port of the web page", "8000", "web_port", _number(1, 65535)),
    Setting("BUDGET_API_HOST", "127.0.0.1", "the address on which the HTTP API listens", "0.0.0.0", "api_host", _checked(_host)),
    Setting("BUDGET_API_PORT", "8001", "the port of the HTTP API", "8001", "api_port", _number(1, 65535)),
    Setting("BUDGET_API_RATE", "0", "requests a second that a process of the API takes of one token; 0 for no limit", "5000", "api_rate", _number(0, 1_000_000)),
    Setting("BUDGET_ADMIN_PASSWORD", "", "the web page's password; required to listen beyond this machine",
            "correct-horse-battery", "admin_password", lambda read, name: read.not_empty(name)),
    Setting("BUDGET_LOGIN", "auto", "when the web page needs a login: auto, with BUDGET_ADMIN_PASSWORD or once there is a user; always, also before",
            "always", "login", _one_of("auto", LOGIN_ALWAYS)),
    Setting("BUDGET_PUBLIC_URL", "", "the page's public URL behind a proxy; with https, cookies are Secure and HSTS is sent",
            "https://budgets.example.com", "public_url", _url),
    Setting("BUDGET_TRUSTED_PROXIES", "", "addresses or networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are trusted",
            "10.0.0.5,10.1.0.0/24", "trusted_proxies", lambda read, name: read.networks(name), _joined),
    Setting("BUDGET_OIDC_ISSUER", "", "the OpenID provider with which people log in; needs budget-engine[oidc]",
            "https://login.example.com/realms/ads", "oidc_issuer", _checked(issuer_complaint)),
    Setting("BUDGET_OIDC_CLIENT_ID", "", "the name of this page at that provider",
            "budget-engine", "oidc_client_id", _text),
    Setting("BUDGET_OIDC_CLIENT_SECRET", "", "the secret of this page at that provider",
            "b1946ac92492d2347c6235b4d2611184", "oidc_client_secret", _text),
    Setting("BUDGET_OIDC_GROUPS", "", "what the provider's groups may do: group=role, or group=role:ID+ID for some brands",
            "ads-admins=admin,buyers=operator:17+18", "oidc_groups", _groups, _groups_text),
    Setting("METRICS_TOKEN", "", "the bearer token for /metrics; when unset, only this machine may read it", "4be1c0d1f2a84c7c", "metrics_token", _text),
    Setting("BUDGET_WEBHOOK_PRIVATE", "0", "1 lets webhooks be at private, loopback and link-local addresses too", "1", "webhook_private", _number(0, 1)),
    Setting("BUDGET_WAIT_REPLICAS", "0", "how many replicas must confirm a bidder's call for its result to be replicated; 0 waits for none",
            "1", "wait_replicas", _number(0, 10)),
    Setting("REQUEST_ID_MINUTES", "10", "the dedup window of request ids, in minutes", "10", "request_id_minutes", _number(1, 1440)),
    Setting("EVENT_ID_HOURS", "1", "the dedup window of event ids, in hours", "1", "event_id_hours", _number(1, 720)),
    Setting("LATE_GRACE_MINUTES", "0", "minutes after a day's end in which a spend that occurred on that day still counts to it; at most 360",
            "60", "late_grace_minutes", _number(0, 360)),
    Setting("JOURNAL_KEEP_MINUTES", "10", "minutes for which journal entries are kept after they are in PostgreSQL",
            "10", "journal_keep_minutes", _number(1, 10080)),
    Setting("SPEND_LOG", "rows", "how PostgreSQL keeps spends: rows, a row each, or packed, a row a journal entry or many",
            "packed", "spend_log", _one_of("rows", PACKED)),
    # At least as long as every dedup window, because a rebuild reads ids from rows, and as the page's list of spends.
    Setting("SPEND_LOG_KEEP_DAYS", "none", "days after which rows of closed days are dropped and their sums kept; at least 35, none keeps all",
            "400", "spend_log_keep_days", _number_or_none(35, 36500), _or_none),
    Setting("SPEND_LOG_DROP", "closed", "which days past SPEND_LOG_KEEP_DAYS are dropped: closed, or exported (and their files verified)",
            "exported", "spend_log_drop", _one_of("closed", DROP_EXPORTED)),
)
# fmt: on

URLS: Final = ("REDIS_URL", "JOBS_REDIS_URL", "DATABASE_URL")
_ROWS: Final = {row.name: row for row in TABLE}
_ENV_FILE: Final = "BUDGET_ENV_FILE"
"""The variable that names another file instead of `.env`. The tests name an empty one, so that they read no real
settings.
"""


def root() -> Path:
    """The checkout that contains this package; for an installed package the current folder."""
    checkout = Path(__file__).resolve().parents[1]
    return checkout if (checkout / "pyproject.toml").is_file() else Path.cwd()


@dataclass(frozen=True)
class Settings:
    """All settings of a process. With `embedded`, the URLs are empty until `resolved()` finds the running servers."""

    redis_url: str
    jobs_redis_url: str
    database_url: str
    secret_key: str
    data_dir: Path
    web_host: str
    web_port: int
    api_host: str
    api_port: int
    api_rate: int
    admin_password: str
    login: str
    public_url: str
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...]
    oidc_issuer: str
    oidc_client_id: str
    oidc_client_secret: str
    oidc_groups: Mapping[str, Grant]
    metrics_token: str
    webhook_private: int
    wait_replicas: int
    request_id_minutes: int
    event_id_hours: int
    late_grace_minutes: int
    journal_keep_minutes: int
    spend_log: str
    spend_log_keep_days: int | None
    spend_log_drop: str
    embedded: bool

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, env_file: str | Path | None = ".env") -> Settings:
        """Reads and checks every setting. Raises InvalidSetting with the setting's name, the reason and an example."""
        read = _Reader(environ, env_file)
        missing = [name for name in URLS if not read.text(name)]
        if missing and len(missing) < len(URLS):
            given = " and ".join(name for name in URLS if name not in missing)
            raise InvalidSetting(
                f"{' and '.join(missing)} not set, while {given} is: set all three, or none for embedded servers;"
                f" for example {missing[0]}={_ROWS[missing[0]].example}",
                missing[0],
            )
        values = {row.field: row.parse(read, row.name) for row in TABLE}
        oidc = [row.name for row in TABLE if row.field.startswith("oidc_") and not values[row.field]]
        if 0 < len(oidc) < 4:
            raise InvalidSetting(
                f"{oidc[0]} is not set, and other settings of the login provider are: set all four, or none", oidc[0]
            )
        return cls(**values, embedded=bool(missing))

    def resolved(self) -> Settings:
        """The same settings with the URLs of embedded servers. Raises ServerAway when none run on `data_dir`."""
        if not self.embedded or self.redis_url:
            return self
        from engine.running import read_running

        found = read_running(self.data_dir)
        return replace(
            self,
            redis_url=found.hot,
            jobs_redis_url=found.jobs,
            database_url=found.database,
            secret_key=self.secret_key or found.secret_key,
        )

    def refuse_weak_secrets(self) -> None:
        """Raises InvalidSetting for a short password or key, without showing it. For a page that others can reach."""
        for name, value, least, what in (
            ("BUDGET_ADMIN_PASSWORD", len(self.admin_password), 12, "characters"),
            ("SECRET_KEY", len(self.secret_key.encode()), 32, "bytes"),
        ):
            if 0 < value < least:
                raise InvalidSetting(
                    f"{name} has {value} {what}, and a page that others can reach needs {least} or more:"
                    f" write it like {name}={_ROWS[name].example}",
                    name,
                )

    @property
    def needs_login(self) -> bool:
        """Whether the page needs a login whatever users there are, so that it may listen beyond this machine."""
        return bool(self.admin_password or self.oidc_issuer) or self.login == LOGIN_ALWAYS

    @property
    def jobs_on_hot_redis(self) -> bool:
        """Whether one server is the hot Redis and RQ's. This is allowed with a warning: whoever can write to RQ's Redis
        can start and delete jobs.
        """
        return bool(servers_of(self.redis_url) & servers_of(self.jobs_redis_url))

    def as_environment(self) -> dict[str, str]:
        """The settings by name as text, passwords included, without unset ones. `budget-engine env` prints them."""
        values = {row.name: row.show(getattr(self, row.field)) for row in TABLE}
        return {name: value for name, value in values.items() if value}


def hot_redis_url(environ: Mapping[str, str] | None = None, env_file: str | Path | None = ".env") -> str:
    """The URL of the hot Redis, for bidders: REDIS_URL, whether or not the others are set, else the embedded one.

    Raises InvalidSetting for a wrong REDIS_URL, and ServerAway where it is not set and no embedded server runs.
    """
    read = _Reader(environ, env_file)
    return read.checked("REDIS_URL", redis_complaint) or Settings.load(environ, env_file).resolved().redis_url


def replicas_to_wait_for(environ: Mapping[str, str] | None = None, env_file: str | Path | None = ".env") -> int:
    """BUDGET_WAIT_REPLICAS, for a bidder. Raises InvalidSetting for a wrong one."""
    name = "BUDGET_WAIT_REPLICAS"
    found: int = _ROWS[name].parse(_Reader(environ, env_file), name)
    return found


def database_url_if_named(environ: Mapping[str, str] | None = None, env_file: str | Path | None = ".env") -> str:
    """DATABASE_URL, or an empty text where it is not set. Raises InvalidSetting for a wrong one."""
    return _Reader(environ, env_file).checked("DATABASE_URL", database_complaint)


def jobs_redis_url(environ: Mapping[str, str] | None = None, env_file: str | Path | None = ".env") -> str:
    """The URL of RQ's Redis, for the scheduler, which needs JOBS_REDIS_URL only. Where other URLs are set too, all are
    checked as in any process. Raises as `hot_redis_url` does.
    """
    read = _Reader(environ, env_file)
    alone = read.checked("JOBS_REDIS_URL", jobs_redis_complaint)
    others = any(read.text(name) for name in URLS if name != "JOBS_REDIS_URL")
    return Settings.load(environ, env_file).resolved().jobs_redis_url if others or not alone else alone


class _Reader:
    """Reads values from the environment, else from the file. Checks raise InvalidSetting with the setting's name."""

    def __init__(self, environ: Mapping[str, str] | None, env_file: str | Path | None) -> None:
        self.environ: Mapping[str, str] = os.environ if environ is None else environ
        other = self.environ.get(_ENV_FILE, "")
        # Path's `/` keeps an absolute name as it is.
        self.file_path = None if env_file is None else root() / (other or env_file)
        self.file = read_env_file(self.file_path) if self.file_path is not None else {}
        self._read: dict[str, str] = {}
        """Values by name, so that a secret's file is read once."""

    def text(self, name: str) -> str:
        """The value of a setting; its default where it is empty or not set."""
        if name not in self._read:
            self._read[name] = self._given(name)
        value = self._read[name] or _ROWS[name].default
        if "\0" in value or "\n" in value or "\r" in value:
            raise _wrong(name, value, "holds a line break or a NUL")
        return value

    def _given(self, name: str) -> str:
        """The value in the environment, else in `.env`. For a secret, `NAME_FILE` in either may name a file with it."""
        value = self.environ.get(name, "").strip() or self.file.get(name, "")
        if name not in FROM_FILE:
            return value
        path = self.environ.get(name + SUFFIX, "").strip()
        return secret(name, value, path or self.file.get(name + SUFFIX, ""), Path.cwd() if path else root())

    def checked(self, name: str, complaint: Callable[[str], str | None]) -> str:
        value = self.text(name)
        what = complaint(value) if value else None
        if what is not None:
            raise _wrong(name, masked(value), what)
        return value

    def number(self, name: str, least: int, most: int, wrong: str = "is not") -> int:
        value = self.text(name)
        if not (value.isascii() and value.isdigit() and len(value) <= 9 and least <= int(value) <= most):
            raise _wrong(name, value, f"{wrong} a whole number from {least} to {most}")
        return int(value)

    def number_or_none(self, name: str, least: int, most: int) -> int | None:
        """A whole number, or None for the word `none`."""
        return None if self.text(name) == "none" else self.number(name, least, most, "is neither none nor")

    def not_empty(self, name: str) -> str:
        """The value of a password. Raises where it is set but empty: that is a mistake, not a page without password."""
        value = self.text(name)
        given = name in self.environ or name in self.file
        if given and not value:
            raise InvalidSetting(
                f"{name} is set, and empty: give a password, or take the setting away; for example {name}={_ROWS[name].example}",
                name,
            )
        return value

    def networks(self, name: str) -> tuple[IPv4Network | IPv6Network, ...]:
        """A list of addresses and networks, separated by commas."""
        value = self.text(name)
        found = []
        for each in value.split(",") if value else ():
            try:
                network = ip_network(each.strip())
            except ValueError:
                raise _wrong(name, each.strip(), "is neither an address nor a network") from None
            if network.prefixlen == 0:
                raise _wrong(name, each.strip(), "is everybody, and so no proxy")
            found.append(network)
        return tuple(found)

    def folder(self, name: str) -> Path:
        """An absolute path. A relative one in the environment starts at the current folder, any other at the root."""
        path = Path(self.text(name)).expanduser()
        given = bool(self.environ.get(name, "").strip())
        made = Path.cwd() / path if given else root() / path
        if made.exists() and not made.is_dir():
            raise _wrong(name, str(made), "is not a folder")
        return made


def _wrong(name: str, value: str, what: str) -> InvalidSetting:
    return InvalidSetting(f"{name} {shown(value)} {what}: write it like {name}={_ROWS[name].example}", name)
