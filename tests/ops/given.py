"""What each of an operator's files starts: which command, in which environment, with which secrets. Read from compose.yaml, the units and the chart."""

from __future__ import annotations

import json
import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.ops.programs import OPS, ROOT, checked, program
from tests.ops.yaml_subset import document, documents

CHART: Final = OPS / "helm" / "budget-engine"
UNITS: Final = sorted((OPS / "systemd").glob("*.service"))
GO: Final = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOFLAGS": ""}
"""Debian's packages of Go libraries are there."""
SECRET_VALUES: Final = dict.fromkeys(
    ("REDIS_URL", "JOBS_REDIS_URL", "DATABASE_URL", "SECRET_KEY", "BUDGET_ADMIN_PASSWORD", "METRICS_TOKEN"),
    "0123456789abcdef" * 2,
)


class Given(NamedTuple):
    """One process. folder: where its files of secrets are; secrets: the file of each secret, as the process may read it."""

    where: str
    command: tuple[str, ...]
    environment: dict[str, str]
    folder: str
    secrets: frozenset[str]

    def at(self, folder: Path) -> dict[str, str]:
        """Its environment, with the secrets in another folder."""
        return {name: value.replace(self.folder, str(folder)) for name, value in self.environment.items()}


def compose() -> dict[str, Any]:
    """compose.yaml."""
    found: dict[str, Any] = document((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    return found


def of_compose() -> list[Given]:
    """The services that run our image; the image's own environment is below theirs."""
    image = {"BUDGET_WEB_HOST": "0.0.0.0", "BUDGET_API_HOST": "0.0.0.0"}
    return [
        Given(
            f"compose {name}",
            tuple(service["command"]),
            {**image, **{key: str(value) for key, value in service["environment"].items()}},
            "/run/secrets",
            frozenset(service["secrets"]),
        )
        for name, service in compose()["services"].items()
        if "build" in service
    ]


def directives(path: Path) -> list[tuple[str, str]]:
    """The lines of a unit, in order."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [(line.partition("=")[0], line.partition("=")[2]) for line in lines if re.match(r"[A-Z]\w+=", line)]


def env_file() -> dict[str, str]:
    """The file of settings that the units read."""
    text = (OPS / "systemd" / "budget-engine.env").read_text(encoding="utf-8")
    return dict(re.findall(r"^([A-Z_]+)=(.*)$", text, re.M))


def of_units() -> list[Given]:
    """The services of systemd."""
    found = []
    for path in UNITS:
        lines = directives(path)
        set_here = [pair for key, value in lines if key == "Environment" for pair in shlex.split(value)]
        environment = dict(pair.split("=", 1) for pair in set_here)
        (start,) = [value for key, value in lines if key == "ExecStart"]
        program_of, *command = shlex.split(start)
        assert program_of == "/opt/budget-engine/bin/budget-engine"
        loaded = frozenset(value.partition(":")[0] for key, value in lines if key == "LoadCredential")
        found.append(Given(path.name, tuple(command), {**environment, **env_file()}, "%d", loaded))
    return found


def values(**changed: Any) -> dict[str, Any]:
    """The chart's values, some of them changed: `web__replicas=3` is web.replicas. By default with a Secret that somebody made."""
    found: dict[str, Any] = document((CHART / "values.yaml").read_text(encoding="utf-8"))
    for name, value in {"secrets__existing": "made-elsewhere", **changed}.items():
        *way, last = name.split("__")
        place = found
        for step in way:
            place = place[step]
        assert last in place or way == ["secrets", "values"], name
        place[last] = value
    return found


def rendered(**changed: Any) -> str:
    """What the templates give, as Helm's own engine renders them. Skips where Go or its library is not installed."""
    return _rendered(json.dumps(values(**changed)))


@cache
def _rendered(given: str) -> str:
    chart = document((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    document_of = {
        "Values": json.loads(given),
        "Chart": {"Name": chart["name"], "Version": chart["version"], "AppVersion": chart["appVersion"]},
        "Release": {"Name": "ads", "Namespace": "ads", "Service": "Helm"},
    }
    words = (program("go"), "run", ROOT / "tests" / "ops" / "render.go", CHART / "templates")
    return checked(*words, given=json.dumps(document_of), env=GO)


def manifests(**changed: Any) -> list[dict[str, Any]]:
    """The objects that the chart makes."""
    return documents(rendered(**changed).partition("---NOTES")[0])


def pods(**changed: Any) -> dict[str, dict[str, Any]]:
    """The pod of each part."""
    found = [one for one in manifests(**changed) if one["kind"] in ("Deployment", "Job")]
    return {
        one["metadata"]["name"].removeprefix("ads-budget-engine-"): one["spec"]["template"]["spec"] for one in found
    }


def of_chart(**changed: Any) -> list[Given]:
    """The containers of the chart."""
    found = []
    for part, pod in pods(**changed).items():
        (container,) = pod["containers"]
        (mounted,) = [volume["secret"] for volume in pod["volumes"] if "secret" in volume]
        found.append(
            Given(
                f"chart {part}",
                tuple(container["args"]),
                {one["name"]: str(one["value"]) for one in container["env"]},
                "/run/secrets/budget-engine",
                frozenset(item["path"] for item in mounted["items"]),
            )
        )
    return found
