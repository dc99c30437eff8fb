"""URLs of servers: each is read as it was meant or refused at start, and no piece of a password is ever shown."""

from __future__ import annotations

from urllib.parse import quote

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from psycopg2.extensions import parse_dsn
from redis.connection import parse_url

from engine import AsyncBudgetClient, BudgetClient
from engine.errors import InvalidSetting
from engine.ledger.database import libpq_params, make_engine, where
from engine.live.transport.pool import ConnectionPool
from engine.logs import _masked as masked_in_logs
from engine.settings import Settings, hot_redis_url
from engine.urls import LIBPQ, database_complaint, masked, redis_complaint
from engine.views.doctor.examine import examine

SCHEMES = {"REDIS_URL": "redis", "JOBS_REDIS_URL": "rediss", "DATABASE_URL": "postgresql"}
GOOD = {
    "REDIS_URL": "redis://:pw@hot:6379/0",
    "JOBS_REDIS_URL": "redis://:pw@jobs:6379/0",
    "DATABASE_URL": "postgresql://budget:pw@db:5432/budget",
}
PIECES = ("Xq7", "Wv9k", "Zj")
PASSWORDS = st.lists(
    st.sampled_from([*PIECES, "@", "/", "?", "#", ":", "=", "&", "[", "]", "%", "Xq7=1"]), min_size=1
).map("".join)


def refusal(name: str, url: str) -> str:
    with pytest.raises(InvalidSetting) as refused:
        Settings.load({**GOOD, name: url}, None)
    assert refused.value.field == name
    said = str(refused.value)
    assert said.startswith(f"{name} ")
    assert "\n" not in said
    return said


def shows_a_piece(text: str) -> bool:
    return any(piece in text for piece in PIECES)


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize(
    ("password", "escaped"),
    [("Xq7@Wv9k", "%40"), ("Xq7/Wv9k", "%2F"), ("Xq7?Wv9k", "%3F"), ("@Xq7", "%40"), ("Xq7/", "%2F"), ("1234/Xq7", "%2F"), ("12@34/Xq7", "%40")],
)  # fmt: skip
def test_a_bare_sign_in_a_password_is_refused_with_its_escape_and_without_a_piece_of_it(
    name: str, password: str, escaped: str
) -> None:
    url = f"{SCHEMES[name]}://user:{password}@host:1234/0"
    said = refusal(name, url)
    assert not shows_a_piece(said)
    assert escaped in said or "port that is not a number" in said
    assert not shows_a_piece(masked(url))
    good = f"{SCHEMES[name]}://user:{quote(password, safe='')}@host:1234/0"
    assert Settings.load({**GOOD, name: good}, None).as_environment()[name] == good


@pytest.mark.parametrize("name", ["REDIS_URL", "JOBS_REDIS_URL"])
def test_a_bare_hash_sign_in_a_password_of_redis_is_refused(name: str) -> None:
    said = refusal(name, "redis://:Xq7#Wv9k@host:1234/0")
    assert "%23" in said
    assert not shows_a_piece(said)


def test_a_hash_sign_in_a_password_of_postgresql_is_read_by_libpq_as_it_was_meant() -> None:
    url = "postgresql://user:Xq7#Wv9k@host:1234/db"
    assert database_complaint(url) is None
    params = libpq_params(url)
    assert (params["password"], params["host"], where(url)) == ("Xq7#Wv9k", "host", "host:1234/db")
    assert masked(url) == "postgresql://user:***@host:1234/db"


@given(PASSWORDS, st.sampled_from(["", "u"]), st.sampled_from(["", "?client_name=me"]))
def test_any_password_of_redis_is_read_as_it_was_meant_or_refused_and_never_shown(
    password: str, user: str, query: str
) -> None:
    url = f"redis://{user}:{password}@host:1234/0{query}"
    assert not shows_a_piece(masked(url))
    assert not shows_a_piece(masked_in_logs(f"at {url} is nothing"))
    if redis_complaint(url) is None:
        assert parse_url(url)["host"] == "host"
    else:
        assert not shows_a_piece(refusal("REDIS_URL", url))
    assert redis_complaint(f"redis://{user}:{quote(password, safe='')}@host:1234/0{query}") is None


@given(PASSWORDS, st.sampled_from(["u", ""]), st.sampled_from(["", "?sslmode=require"]))
def test_any_password_of_postgresql_is_read_as_it_was_meant_or_refused_and_never_shown(
    password: str, user: str, query: str
) -> None:
    url = f"postgresql://{user}:{password}@host:1234/db{query}"
    assert not shows_a_piece(masked(url))
    assert not shows_a_piece(masked_in_logs(f"at {url} is nothing"))
    try:
        assert libpq_params(url)["host"] == "host"
    except InvalidSetting as refused:
        assert not shows_a_piece(str(refused))
    assert database_complaint(f"postgresql://{user}:{quote(password, safe='')}@host:1234/db{query}") is None


@pytest.mark.parametrize("path", ["/production", "/0/production", "/1.5", "/-1", "/0x1", "/%70", "//1//2"])
def test_a_database_of_redis_that_is_not_a_number_is_refused_and_not_number_0(path: str) -> None:
    for name in ("REDIS_URL", "JOBS_REDIS_URL"):
        assert "names a database that is not a number: write its number, as /0" in refusal(name, f"redis://h{path}")


@pytest.mark.parametrize(
    ("name", "url", "parameter"),
    [
        ("REDIS_URL", "redis://:Xq7@h/0?sslmode=require", "sslmode"),
        ("REDIS_URL", "redis://:Xq7@h/0?decode_responses=True", "decode_responses"),
        ("REDIS_URL", "redis://:Xq7@h/0?ssl_ca_certs=/etc/ca.pem", "ssl_ca_certs"),
        ("REDIS_URL", "redis://:Xq7@h/0?socket_timeout=soon", "socket_timeout"),
        ("REDIS_URL", "redis://:Xq7@h?db=production", "db"),
        ("JOBS_REDIS_URL", "rediss://:Xq7@h/0?ssl_cert_reqs=maybe", "ssl_cert_reqs"),
        ("JOBS_REDIS_URL", "unix:///run/redis.sock?database=1", "database"),
        ("DATABASE_URL", "postgresql://u:Xq7@h/db?ssl_mode=require", "ssl_mode"),
        ("DATABASE_URL", "postgresql://u:Xq7@h/db?sslmode=require&pool_size=5", "pool_size"),
    ],
)  # fmt: skip
def test_a_parameter_that_its_server_does_not_know_is_refused_by_its_name(name: str, url: str, parameter: str) -> None:
    said = refusal(name, url)
    assert f"parameter {parameter}" in said
    assert "invalid" not in said and "Error" not in said and "argument" not in said
    assert not shows_a_piece(said)


REDIS_FORMS = [
    "redis://h", "redis://h/", "redis://h:1/3", "redis://:p@h", "redis://u:p@h:6379/0", "redis://u@h", "redis://[::1]:6379/0",
    "rediss://u:p%40ss@h:6379/2?ssl_ca_certs=/etc/ca.pem&ssl_cert_reqs=required", "rediss://h?ssl_check_hostname=false&ssl_min_version=771",
    "rediss://h/0?ssl_certfile=/c&ssl_keyfile=/k&ssl_password=x", "unix:///run/redis.sock", "unix:///run/redis.sock?db=1&password=a%40b",
    "unix://u:p@/run/a@b.sock", "redis://h/0?client_name=a@b&protocol=3&health_check_interval=30", "redis://h?db=2",
    "redis://h/0?socket_timeout=1.5&socket_connect_timeout=2&max_connections=50&retry_on_timeout=true&socket_keepalive=yes",
]  # fmt: skip
LIBPQ_FORMS = [
    "postgresql://", "postgres://h", "postgresql://u@h/db", "postgresql:///budget?host=/run/postgresql", "postgresql://%2Frun%2Fpg/db",
    "postgres://u:p@a:5432,b:5433/db?target_session_attrs=read-write&sslmode=verify-full", "postgresql://[::1]:5432/db",
    "postgresql+psycopg2://u:p%2Fw@h/db?host=/run&port=5433&application_name=a%20b", "postgresql+psycopg://h/db?options=-c%20a%3Db",
    "postgresql://h/db?user=u@x&password=p", "postgresql://u:p#q@h/db?service=", "postgresql://a,b:1,[::1]:2/db",
]  # fmt: skip


@pytest.mark.parametrize("url", REDIS_FORMS)
def test_every_form_of_redis_py_passes_the_settings_and_makes_a_client(url: str) -> None:
    assert hot_redis_url({"REDIS_URL": url}, None) == url
    BudgetClient.from_url(url).close()
    AsyncBudgetClient.from_url(url)
    redis.Redis.from_url(url).close()


def test_a_scheme_in_capitals_which_redis_py_does_not_read_is_refused_at_start() -> None:
    assert "does not begin with redis://" in refusal("REDIS_URL", "REDIS://h/0")


@pytest.mark.parametrize("url", LIBPQ_FORMS)
def test_every_form_of_libpq_passes_the_settings_and_is_read_by_libpq(url: str) -> None:
    assert Settings.load({**GOOD, "DATABASE_URL": url}, None).database_url == url
    make_engine(url).dispose()


def test_libpq_knows_no_parameter_that_the_settings_refuse() -> None:
    for name in ("sslmode", "target_session_attrs", "connect_timeout", "keepalives_idle", "options", "sslcrldir"):
        assert parse_dsn(f"postgresql://h/db?{name}=1")
        assert name in LIBPQ


def test_a_parameter_that_only_a_newer_libpq_knows_is_refused_by_its_name() -> None:
    with pytest.raises(InvalidSetting, match="DATABASE_URL has a parameter oauth_scope that this libpq does not know"):
        libpq_params("postgresql://u:Xq7@h/db?oauth_scope=x")


@pytest.mark.parametrize(
    "url",
    ["redis://:Xq7@Wv9k@h", "redis://:Xq7/Wv9k@h", "redis://:Xq7#Wv9k@h", "redis://h/0?foo=1", None, 5, b"redis://h"],
)
def test_a_client_that_is_given_a_wrong_url_says_so_before_it_connects(url: object) -> None:
    for make in (BudgetClient.from_url, AsyncBudgetClient.from_url, ConnectionPool):
        with pytest.raises(InvalidSetting) as refused:
            make(url)  # type: ignore[operator]
        assert str(refused.value).startswith("REDIS_URL ")
        assert "redis://host:6379/0" in str(refused.value)
        assert not shows_a_piece(str(refused.value))


def test_doctor_shows_no_piece_of_a_password_of_a_server_that_is_away() -> None:
    settings = Settings.load(
        {
            "REDIS_URL": "redis://:Xq7%40Wv9k@127.0.0.1:1/0",
            "JOBS_REDIS_URL": "redis://:Xq7%2FWv9k@127.0.0.1:1/0",
            "DATABASE_URL": "postgresql://u:Xq7#Wv9k@127.0.0.1:1/db",
        },
        None,
    )
    findings = list(examine(settings, lambda jobs: ()))
    assert {"hot Redis", "jobs Redis", "PostgreSQL"} <= {finding.name for finding in findings}
    assert not any(shows_a_piece(repr(finding)) for finding in findings)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rediss://h/0?ssl_password=Xq7&db=1", "rediss://h/0?ssl_password=***&db=1"),
        ("redis://h/0?password=Xq7#Wv9k", "redis://h/0?password=***"),
        ("postgresql://h/db?password=Xq7#Wv9k", "postgresql://h/db?password=***"),
        ("postgresql://h/db?pass%77ord=Xq7", "postgresql://h/db?pass%77ord=***"),
        ("postgresql://h/db?oauth_client_secret=Xq7", "postgresql://h/db?oauth_client_secret=***"),
        ("redis://:Xq7", "redis://:***"),
        ("redis://user:Xq7/Wv9k", "redis://user:***"),
        ("redis://h/0?client_name=a@b", "redis://h/0?client_name=a@b"),
    ],
)
def test_a_password_in_the_query_or_without_its_host_is_masked(url: str, shown: str) -> None:
    assert masked(url) == shown
    assert not shows_a_piece(masked(url))


def test_a_log_line_hides_a_password_with_bare_signs() -> None:
    for text in (
        "redis://:Xq7/Wv9k@h is away",
        "postgresql://u:Xq7@Wv9k@h/db",
        "ssl_password=Xq7 ",
        "oauth_client_secret=Xq7",
    ):
        assert not shows_a_piece(masked_in_logs(text))


ODD = {
    "REDIS_URL": [
        "redis://a..b:6379/0", f"redis://{'a' * 64}:6379/0", f"redis://{'a.' * 200}a:6379/0", "redis://\u202ehot:6379/0", "redis://:%ff@hot:6379/0",
        "redis://:%ed%a0%80@hot:6379/0", "redis://hot:6379/0?max_connections=0", "redis://hot:6379/0?max_connections=-1", "redis://hot/0?db=-1",
        "redis://hot:6379/0?socket_read_size=-5", "redis://hot:6379/0?socket_read_size=0", "redis://hot:6379/0?encoding=utf-16",
        "redis://hot:6379/0?encoding_errors=nosuch", "redis://hot:6379/0?health_check_interval=-3",
        "rediss://hot:6379/0?ssl_include_verify_flags=nosuch", "rediss://hot:6379/0?ssl_exclude_verify_flags=VERIFY_X509_STRICT,1",
    ],
    "DATABASE_URL": ["postgresql://u:%ff@db:5432/budget", "postgresql://u:pw@db:5432/%c3"],
}  # fmt: skip
ODD["JOBS_REDIS_URL"] = ODD["REDIS_URL"]


@pytest.mark.parametrize(("name", "url"), [(name, url) for name, urls in ODD.items() for url in urls])
def test_a_url_that_a_library_would_raise_for_later_is_refused_at_start_and_by_the_client(name: str, url: str) -> None:
    assert " has " in refusal(name, url)
    if name == "REDIS_URL":
        for client in (BudgetClient, AsyncBudgetClient):
            with pytest.raises(InvalidSetting):
                client.from_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "rediss://hot:6379/0?ssl_include_verify_flags=VERIFY_X509_STRICT,VERIFY_X509_PARTIAL_CHAIN",
        "redis://:p%C3%A4ss@[::1]:6379/0?encoding=utf-8&max_connections=50",
        "redis://[fe80::1%25eth0]:6379/0",
        "redis://b\u00fccher.example:6379/0",
        "redis://:pw@/0",
        "redis://hot_redis.internal.:6379/0",
    ],
)
def test_what_the_library_takes_is_still_taken(url: str) -> None:
    assert redis_complaint(url) is None
    parse_url(url)
