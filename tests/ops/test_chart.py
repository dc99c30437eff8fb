"""The chart: what its values lead to, checked on the text of its templates always, and on rendered objects where Go's template engine is installed."""

from __future__ import annotations

import itertools
import re
import subprocess
from typing import Any

import pytest

from tests.ops.given import CHART, SECRET_VALUES, manifests, pods, rendered, values
from tests.ops.test_image import stages
from tests.ops.yaml_subset import document
from web import create_app

TEMPLATES = {path.name: path.read_text(encoding="utf-8") for path in (CHART / "templates").iterdir()}
TEXT = "\n".join(TEMPLATES.values())
EVERYTHING = {
    "secrets__existing": "",
    "secrets__values": SECRET_VALUES,
    "ingress__enabled": True,
    "ingress__className": "nginx",
    "networkPolicy__enabled": True,
    "networkPolicy__from": [{"podSelector": {}}],
    "caConfigMap": "authorities",
    "settings": {"EVENT_ID_HOURS": 2, "SPEND_LOG_KEEP_DAYS": 400},
    "image__digest": "sha256:" + "0" * 64,
    "image__pullSecrets": [{"name": "registry"}],
    "web__publicUrl": "https://budgets.example.com",
    "web__trustedProxies": "10.1.0.0/24",
    "web__nodeSelector": {"disk": "none"},
    "web__tolerations": [{"key": "x", "operator": "Exists"}],
}


def leaves(tree: dict[str, Any], way: tuple[str, ...] = ()) -> set[str]:
    """The names of all values, `web.replicas`; an empty mapping or list is one."""
    found: set[str] = set()
    for name, value in tree.items():
        if isinstance(value, dict) and value and name not in ("resources", "settings"):
            found |= leaves(value, (*way, name))
        else:
            found.add(".".join((*way, name)))
    return found


def test_each_value_is_used_and_each_that_is_used_is_there_and_described() -> None:
    used = set(re.findall(r"\.Values\.([\w.]+)", TEXT))
    parts = re.findall(r'placement" \.Values\.(\w+)', TEXT)
    placed = {f"{part}.{name}" for part in parts for name in re.findall(r"with \.(\w+) ", TEMPLATES["_helpers.tpl"])}
    given = leaves(values())
    for name in used - set(parts):
        assert name in given, name
    assert given == (used & given) | placed
    lines = (CHART / "values.yaml").read_text(encoding="utf-8").splitlines()
    described = {
        line.split(":")[0].strip() for before, line in itertools.pairwise(lines) if before.strip().startswith("#")
    }
    assert {
        "existing",
        "values",
        "caConfigMap",
        "settings",
        "publicUrl",
        "trustedProxies",
        "readinessPath",
    } <= described


def test_templates_close_what_they_open_and_include_what_is_defined() -> None:
    for name, text in TEMPLATES.items():
        assert text.count("{{") == text.count("}}"), name
        opened = len(re.findall(r"\{\{-? (?:if|with|range|define) ", text))
        assert opened == len(re.findall(r"\{\{-? end ", text)), name
    defined = set(re.findall(r'define "([\w.-]+)"', TEXT))
    assert set(re.findall(r'include "([\w.-]+)"', TEXT)) == defined
    parts = [name for name, text in TEMPLATES.items() if "kind: Deployment" in text]
    assert sorted(parts) == ["api.yaml", "scheduler.yaml", "web.yaml", "worker.yaml"]
    assert "helm.sh/hook: pre-install,pre-upgrade" in TEMPLATES["migrate.yaml"]


def test_the_chart_is_of_the_release_that_it_installs() -> None:
    chart = document((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    project = re.search(r'^version = "(.+)"$', (CHART.parents[2] / "pyproject.toml").read_text(), re.M)
    assert project and chart["appVersion"] == chart["version"] == project[1]
    assert chart["apiVersion"] == "v2"


@pytest.mark.parametrize("changed", [{}, EVERYTHING], ids=["as it is", "everything on"])
def test_what_is_rendered_is_whole(changed: dict[str, Any]) -> None:
    objects = manifests(**changed)
    names = [(one["kind"], one["metadata"]["name"]) for one in objects]
    assert len(names) == len(set(names))
    kinds = {kind for kind, _ in names}
    assert kinds >= {"Deployment", "Job", "Service", "PodDisruptionBudget"}
    assert {"Secret", "Ingress", "NetworkPolicy"} & kinds == (
        {"Secret", "Ingress", "NetworkPolicy"} if changed else set()
    )
    for one in objects:
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", one["metadata"]["name"])
        assert one["apiVersion"] and one["metadata"]["labels"]["app.kubernetes.io/name"] == "budget-engine"
        template = one["spec"]["template"]["metadata"]["labels"] if one["kind"] == "Deployment" else {}
        if template:
            assert one["spec"]["selector"]["matchLabels"].items() <= template.items()
    assert "<no value>" not in rendered(**changed) and "null" not in rendered(**changed)


def test_each_pod_is_the_image_s_user_with_nothing_to_write_and_no_token_of_the_cluster() -> None:
    (user,) = [step.rest for step in stages()[1] if step.word == "USER"]
    for part, pod in pods().items():
        (container,) = pod["containers"]
        inside, around = container["securityContext"], pod["securityContext"]
        assert inside == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, part
        assert around["runAsNonRoot"] is True and around["seccompProfile"] == {"type": "RuntimeDefault"}
        assert f"{around['runAsUser']}:{around['runAsGroup']}" == user
        assert pod["automountServiceAccountToken"] is False
        mounted = {one["name"] for one in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
        assert "limits" in container["resources"] and "command" not in container


def test_probes_are_pages_that_answer_without_a_login_on_the_port_that_the_page_listens_on(system: Any) -> None:
    web = pods()["web"]["containers"][0]
    (port,) = web["ports"]
    assert {one["name"]: one["value"] for one in web["env"]}["BUDGET_WEB_PORT"] == str(port["containerPort"])
    probes = {name: web[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {name: probe["path"] for name, probe in probes.items()} == {
        "startupProbe": "/healthz",
        "livenessProbe": "/healthz",
        "readinessProbe": "/readyz",
    }
    page = create_app(system).test_client()
    for probe in probes.values():
        assert probe["port"] == port["name"]
        assert page.get(probe["path"], base_url="http://127.0.0.1").status_code in (200, 503)
    services = [one for one in manifests() if one["kind"] == "Service"]
    assert [one["spec"]["ports"][0]["targetPort"] for one in services] == [port["name"]] * 2


def test_the_migration_runs_before_the_rest_and_has_its_secret_by_then() -> None:
    objects = {one["kind"]: one for one in manifests(**EVERYTHING) if one["kind"] in ("Job", "Secret")}
    hooks = {kind: one["metadata"]["annotations"] for kind, one in objects.items()}
    assert all(hook["helm.sh/hook"] == "pre-install,pre-upgrade" for hook in hooks.values())
    assert int(hooks["Secret"]["helm.sh/hook-weight"]) < int(hooks["Job"]["helm.sh/hook-weight"])
    assert objects["Secret"]["stringData"] == SECRET_VALUES


def test_services_budgets_and_policies_select_pods_that_are_there() -> None:
    objects = manifests(**EVERYTHING)
    labels = [one["spec"]["template"]["metadata"]["labels"] for one in objects if one["kind"] in ("Deployment", "Job")]
    for one in objects:
        spec = one.get("spec", {})
        chosen = {
            "Service": lambda s: s["selector"],
            "PodDisruptionBudget": lambda s: s["selector"]["matchLabels"],
            "NetworkPolicy": lambda s: s["podSelector"]["matchLabels"],
        }.get(one["kind"])
        if chosen is not None:
            assert sum(chosen(spec).items() <= each.items() for each in labels) == 1, one["metadata"]["name"]
    closed = [one["spec"]["ingress"] for one in objects if one["kind"] == "NetworkPolicy"]
    assert len(closed) == 5 and sum(bool(rules) for rules in closed) == 2


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"secrets__existing": ""}, "set secrets.existing, or secrets.values.REDIS_URL"),
        ({"networkPolicy__enabled": True}, "set networkPolicy.from"),
    ],
)
def test_a_value_that_is_missing_is_named(changed: dict[str, Any], why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        rendered(**changed)


def test_helm_finds_nothing_wrong_where_it_is_installed() -> None:
    import shutil

    helm = shutil.which("helm")
    if helm is None:
        pytest.skip("helm is in no package source that CI reaches: Go's engine rendered the templates instead")
    done = subprocess.run(
        [helm, "lint", "--strict", "--set", "secrets.existing=x", CHART], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
