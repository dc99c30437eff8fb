"""Settings: the environment over .env, every wrong value refused by name, and no password ever shown."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path

import pytest

from engine.errors import InvalidSetting
from engine.settings import TABLE, Settings, hot_redis_url, masked

URLS = {
    "REDIS_URL": "redis://:pw@hot:6379/0",
    "JOBS_REDIS_URL": "redis://:pw@jobs:6379/0",
    "DATABASE_URL": "postgresql://budget:pw@db:5432/budget",
}

PROXIED = {"BUDGET_PUBLIC_URL": "https://budgets.example.com", "BUDGET_TRUSTED_PROXIES": "10.0.0.5/32,10.1.0.0/24"}


PROVIDER = {row.name: row.example for row in TABLE if row.name.startswith(("BUDGET_OIDC_", "BUDGET_PUBLIC_URL"))}
"""The settings of a login provider, which are set together."""


def load(**environ: str) -> Settings:
    return Settings.load(environ, None)


def test_with_nothing_set_servers_are_embedded_and_defaults_hold() -> None:
    settings = load()
    assert settings.embedded
    assert (settings.web_host, settings.web_port) == ("127.0.0.1", 8000)
    assert (settings.request_id_minutes, settings.event_id_hours, settings.journal_keep_minutes) == (10, 1, 10)
    assert settings.data_dir.is_absolute()
    assert settings.data_dir.name == ".data"


def test_all_spends_are_kept_unless_a_number_of_days_is_named() -> None:
    assert load().spend_log_keep_days is None
    assert load(SPEND_LOG_KEEP_DAYS="none").spend_log_keep_days is None
    assert load(SPEND_LOG_KEEP_DAYS="35").spend_log_keep_days == 35
    assert load(SPEND_LOG_KEEP_DAYS="400").as_environment()["SPEND_LOG_KEEP_DAYS"] == "400"
    assert load().as_environment()["SPEND_LOG_KEEP_DAYS"] == "none"


def test_each_setting_is_one_row_with_its_field_and_parser() -> None:
    assert [row.field for row in TABLE] == [f.name for f in fields(Settings) if f.name != "embedded"]
    for row in TABLE:
        assert getattr(load(**{**URLS, **PROVIDER, row.name: row.example}), row.field) not in (None, ""), row.name


def test_an_empty_value_counts_as_unset() -> None:
    assert load(REDIS_URL="", BUDGET_WEB_PORT=" ") == load()


@pytest.mark.parametrize("left_out", URLS)
def test_some_but_not_all_urls_are_refused_naming_the_missing_one(left_out: str) -> None:
    with pytest.raises(InvalidSetting, match=f"^{left_out} not set, while ") as refused:
        load(**{name: url for name, url in URLS.items() if name != left_out})
    assert refused.value.field == left_out


def test_two_missing_urls_are_both_named() -> None:
    with pytest.raises(InvalidSetting, match="^JOBS_REDIS_URL and DATABASE_URL not set, while REDIS_URL is"):
        load(REDIS_URL=URLS["REDIS_URL"])


def test_a_bidder_needs_the_hot_redis_only() -> None:
    assert hot_redis_url({"REDIS_URL": URLS["REDIS_URL"]}, None) == URLS["REDIS_URL"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIS_URL", "rediss://user:p%40ss@hot:6380/2?ssl_ca_certs=/etc/ca.pem&ssl_cert_reqs=required"),
        ("REDIS_URL", "unix:///run/redis.sock?db=1"),
        ("REDIS_URL", "redis://[::1]:6379/0"),
        ("DATABASE_URL", "postgres://u:p@a:5432,b:5433/db?target_session_attrs=read-write&sslmode=verify-full"),
        ("DATABASE_URL", "postgresql:///budget?host=/run/postgresql"),
    ],
)
def test_every_form_of_url_passes_through_untouched(name: str, value: str) -> None:
    settings = load(**{**URLS, name: value})
    assert not settings.embedded
    assert settings.as_environment()[name] == value
    assert settings.resolved() is settings


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("REDIS_URL", "hot:6379", "does not begin with redis://"),
        ("JOBS_REDIS_URL", "http://:secret@hot", "does not begin with redis://"),
        ("REDIS_URL", "redis://:secret@hot:port/0", "port that is not a number"),
        ("REDIS_URL", "redis://", "names no server"),
        ("DATABASE_URL", "mysql://u:secret@db/x", "does not begin with postgresql://"),
        ("BUDGET_WEB_PORT", "0", "from 1 to 65535"),
        ("BUDGET_WEB_PORT", "65536", "from 1 to 65535"),
        ("BUDGET_WEB_PORT", "eighty", "from 1 to 65535"),
        ("BUDGET_WEB_PORT", "8_000", "from 1 to 65535"),
        ("BUDGET_WEB_HOST", "not a host", "is not a host name"),
        ("REQUEST_ID_MINUTES", "0", "from 1 to 1440"),
        ("BUDGET_WAIT_REPLICAS", "11", "from 0 to 10"),
        ("EVENT_ID_HOURS", "1.5", "from 1 to 720"),
        ("JOURNAL_KEEP_MINUTES", "-1", "from 1 to 10080"),
        ("SPEND_LOG_KEEP_DAYS", "34", "neither none nor a whole number from 35 to 36500"),
        ("SPEND_LOG_KEEP_DAYS", "0", "neither none nor a whole number"),
        ("SPEND_LOG_KEEP_DAYS", "never", "neither none nor a whole number"),
        ("SPEND_LOG_KEEP_DAYS", "40.5", "neither none nor a whole number"),
        ("SPEND_LOG_DROP", "never", "is not one of closed, exported"),
        ("BUDGET_DATA_DIR", __file__, "is not a folder"),
        ("SECRET_KEY", "a\nb", "line break"),
    ],
)
def test_a_wrong_value_is_refused_with_name_fault_and_example(name: str, value: str, what: str) -> None:
    with pytest.raises(InvalidSetting) as refused:
        load(**{**URLS, name: value})
    message = str(refused.value)
    assert refused.value.field == name
    assert message.startswith(f"{name} ")
    assert what in message
    assert f"write it like {name}=" in message
    assert "\n" not in message
    assert ":secret@" not in message, "a password is never shown"


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "settings"
    file.write_text("BUDGET_WEB_PORT=9001\nBUDGET_WEB_HOST=10.0.0.1\n")
    settings = Settings.load({"BUDGET_WEB_PORT": "9002", "BUDGET_WEB_HOST": ""}, file)
    assert (settings.web_port, settings.web_host) == (9002, "10.0.0.1")


def test_the_file_takes_quotes_comments_and_export(tmp_path: Path) -> None:
    file = tmp_path / "settings"
    file.write_text(
        "# a comment\n\nexport SECRET_KEY = 'with # and spaces'  # said so\nBUDGET_ADMIN_PASSWORD=a#b # the rest\n"
        'BUDGET_DATA_DIR="/tmp/my data"\n'
    )
    settings = Settings.load({}, file)
    assert settings.secret_key == "with # and spaces"
    assert settings.admin_password == "a#b"
    assert settings.data_dir == Path("/tmp/my data")


@pytest.mark.parametrize("line", ["just words", "=mine", "A B=c", "SECRET_KEY='open"])
def test_a_line_that_is_no_setting_is_refused_by_its_number_without_showing_it(tmp_path: Path, line: str) -> None:
    file = tmp_path / "settings"
    file.write_text(f"# first\n{line}\n")
    with pytest.raises(InvalidSetting, match="line 2") as refused:
        Settings.load({}, file)
    assert line not in str(refused.value)


def test_another_file_can_be_named_so_that_tests_never_read_a_persons_own(tmp_path: Path) -> None:
    file = tmp_path / "settings"
    file.write_text("BUDGET_WEB_PORT=9003\n")
    assert Settings.load({"BUDGET_ENV_FILE": str(file)}).web_port == 9003
    assert Settings.load({"BUDGET_ENV_FILE": os.devnull}).web_port == 8000


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:pw@hot:6379/0", "redis://:***@hot:6379/0"),
        ("redis://user:pw@hot/0?password=pw&db=1", "redis://user:***@hot/0?password=***&db=1"),
        ("postgresql://u:pw@a:1,b:2/db?sslpassword=pw", "postgresql://u:***@a:1,b:2/db?sslpassword=***"),
        ("redis://:p/w@hot", "redis://:***@hot"),
        ("redis://:p?w@hot/0", "redis://:***@hot/0"),
        ("redis://:p@w@hot/0", "redis://:***@hot/0"),
        ("redis://hot:6379/0", "redis://hot:6379/0"),
        ("postgresql:///db?host=/run&user=u", "postgresql:///db?host=/run&user=u"),
        ("host=db password='a b' user=u", "host=db password=*** user=u"),
    ],
)
def test_passwords_are_masked_in_every_place_they_can_stand(url: str, shown: str) -> None:
    assert masked(url) == shown


def test_one_redis_for_both_is_noticed() -> None:
    assert load(**{**URLS, "JOBS_REDIS_URL": "redis://:other@HOT/1"}).jobs_on_hot_redis
    assert not load(**URLS).jobs_on_hot_redis


def test_every_setting_of_the_table_reaches_env_and_the_example_file() -> None:
    example = (Path(__file__).resolve().parents[1] / ".env.example").read_text()
    given = load(
        **URLS, SECRET_KEY="k", BUDGET_ADMIN_PASSWORD="p", METRICS_TOKEN="t", **(PROVIDER | PROXIED)
    ).as_environment()
    for row in TABLE:
        assert row.name in given
        assert f"#{row.name}=" in example
        assert Settings.load({**URLS, **PROVIDER, row.name: row.example}, None), "each example is a good value"


@pytest.mark.parametrize("empty", ["", "  "])
def test_a_password_that_is_set_and_empty_is_refused_and_opens_no_page(tmp_path: Path, empty: str) -> None:
    with pytest.raises(InvalidSetting, match="^BUDGET_ADMIN_PASSWORD is set, and empty: give a password"):
        load(BUDGET_ADMIN_PASSWORD=empty)
    (tmp_path / "env").write_text(f"BUDGET_ADMIN_PASSWORD={empty}\n")
    with pytest.raises(InvalidSetting, match="^BUDGET_ADMIN_PASSWORD is set, and empty"):
        Settings.load({}, tmp_path / "env")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("BUDGET_PUBLIC_URL", "budgets.example.com", "is not http"),
        ("BUDGET_PUBLIC_URL", "ftp://budgets.example.com", "is not http"),
        ("BUDGET_PUBLIC_URL", "https://me:pw@budgets.example.com", "is not http"),
        ("BUDGET_PUBLIC_URL", "https://budgets.example.com:http", "is not a URL"),
        ("BUDGET_PUBLIC_URL", "https://budgets.example.com/page", "more than a host"),
        ("BUDGET_TRUSTED_PROXIES", "proxy.internal", "neither an address nor a network"),
        ("BUDGET_TRUSTED_PROXIES", "10.0.0.1,", "neither an address nor a network"),
        ("BUDGET_TRUSTED_PROXIES", "10.0.0.1/8", "neither an address nor a network"),
        ("BUDGET_TRUSTED_PROXIES", "0.0.0.0/0", "is everybody"),
        ("BUDGET_TRUSTED_PROXIES", "::/0", "is everybody"),
    ],
)
def test_a_public_address_and_proxies_that_cannot_be_are_refused_by_name(name: str, value: str, said: str) -> None:
    with pytest.raises(InvalidSetting, match=f"^{name} .*{said}"):
        load(**{name: value})
