"""Whoever sends half a request costs no thread: the served page answers everybody else meanwhile, and says good-bye to him in time."""

from __future__ import annotations

import http.client
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

from engine.local.servers import Urls
from engine.settings import Settings
from engine.wiring import System
from tests.databases import Databases, named_database
from tests.first_start import FirstStart
from tests.web.test_serve import Page, served
from web.door import BODIES, BODY_S, LARGE, SMALL, UPLOADS

HALF = (
    b"POST /login HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    b"Content-Length: 100\r\n\r\nactor="
)
PATHS = ("/", "/live", "/healthz", "/readyz", "/metrics", "/static/app.css")


@pytest.fixture(scope="module")
def page(
    servers: Urls, databases: Databases, first_start: FirstStart, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Page]:
    """One page for all of these: each leaves it as it was, and none looks at what is in it."""
    name = databases.take()
    environment = {
        "REDIS_URL": servers.hot,
        "JOBS_REDIS_URL": servers.jobs,
        "DATABASE_URL": named_database(servers.database, name),
        "BUDGET_ENV_FILE": os.devnull,
        "SECRET_KEY": "tests-only",
    }
    with redis.Redis.from_url(servers.hot) as hot:
        hot.flushdb()
    system = System(Settings.load(environment, None))
    first_start.make(system)
    system.close()
    yield from served(environment, tmp_path_factory.mktemp("web"))
    databases.give_back(name)


@contextmanager
def half_bodies(port: int, count: int, sent: bytes = HALF) -> Iterator[list[socket.socket]]:
    """So many sockets, each with a head and the beginning of a body."""
    lines = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(count)]
    try:
        for line in lines:
            line.sendall(sent)
        yield lines
    finally:
        for line in lines:
            line.close()


def asked(port: int, path: str) -> tuple[int, float]:
    """The status of a page, and how long it took."""
    began = time.monotonic()
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        line.request("GET", path, headers={"Host": "localhost"})
        answer = line.getresponse()
        answer.read()
        return answer.status, time.monotonic() - began
    finally:
        line.close()


def posted(port: int, body: bytes, **headers: str) -> int:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        line.request("POST", "/login", body, {"Host": "localhost", "Origin": "http://localhost", **headers})
        return line.getresponse().status
    finally:
        line.close()


@pytest.mark.parametrize("count", [8, 64, 400])
def test_while_many_send_half_a_body_every_page_is_answered(page: Page, count: int) -> None:
    port = page[1]
    usual = {path: asked(port, path)[0] for path in PATHS}
    with half_bodies(port, count):
        began = time.monotonic()
        while time.monotonic() - began < 2:
            for path in PATHS:
                status, took = asked(port, path)
                assert status == usual[path] and took < BODY_S - 1, f"{path} took {took:.1f} s"


def test_a_body_that_drips_is_given_no_more_time(page: Page) -> None:
    with half_bodies(page[1], 1) as (line,):
        began = time.monotonic()
        line.settimeout(0.5)
        said = b""
        while not said and time.monotonic() - began < 4 * BODY_S:
            line.sendall(b"a")
            try:
                said = line.recv(100)
            except TimeoutError:
                continue
        assert b" 408 " in said
        assert time.monotonic() - began < 2 * BODY_S


def test_half_a_body_is_told_so_in_five_seconds_and_one_too_many_at_once_and_their_connections_are_closed(
    page: Page,
) -> None:
    with half_bodies(page[1], BODIES + 40) as lines:
        began = time.monotonic()
        assert asked(page[1], "/live")[0] == 200
        statuses = []
        for line in lines:
            with line.makefile("rb") as read:
                said = read.read()  # to the end: the server hangs up
            statuses.append(said.split(b" ", 2)[1])
        assert BODY_S - 1 < time.monotonic() - began < 3 * BODY_S
    assert statuses.count(b"503") == 40
    assert statuses.count(b"408") == BODIES


def test_a_long_body_without_a_login_is_not_read_at_all(page: Page) -> None:
    port = page[1]
    assert posted(port, b"a" * SMALL) != 413
    assert posted(port, b"a" * (SMALL + 1)) == 413
    assert posted(port, b"a" * (SMALL + 1), Cookie="budget_engine=x") != 413
    chunk = b"%x\r\n%s\r\n" % (SMALL + 1, b"a" * (SMALL + 1))
    head = b"POST /login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    with half_bodies(port, 1, head + chunk) as (line,):
        assert b" 413 " in line.recv(100)
    with half_bodies(port, 1, HALF.replace(b"100", b"9" * 12)) as (line,):
        assert b" 413 " in line.recv(100)


UPLOAD = (
    b"POST /import HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nCookie: budget_engine=made.up.cookie\r\n"
    b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 5000000\r\n\r\n--x"
)


def test_strangers_who_send_half_a_file_take_no_place_of_an_upload(page: Page) -> None:
    port = page[1]
    with half_bodies(port, 2 * UPLOADS, UPLOAD) as lines:
        assert [line.recv(100).split(b" ", 2)[1] for line in lines] == [b"413"] * len(lines)
        form = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        form.request("GET", "/import", headers={"Host": "localhost"})
        answer = form.getresponse()
        token = re.search(rb'name="csrf_token"[^>]*value="([^"]+)"', answer.read())
        cookie = answer.getheader("Set-Cookie", "").partition(";")[0]
        form.close()
        assert token is not None
        body = b'--x\r\nContent-Disposition: form-data; name="csrf_token"\r\n\r\n%s\r\n' % token[1]
        body += (
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
            + b"a," * (LARGE // 2)
            + b"\r\n--x--\r\n"
        )
        sent = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        headers = {
            "Host": "localhost",
            "Origin": "http://localhost",
            "Cookie": cookie,
            "Content-Type": "multipart/form-data; boundary=x",
        }
        sent.request("POST", "/import", body, headers)
        answer = sent.getresponse()
        assert (answer.status, b"none of kind" in answer.read()) == (422, True), "a file that is read, and is no table"
        sent.close()


def test_half_a_head_holds_up_nobody(page: Page) -> None:
    with half_bodies(page[1], 400, b"POST /login HTTP/1.1\r\nHost: local"):
        for path in PATHS:
            assert asked(page[1], path)[1] < BODY_S - 1
