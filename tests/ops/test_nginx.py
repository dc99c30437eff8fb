"""nginx in front of the page, on the example of ops/nginx: its structure always, and a real nginx with TLS where one is installed."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.wiring import System
from tests.ops.given import env_file
from tests.ops.page import answered, listens
from tests.ops.programs import OPS, checked, program
from tests.patience import PATIENCE_S
from tests.ports import free_port
from tests.processes.conftest import Process, Processes, until
from web import door

CONF = (OPS / "nginx" / "budget-engine.conf").read_text(encoding="utf-8")
HOST = "budgets.example.com"


def test_it_buffers_what_the_page_takes_and_passes_on_what_the_page_believes() -> None:
    assert CONF.count("{") == CONF.count("}")
    assert "proxy_request_buffering on;" in CONF and "proxy_next_upstream off;" in CONF
    for name in ("client_max_body_size", "client_body_buffer_size"):
        assert re.findall(rf"{name} (\d+)k;", CONF) == [str(door.LARGE // 1024)]
    sent = dict(re.findall(r"proxy_set_header (\S+) (\S+);", CONF))
    assert sent["X-Forwarded-For"] == "$remote_addr" and sent["X-Forwarded-Proto"] == "$scheme"
    assert sent["Host"] == "$host"
    given = env_file()
    assert f"server {given['BUDGET_WEB_HOST']}:{given['BUDGET_WEB_PORT']};" in CONF
    for name in ("BUDGET_PUBLIC_URL", "BUDGET_TRUSTED_PROXIES"):
        assert f"#   {name}={given[name]}" in CONF


class Front:
    """A running nginx with the page behind it."""

    def __init__(self, port: int, plain: int, page: int, certificate: Path, process: Process) -> None:
        self.port, self.plain, self.page, self.process = port, plain, page, process
        self._context = ssl.create_default_context(cafile=str(certificate))

    def connect(self) -> ssl.SSLSocket:
        return self._context.wrap_socket(socket.create_connection(("127.0.0.1", self.port)), server_hostname=HOST)

    def send(self, request: str) -> http.client.HTTPResponse:
        with self.connect() as connection:
            connection.sendall(request.encode())
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            answer.body = answer.read()  # type: ignore[attr-defined]
            return answer

    def get(self, path: str, headers: str = "") -> http.client.HTTPResponse:
        return self.send(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n{headers}\r\n")


@pytest.fixture
def front(ready: System, environment: dict[str, str], processes: Processes, tmp_path: Path) -> Iterator[Front]:
    nginx, openssl = program("nginx"), program("openssl")
    port, plain, page = free_port(), free_port(), free_port()
    key, certificate = tmp_path / "budgets.key", tmp_path / "budgets.pem"
    words = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={HOST}")
    checked(openssl, *words, "-addext", f"subjectAltName=DNS:{HOST}", "-keyout", key, "-out", certificate)
    conf = CONF.replace("/etc/nginx/tls/budgets", str(tmp_path / "budgets"))
    for old, new in (
        ("listen 443 ssl http2", f"listen 127.0.0.1:{port} ssl http2"),
        ("listen 80;", f"listen 127.0.0.1:{plain};"),
        ("server 127.0.0.1:8000", f"server 127.0.0.1:{page}"),
    ):
        assert conf.count(old) == 1
        conf = conf.replace(old, new)
    folders = "".join(
        f"{name}_temp_path {tmp_path / name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = tmp_path / "nginx.conf"
    user = "user root;" if subprocess.run(["id", "-u"], capture_output=True, text=True).stdout.strip() == "0" else ""
    main.write_text(
        f"{user} daemon off; pid {tmp_path / 'pid'}; error_log {tmp_path / 'error.log'};"
        f" events {{}} http {{ access_log off; {folders}\n{conf}\n}}\n"
    )
    checked(nginx, "-t", "-q", "-c", main, "-e", tmp_path / "error.log")
    processes.environment = {
        **environment,
        **env_file(),
        "BUDGET_WEB_PORT": str(page),
        "BUDGET_ADMIN_PASSWORD": "correct-horse-battery",
        "SECRET_KEY": "s" * 40,
        "METRICS_TOKEN": "s3cret",
    }
    process = processes.start("web")
    server = subprocess.Popen([nginx, "-c", main, "-e", tmp_path / "error.log"], stderr=subprocess.DEVNULL)
    try:
        until(lambda: answered(page, "/healthz") == 200, why=processes.said)
        until(lambda: listens(plain) or server.poll() is not None)
        assert server.poll() is None, (tmp_path / "error.log").read_text()
        yield Front(port, plain, page, certificate, process)
    finally:
        server.terminate()
        server.wait(PATIENCE_S)


def test_a_real_nginx_serves_the_page_with_tls_and_reads_slow_requests_whole(front: Front) -> None:
    answer = front.get("/healthz")
    assert (answer.status, answer.getheader("Strict-Transport-Security")) == (200, "max-age=31536000")
    assert front.get("/metrics", "Authorization: Bearer s3cret\r\n").status == 404, "scraped directly, not from outside"
    login = front.get("/login")
    assert login.status == 200 and "Secure" in str(login.getheader("Set-Cookie"))
    with socket.create_connection(("127.0.0.1", front.plain)) as plain:
        plain.sendall(b"GET /login?next=/ HTTP/1.1\r\nHost: elsewhere.example\r\nConnection: close\r\n\r\n")
        said = plain.makefile().read()
    assert "301" in said.splitlines()[0] and f"Location: https://{HOST}/login?next=/" in said

    # Half a body: nginx keeps it, and the page does not hear of it.
    with front.connect() as slow:
        head = f"POST /login HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 40\r\n"
        slow.sendall(f"{head}Content-Type: application/x-www-form-urlencoded\r\n\r\nactor=slow".encode())
        time.sleep(1)
        assert '"path": "/login", "status"' not in posts(front)
        slow.sendall(b"&password=" + b"x" * 21)
        http.client.HTTPResponse(slow).begin()
    until(lambda: '"method": "POST"' in posts(front))

    answer = front.send(
        f"POST /login HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {256 * 1024 + 1}\r\nConnection: close\r\n\r\n"
    )
    assert answer.status == 413


def posts(front: Front) -> str:
    return "\n".join(line for line in front.process.said.splitlines() if '"method": "POST"' in line)


def test_the_page_logs_the_address_that_nginx_saw_and_not_one_that_a_client_made_up(front: Front) -> None:
    form = "actor=ada&password=wrong-wrong-wrong"
    cookie, token = form_of(front.get("/login"))
    body = f"{form}&csrf_token={token}"
    answer = front.send(
        f"POST /login HTTP/1.1\r\nHost: {HOST}\r\nOrigin: https://{HOST}\r\nReferer: https://{HOST}/login\r\n"
        f"X-Forwarded-For: 198.51.100.7\r\nCookie: {cookie}\r\nConnection: close\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    )
    assert answer.status == 401
    until(lambda: "login refused" in front.process.said)
    assert "198.51.100.7" not in front.process.said


def form_of(login: http.client.HTTPResponse) -> tuple[str, str]:
    """The cookie and the token of the login form."""
    page = login.body.decode()  # type: ignore[attr-defined]
    found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
    assert found
    return str(login.getheader("Set-Cookie")).partition(";")[0], found[1]
