"""Secrets from files: read once, refused by name when they cannot be used, and never shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.errors import InvalidSetting
from engine.secret_files import FROM_FILE
from engine.settings import TABLE, Settings, hot_redis_url

VALUES = {
    "REDIS_URL": "redis://:s3cret@hot:6379/0",
    "JOBS_REDIS_URL": "redis://:s3cret@jobs:6379/0",
    "DATABASE_URL": "postgresql://budget:s3cret@db:5432/budget",
    "SECRET_KEY": "s3cret-signs",
    "BUDGET_ADMIN_PASSWORD": "s3cret word",
    "METRICS_TOKEN": "s3cret-token",
    "BUDGET_OIDC_CLIENT_SECRET": "s3cret of the page",
}
URLS = {name: VALUES[name] for name in ("REDIS_URL", "JOBS_REDIS_URL", "DATABASE_URL")}


PROVIDER = {
    row.name: row.example
    for row in TABLE
    if row.name in ("BUDGET_OIDC_ISSUER", "BUDGET_OIDC_CLIENT_ID", "BUDGET_OIDC_GROUPS", "BUDGET_PUBLIC_URL")
}


def load(**environ: str) -> Settings:
    return Settings.load({**PROVIDER, **environ} if any("OIDC" in name for name in environ) else environ, None)


def test_every_secret_may_stand_in_a_file_of_its_own(tmp_path: Path) -> None:
    environ = {}
    for name, value in VALUES.items():
        (tmp_path / name).write_text(value + "\n")
        environ[f"{name}_FILE"] = str(tmp_path / name)
    assert set(VALUES) == set(FROM_FILE)
    assert load(**environ) == load(**VALUES)


def test_the_mark_with_which_an_editor_begins_a_file_is_no_part_of_the_password(tmp_path: Path) -> None:
    environ = {}
    for name, value in VALUES.items():
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + value.encode() + b"\r\n")
        environ[f"{name}_FILE"] = str(tmp_path / name)
    assert load(**environ) == load(**VALUES)


def test_a_bidder_s_url_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "hot").write_text(VALUES["REDIS_URL"])
    assert hot_redis_url({"REDIS_URL_FILE": str(tmp_path / "hot")}, None) == VALUES["REDIS_URL"]


def test_a_file_may_be_named_in_the_env_file_too(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("s3cret")
    (tmp_path / "env").write_text(f"SECRET_KEY_FILE={tmp_path / 'key'}\n")
    assert Settings.load({}, tmp_path / "env").secret_key == "s3cret"


def test_a_relative_path_begins_at_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text("s3cret")
    monkeypatch.chdir(tmp_path)
    assert load(SECRET_KEY_FILE="key").secret_key == "s3cret"


def test_the_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hot").write_text(VALUES["REDIS_URL"])
    opened: list[str] = []
    real = os.open
    monkeypatch.setattr(os, "open", lambda path, *rest, **more: opened.append(str(path)) or real(path, *rest, **more))
    load(**{**URLS, "REDIS_URL": "", "REDIS_URL_FILE": str(tmp_path / "hot")})
    assert opened.count(str(tmp_path / "hot")) == 1


@pytest.mark.parametrize("name", FROM_FILE)
def test_a_value_and_a_file_for_it_are_refused_with_both_names(name: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_text(VALUES[name])
    with pytest.raises(InvalidSetting, match=f"^{name} and {name}_FILE are both set") as refused:
        load(**{**URLS, name: VALUES[name], f"{name}_FILE": str(tmp_path / "x")})
    assert "s3cret" not in str(refused.value)


BAD = {
    "a file that is not there": (None, "cannot be read (No such file or directory)"),
    "an empty file": (b"", "is empty"),
    "a file of blanks": (b" \n\t\n", "is empty"),
    "two lines": (b"s3cret\ns3cret two\n", "more than one line"),
    "a NUL": (b"s3c\0ret", "more than one line"),
    "what is no text": (b"\xff\xfes3cret", "is not UTF-8 text"),
    "a megabyte": (b"s3cret" * 200_000, "is not a file of at most 64 KiB"),
}


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("name", FROM_FILE)
def test_a_file_that_gives_no_value_is_refused_in_one_line(name: str, what: str, tmp_path: Path) -> None:
    content, why = BAD[what]
    if content is not None:
        (tmp_path / "x").write_bytes(content)
    others = {other: url for other, url in URLS.items() if other != name}
    with pytest.raises(InvalidSetting) as refused:
        load(**others, **{f"{name}_FILE": str(tmp_path / "x")})
    said = str(refused.value)
    assert said.startswith(f"{name}_FILE names ") and why in said and "\n" not in said and "s3cret" not in said
    assert refused.value.field == f"{name}_FILE"


def test_a_folder_and_a_pipe_that_nobody_writes_to_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(InvalidSetting, match=r"cannot be read|is not a file"):
            load(SECRET_KEY_FILE=str(path))


def test_a_wrong_url_in_a_file_is_refused_as_one_in_the_environment_is(tmp_path: Path) -> None:
    (tmp_path / "hot").write_text("http://:s3cret@hot")
    with pytest.raises(InvalidSetting, match=r"^REDIS_URL .* does not begin with redis://") as refused:
        load(**{**URLS, "REDIS_URL": "", "REDIS_URL_FILE": str(tmp_path / "hot")})
    assert "s3cret" not in str(refused.value)
