"""compose.yaml and the image's neighbours: what depends on what, which secrets there are, and servers that start on the files it gives them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import redis

from engine.local.binaries import find_valkey
from engine.settings import Settings
from engine.urls import masked
from tests.ops.given import compose
from tests.ops.programs import OPS, ROOT, checked, program
from tests.ops.yaml_subset import documents
from tests.patience import PATIENCE_S
from tests.ports import free_port
from tests.processes.conftest import until

SERVICES = compose()["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
SERVERS = {name: service for name, service in SERVICES.items() if "build" not in service}


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """What ops/compose/secrets.sh makes."""
    checked("sh", OPS / "compose" / "secrets.sh", tmp_path / "made")
    return tmp_path / "made"


def test_everything_waits_for_the_migration_and_it_for_healthy_servers() -> None:
    healthy = {name: {"condition": "service_healthy"} for name in SERVERS}
    migrated = {"condition": "service_completed_successfully"}
    assert SERVERS.keys() == {"redis", "jobs-redis", "postgres"}
    for name, service in OURS.items():
        wanted = healthy if name == "migrate" else {**healthy, "migrate": migrated}
        assert service["depends_on"] == wanted, name
    assert OURS["migrate"]["restart"] == "no"
    assert OURS["demo"]["profiles"] == ["demo"]
    assert all("profiles" not in service for name, service in OURS.items() if name != "demo")


def test_our_containers_write_nothing_run_as_nobody_and_have_no_rights() -> None:
    for name, service in OURS.items():
        assert service["read_only"] is True and service["tmpfs"] == ["/tmp"], name
        assert service["cap_drop"] == ["ALL"] and service["user"] == "10001:10001", name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        if name not in ("web", "api"):
            assert service["healthcheck"] == {"disable": True}, name
    assert "healthcheck" not in OURS["web"], "the image's own"
    assert "8001/healthz" in OURS["api"]["healthcheck"]["test"][-1]
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert ports == {"web": ["127.0.0.1:8000:8000"], "api": ["127.0.0.1:8001:8001"]}, "this machine alone"


def test_servers_are_official_images_of_a_version_with_health_checks_and_data_that_stays() -> None:
    for name, service in SERVERS.items():
        assert re.fullmatch(r"docker\.io/(valkey/valkey|library/postgres):\d[\w.]*-bookworm", service["image"]), name
        assert {"test", "interval", "timeout", "retries"} <= service["healthcheck"].keys(), name
    volumes = compose()["volumes"].keys()
    used = {volume.partition(":")[0] for service in SERVERS.values() for volume in service.get("volumes", ())}
    assert {name for name in used if not name.startswith(".")} == volumes
    assert all((ROOT / name).is_file() for name in used if name.startswith("."))


def test_each_secret_that_is_used_is_declared_and_made_by_the_script(secrets: Path) -> None:
    declared = compose()["secrets"]
    assert {secret for service in SERVICES.values() for secret in service.get("secrets", ())} == declared.keys()
    assert {value["file"] for value in declared.values()} == {f"./secrets/{path.name}" for path in secrets.iterdir()}
    assert re.search(r"^secrets/$", (ROOT / ".gitignore").read_text(), re.M)
    assert secrets.stat().st_mode & 0o777 == 0o700, "its owner alone gets in"
    assert {path.stat().st_mode & 0o777 for path in secrets.iterdir()} == {0o444}, "and every container reads its own"


def test_the_script_changes_nothing_that_exists_and_draws_other_secrets_each_time(
    secrets: Path, tmp_path: Path
) -> None:
    before = {path.name: path.read_text() for path in secrets.iterdir()}
    again = subprocess.run(["sh", OPS / "compose" / "secrets.sh", secrets], capture_output=True, text=True)
    assert (again.returncode, again.stderr.count("\n")) == (1, 1)
    assert "nothing was changed" in again.stderr
    assert {path.name: path.read_text() for path in secrets.iterdir()} == before
    checked("sh", OPS / "compose" / "secrets.sh", tmp_path / "other")
    assert not {path.read_text() for path in (tmp_path / "other").iterdir()} & set(before.values())
    assert len(set(before.values())) == len(before)


def test_the_urls_lead_to_the_services_with_their_passwords_and_are_strong(secrets: Path) -> None:
    value = {path.name: path.read_text().strip() for path in secrets.iterdir()}
    settings = Settings.load(
        {
            "REDIS_URL": value["redis_url"],
            "JOBS_REDIS_URL": value["jobs_redis_url"],
            "DATABASE_URL": value["database_url"],
            "SECRET_KEY": value["secret_key"],
            "BUDGET_ADMIN_PASSWORD": value["admin_password"],
        },
        None,
    )
    settings.refuse_weak_secrets()
    assert not settings.jobs_on_hot_redis
    for url, service, secret, port in (
        (settings.redis_url, "redis", value["redis_conf"].split()[1], 6379),
        (settings.jobs_redis_url, "jobs-redis", value["jobs_redis_conf"].split()[1], 6379),
        (settings.database_url, "postgres", value["postgres_password"], 5432),
    ):
        assert f":{secret}@{service}:{port}/" in url, masked(url)
        assert service in SERVERS
    environment = SERVERS["postgres"]["environment"]
    assert settings.database_url.endswith(f"/{environment['POSTGRES_DB']}")
    assert f"//{environment['POSTGRES_USER']}:" in settings.database_url


@pytest.mark.parametrize(("service", "secret"), [("redis", "redis_conf"), ("jobs-redis", "jobs_redis_conf")])
def test_a_server_starts_on_the_file_that_it_is_given(service: str, secret: str, secrets: Path, tmp_path: Path) -> None:
    name, path = SERVICES[service]["command"]
    (mounted,) = [v for v in SERVICES[service]["volumes"] if v.endswith(f":{path}:ro")]
    text = (ROOT / mounted.partition(":")[0]).read_text()
    assert f"include /run/secrets/{secret}\n" in text and SERVICES[service]["secrets"] == [secret]
    data = tmp_path / "data"
    data.mkdir()
    conf = tmp_path / "server.conf"
    conf.write_text(text.replace("/run/secrets", str(secrets)).replace("dir /data", f"dir {data}"))
    port = free_port()
    assert name == "valkey-server"
    valkey = find_valkey()
    server = subprocess.Popen(
        [valkey.path(valkey.parts[0]), conf, "--port", str(port), "--bind", "127.0.0.1"], stdout=subprocess.DEVNULL
    )
    try:
        password = (secrets / secret).read_text().split()[1]
        with redis.Redis(port=port, password=password) as client, redis.Redis(port=port) as stranger:
            until(lambda: server.poll() is not None or answers(client))
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            assert client.config_get("appendonly")["appendonly"] == ("yes" if service == "redis" else "no")
            with pytest.raises(redis.AuthenticationError):
                stranger.get("x")
        check_health(SERVICES[service]["healthcheck"]["test"], secrets, port)
    finally:
        server.terminate()
        server.wait(PATIENCE_S)


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def check_health(test: list[str], secrets: Path, port: int) -> None:
    """Runs a health check of a server here; redis-cli is valkey-cli under its older name, where it is installed."""
    kind, command = test
    assert kind == "CMD-SHELL"
    cli = shutil.which("valkey-cli") or shutil.which("redis-cli")
    if cli is not None:
        command = (
            command.replace("$$", "$").replace("/run/secrets", str(secrets)).replace("valkey-cli", f"{cli} -p {port}")
        )
        checked("sh", "-c", command)
        (secrets / "redis_conf").chmod(0o644)
        wrong = command.replace("cut -d", "echo wrong; true -d")
        assert subprocess.run(["sh", "-c", wrong], capture_output=True).returncode != 0


def test_compose_itself_takes_the_file(secrets: Path, tmp_path: Path) -> None:
    compose_program = program("docker-compose")
    # Debian's is of before the key `name`, and reads everything else.
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    assert text.count("\nname: budget-engine\n") == 1
    (tmp_path / "compose.yaml").write_text(text.replace("\nname: budget-engine\n", "\n"))
    read = yaml_as_json(checked(compose_program, "-f", tmp_path / "compose.yaml", "config"))[0]["services"]
    assert read.keys() == SERVICES.keys()
    for name, service in read.items():
        assert service.get("environment", {}) == SERVICES[name].get("environment", {}), name
        assert service["depends_on"] == SERVICES[name]["depends_on"] if name in OURS else True


def yaml_as_json(text: str) -> list[Any]:
    """What PyYAML reads. Skips where it is not installed."""
    code = "import json,sys,yaml; print(json.dumps([d for d in yaml.safe_load_all(sys.stdin) if d is not None]))"
    python = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else program("python3")
    if subprocess.run([python, "-c", "import yaml"], capture_output=True).returncode != 0:
        program("PyYAML")
    found: list[Any] = json.loads(checked(python, "-c", code, given=text))
    return found


def test_pyyaml_reads_our_files_as_our_own_reader_does() -> None:
    for path in (ROOT / "compose.yaml", OPS / "alerts.yml", *(OPS / "helm" / "budget-engine").glob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        assert documents(text) == yaml_as_json(text), path.name
