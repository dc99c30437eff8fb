"""Checks the URLs of servers and masks their passwords. Standard library only, because bidders import it.

An unescaped `@`, `/`, `?` or `#` in a password shifts its rest into another part of the URL: host, port or database.
So a URL is checked before any library parses it, and any part that may belong to a password is masked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from ssl import VerifyFlags
from typing import Final, Literal, NamedTuple
from urllib.parse import unquote, unquote_to_bytes, urlsplit

_INT: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
_ABOVE_0: Final = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_FLOAT: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?", re.ASCII)
_ANY: Final = re.compile(r".*", re.DOTALL)
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,39}", re.ASCII)
_DB: Final = re.compile(r"/?(?:[0-9]{1,9}/?)?", re.ASCII)
_VERIFY_FLAG: Final = f"(?:{'|'.join(VerifyFlags.__members__)})"
_VERIFY_FLAGS: Final = re.compile(rf"\[?{_VERIFY_FLAG}(?:,\s*{_VERIFY_FLAG})*\]?")
_HOST_AND_PORT: Final = re.compile(r"(?:\[[^\]]*\]|[^:\[\]]*)(?::(.*))?", re.DOTALL)

_REDIS: Final = {
    "db": _INT, "username": _ANY, "password": _ANY, "client_name": _ANY, "lib_name": _ANY, "lib_version": _ANY, "protocol": re.compile("[23]"),
    "socket_timeout": _FLOAT, "socket_connect_timeout": _FLOAT, "socket_read_size": _ABOVE_0, "socket_keepalive": _ANY, "retry_on_timeout": _ANY,
    "health_check_interval": _INT, "max_connections": _ABOVE_0, "legacy_responses": _ANY,
    "encoding": re.compile("utf-?8|ascii|latin-?1", re.IGNORECASE), "encoding_errors": re.compile("strict|replace|ignore"),
}  # fmt: skip
"""The parameters that redis-py reads in a URL, with their valid values. Its other options are objects, or change the
replies that this program reads (`decode_responses`).
"""
_REDIS_TLS: Final = {
    "ssl_keyfile": _ANY, "ssl_certfile": _ANY, "ssl_cert_reqs": re.compile("none|optional|required"), "ssl_ca_certs": _ANY, "ssl_ca_path": _ANY,
    "ssl_ca_data": _ANY, "ssl_check_hostname": _ANY, "ssl_password": _ANY, "ssl_min_version": _INT, "ssl_ciphers": _ANY,
    "ssl_include_verify_flags": _VERIFY_FLAGS, "ssl_exclude_verify_flags": _VERIFY_FLAGS,
}  # fmt: skip
_SENTINEL_LOGIN: Final = {"sentinel_username": _ANY, "sentinel_password": _ANY}
_MASTER: Final = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)
_PLAIN: Final = ("redis", "rediss", "unix")
_CLUSTER: Final = ("redis+cluster", "rediss+cluster")
_SENTINEL: Final = ("redis+sentinel", "rediss+sentinel")
_PORTS: Final = {"one": 6379, "cluster": 6379, "sentinel": 26379}
LIBPQ: Final = frozenset(
    [
        "application_name",
        "authtype",
        "channel_binding",
        "client_encoding",
        "connect_timeout",
        "dbname",
        "fallback_application_name",
        "gssdelegation",
        "gssencmode",
        "gsslib",
        "host",
        "hostaddr",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "krbsrvname",
        "load_balance_hosts",
        "max_protocol_version",
        "min_protocol_version",
        "oauth_client_id",
        "oauth_client_secret",
        "oauth_issuer",
        "oauth_scope",
        "options",
        "passfile",
        "password",
        "port",
        "replication",
        "require_auth",
        "requirepeer",
        "requiressl",
        "scram_client_key",
        "scram_server_key",
        "service",
        "servicefile",
        "ssl",
        "ssl_max_protocol_version",
        "ssl_min_protocol_version",
        "sslcert",
        "sslcertmode",
        "sslcompression",
        "sslcrl",
        "sslcrldir",
        "sslkey",
        "sslkeylogfile",
        "sslmode",
        "sslnegotiation",
        "sslpassword",
        "sslrootcert",
        "sslsni",
        "target_session_attrs",
        "tcp_user_timeout",
        "tty",
        "user",
    ]
)
"""The parameters of libpq 10 to 18. One that the installed libpq does not know is refused in
`engine/ledger/database.py`.
"""
_SECRET: Final = frozenset(
    {
        "password",
        "sslpassword",
        "ssl_password",
        "sentinel_password",
        "oauth_client_secret",
        "scram_client_key",
        "scram_server_key",
    }
)
_WORD_PASSWORD: Final = re.compile(r"((?:^|[?&\s])(?:ssl_?|sentinel_)?password\s*=\s*)('[^']*'|[^&\s]*)", re.IGNORECASE)
_ESCAPE: Final = "write %40 for @, %2F for /, %3F for ? and %23 for # in it"
_NO_TEXT: Final = "has escapes that are no UTF-8 text: write each sign as its UTF-8 bytes, as %C3%A4 for \u00e4"
_UNREADABLE: Final = f"has a user or password that breaks it up: {_ESCAPE}, %5B for [ and %5D for ]"


class RedisPlaces(NamedTuple):
    """The servers that a Redis URL names. Made by `redis_places`.

    hosts: host and port of each cluster node, each Sentinel, or the one server. master: the primary's name at the
    Sentinels, else empty.
    """

    kind: Literal["one", "cluster", "sentinel"]
    hosts: tuple[tuple[str, int], ...]
    master: str
    scheme: str
    login: str
    path: str
    query: str

    def url_of(self, host: str, port: int) -> str:
        """The plain URL of one data server, with the login, database and parameters of the whole URL."""
        return f"{self.scheme}://{self.login}{bracketed(host)}:{port}{self.path}{_query(self.query, _SENTINEL_LOGIN)}"

    def sentinel_url_of(self, host: str, port: int) -> str:
        """The plain URL of one Sentinel, with the Sentinels' own login or none."""
        given = dict(part.partition("=")[::2] for part in self.query.removeprefix("?").split("&"))
        user, password = given.get("sentinel_username", ""), given.get("sentinel_password", "")
        login = f"{user}:{password}@" if user or password else ""
        return f"{self.scheme}://{login}{bracketed(host)}:{port}{_query(self.query, {*_SENTINEL_LOGIN, 'db', 'username', 'password'})}"


def redis_places(url: str) -> RedisPlaces:
    """Parses a URL that `redis_complaint` accepts. The URL of a unix socket has no hosts."""
    scheme, _, rest = url.partition("://")
    authority, path, query = _parts(rest)
    login, at, hosts = authority.rpartition("@")
    kind: Literal["one", "cluster", "sentinel"] = (
        "cluster" if scheme in _CLUSTER else "sentinel" if scheme in _SENTINEL else "one"
    )
    found = tuple(_host_and_port(each, _PORTS[kind]) for each in hosts.split(",")) if scheme != "unix" else ()
    master, _, db = path.removeprefix("/").partition("/")
    if kind == "sentinel":
        path = f"/{db}" if db else ""
    return RedisPlaces(
        kind, found, unquote(master) if kind == "sentinel" else "", scheme.partition("+")[0], login + at, path, query
    )


def redis_complaint(value: str) -> str | None:
    """Checks the URL of a Redis. Returns what is wrong, without any part of the password, or None."""
    scheme, mark, rest = value.partition("://")
    if not mark or scheme not in (*_PLAIN, *_CLUSTER, *_SENTINEL):
        return "does not begin with redis://, rediss:// or unix://, nor with redis+cluster:// or redis+sentinel://"
    if not rest:
        return "names no server"
    authority, path, query = _parts(rest)
    what = _unescaped(authority, path, query, socket=scheme == "unix")
    if what is not None:
        return what
    if "#" in rest:
        return "holds a bare #: write %23 for it"
    if not _is_text(rest):
        return _NO_TEXT
    what = None if scheme == "unix" else _wrong_hosts(scheme, authority.rpartition("@")[2])
    if what is not None:
        return what
    what = _wrong_path(scheme, unquote(path)) if scheme != "unix" else None
    if what is not None:
        return what
    try:
        _ = urlsplit(value).port if scheme in _PLAIN else urlsplit(value.partition(",")[0]).netloc
    except ValueError:  # the error's text may contain the password
        return _UNREADABLE
    return _wrong_parameter(scheme, query)


def jobs_redis_complaint(value: str) -> str | None:
    """Checks the URL of RQ's Redis, which cannot be a cluster. Returns as `redis_complaint` does."""
    if value.partition("://")[0] in _CLUSTER:
        return "is a cluster, which RQ cannot use: name one Redis, or redis+sentinel://host:26379/master-name/0"
    return redis_complaint(value)


def _wrong_hosts(scheme: str, hosts: str) -> str | None:
    if "," in hosts and scheme in _PLAIN:
        return "names several servers: write redis+cluster:// for a cluster, redis+sentinel:// for Sentinels"
    each = hosts.split(",")
    if scheme not in _PLAIN and not all(place.partition(":")[0] for place in each):
        return "has a place without a host: write host:port, with commas between several"
    if not all(_is_host_and_port(place) for place in each):
        return "has a port that is not a number from 1 to 65535"
    if not all(_is_host(place) for place in each):
        return "has a host that is no name and no address"
    return None


def _wrong_path(scheme: str, path: str) -> str | None:
    """Checks the path: a database, for Sentinels after the primary's name. Returns what is wrong, or None."""
    if scheme in _SENTINEL:
        master, _, db = path.removeprefix("/").partition("/")
        if not master:
            return "names no master: write it like redis+sentinel://host:26379/master-name/0"
        if _MASTER.fullmatch(master) is None:
            return "has a master name with other signs than letters, digits, dots, dashes and underscores"
        return None if _DB.fullmatch(db) else "names a database that is not a number: write its number, as /0"
    if scheme in _CLUSTER:
        if path in ("", "/", "/0", "/0/"):
            return None
        if _DB.fullmatch(path):
            return "names another database than 0, and a cluster has no other: leave it out"
        return "has more than hosts: a cluster takes no database and no master name (redis+sentinel:// has one)"
    return None if _DB.fullmatch(path) else "names a database that is not a number: write its number, as /0"


def _wrong_parameter(scheme: str, query: str) -> str | None:
    known = _REDIS | _REDIS_TLS if scheme.startswith("rediss") else _REDIS
    known = known | _SENTINEL_LOGIN if scheme in _SENTINEL else known
    for name, given in _pairs(query):
        if name in _REDIS_TLS and name not in known:
            return f"has the parameter {name}, which needs rediss://"
        if name in _SENTINEL_LOGIN and name not in known:
            return f"has the parameter {name}, which needs redis+sentinel://"
        if name not in known:
            return _unknown(name, query, "a Redis URL can have")
        if known[name].fullmatch(given) is None:
            return f"has a value of the parameter {name} that cannot be read"
        if name == "db" and scheme in _CLUSTER and given != "0":
            return "names another database than 0, and a cluster has no other: leave it out"
    return None


def database_complaint(value: str) -> str | None:
    """Checks the URL of a PostgreSQL as far as is possible without libpq. Returns what is wrong, without any part of
    the password, or None.
    """
    scheme, mark, rest = value.partition("://")
    if not mark or scheme.lower() not in ("postgresql", "postgres", "postgresql+psycopg2", "postgresql+psycopg"):
        return "does not begin with postgresql:// or postgres://"
    authority, path, query = _parts(rest, "/?")  # libpq gives # no special meaning
    what = _unescaped(authority, path, query, socket=False)
    if what is not None:
        return what
    if not _is_text(rest):
        return _NO_TEXT
    if not all(_is_host_and_port(place) for place in authority.rpartition("@")[2].split(",")):
        return "has a port that is not a number from 1 to 65535"
    for name, _ in _pairs(query):
        if name not in LIBPQ:
            return _unknown(name, query, "PostgreSQL's libpq knows")
    return None


def masked(url: str) -> str:
    """Masks a URL for display: every password in it is `***`, and so is any part that may belong to one."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        return _WORD_PASSWORD.sub(r"\1***", url)
    complaint = database_complaint if scheme.lower().startswith("postgres") else redis_complaint
    if complaint(url) is None:
        authority, path, query = _parts(rest, "/?" if complaint is database_complaint else "/?#")
        return f"{scheme}://{_without_password(authority)}{path}{_masked_query(query)}"
    # The password may be what makes the URL invalid, so everything up to the last @ may be part of it.
    before, at, after = rest.rpartition("@")
    host, path, query = _parts(after)
    if not at and not _is_host_and_port(host.split(",")[0]):
        return f"{scheme}://{host.partition(':')[0]}:***"
    if not all(_NAME.fullmatch(name) for name, _ in _pairs(query)):
        query = ""
    user, colon, _ = before.partition(":")
    shown_user = user if re.fullmatch(r"[A-Za-z0-9._~%-]*", user) else "***"
    return f"{scheme}://{shown_user}{':***' if colon else ''}{at}{host}{path}{_masked_query(query)}"


def _parts(rest: str, ends: str = "/?#") -> tuple[str, str, str]:
    """Splits what follows the scheme: user, password and hosts; the path; the query with its question mark."""
    end = next((i for i, sign in enumerate(rest) if sign in ends), len(rest))
    path, question, query = rest[end:].partition("?")
    return rest[:end], path, question + query


def _unescaped(authority: str, path: str, query: str, *, socket: bool) -> str | None:
    """Detects an unescaped character in the user or password. Returns what is wrong, or None."""
    if authority.count("@") > 1:
        return f"has a bare @ in its user or password: {_ESCAPE}"
    if "@" in path and not (socket and (not authority or authority.endswith("@"))):
        return f"has an @ behind its host, so a bare / or # may stand in its password: {_ESCAPE}"
    if any("@" in name or "/" in name for name, _ in _pairs(query)):
        return f"has a bare ? in its password: {_ESCAPE}"
    return None


def _pairs(query: str) -> Iterator[tuple[str, str]]:
    """The names and values of a query, decoded."""
    for part in query.removeprefix("?").split("&"):
        if part:
            name, _, value = part.partition("=")
            yield unquote(name), unquote(value)


def _masked_query(query: str) -> str:
    parts = query.removeprefix("?").split("&") if query else []
    for i, part in enumerate(parts):
        name, equals, _ = part.partition("=")
        if unquote(name).lower() in _SECRET:
            parts[i] = f"{name}{equals}***"
    return query[:1] + "&".join(parts)


def _without_password(authority: str) -> str:
    user_and_password, at, host = authority.rpartition("@")
    user, colon, _ = user_and_password.partition(":")
    return f"{user}{':***' if colon else ''}{at}{host}"


def _unknown(name: str, query: str, known: str) -> str:
    # A name of another form, or one before an @, may be part of a password.
    said = f" {name}" if _NAME.fullmatch(name) and "@" not in query else ""
    return f"has a parameter{said} that is none {known}: take it away or correct its name"


def servers_of(url: str) -> frozenset[str]:
    """The servers that a Redis URL names, to compare two URLs; empty for an invalid URL."""
    if redis_complaint(url) is not None:
        return frozenset()
    places = redis_places(url)
    if not places.hosts:
        return frozenset([places.path])
    behind = f"/{places.master}" if places.master else ""
    return frozenset(f"{bracketed(host.lower())}:{port}{behind}" for host, port in places.hosts)


def bracketed(host: str) -> str:
    """A host as written before a port: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def _host_and_port(text: str, port: int) -> tuple[str, int]:
    found = _HOST_AND_PORT.fullmatch(text)
    host = text[: found.start(1) - 1] if found is not None and found[1] else text.removesuffix(":")
    return unquote(host.strip("[]")) or "localhost", int(found[1]) if found is not None and found[1] else port


def _query(query: str, without: Iterable[str]) -> str:
    kept = [part for part in query.removeprefix("?").split("&") if part and part.partition("=")[0] not in without]
    return f"?{'&'.join(kept)}" if kept else ""


def _is_host_and_port(text: str) -> bool:
    """Whether a text is a host with or without a valid port."""
    found = _HOST_AND_PORT.fullmatch(text)
    return found is not None and (not found[1] or is_port(found[1]))


def _is_host(place: str) -> bool:
    """Whether Python's resolver accepts the host; it raises for one that it cannot encode."""
    host = unquote(place if place.startswith("[") else place.rpartition(":")[0] or place)
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return len(host) <= 255


def _is_text(quoted: str) -> bool:
    """Whether the escapes in a URL are valid UTF-8."""
    try:
        unquote_to_bytes(quoted).decode()
    except UnicodeError:
        return False
    return True


def is_port(text: str) -> bool:
    """Whether a text is a number from 1 to 65535."""
    return text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535
