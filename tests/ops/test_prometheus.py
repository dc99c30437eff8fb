"""The rules and the dashboard over a real /metrics page: read by name and label always, and by a real Prometheus where one is installed."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from engine.ledger import runs
from engine.wiring import System
from tests.docs.documents import blocks
from tests.ops.page import answered
from tests.ops.programs import OPS, ROOT, checked, program
from tests.ops.yaml_subset import document
from tests.patience import PATIENCE_S
from tests.ports import free_port
from tests.processes.conftest import Processes, brand_of, until
from tests.web.rules import Scrape, names_in, rules
from tests.web.test_metrics import healthy, scrape

DASHBOARD: dict[str, Any] = json.loads((OPS / "grafana" / "budget-engine.json").read_text(encoding="utf-8"))
RULES = OPS / "alerts.yml"
TARGET_LABELS = {"job", "instance", "exported_job"}
"""Labels that Prometheus sets. A label `job` of the page itself becomes `exported_job`, because the scrape has one of its own."""
GRAFANA = {"$__rate_interval": "1m", "$job": "budget-engine"}


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def queries() -> list[tuple[str, str]]:
    """Title and expression of each query, as Grafana would send it."""
    found = [(panel["title"], target["expr"]) for panel in panels() for target in panel["targets"]]
    for name, value in GRAFANA.items():
        found = [(title, expression.replace(name, value)) for title, expression in found]
    assert all("$" not in expression for _, expression in found)
    return found


def labels_in(expression: str) -> set[str]:
    """The labels that an expression selects or groups by."""
    grouped = re.findall(r"\b(?:by|without) \(([^)]*)\)", expression)
    selected = re.findall(r"[{,] *(\w+) *(?:=~|!~|!=|=)", expression)
    return {name.strip() for group in grouped for name in group.split(",")} | set(selected)


def labels_of(samples: Scrape, name: str) -> set[str]:
    return {label for labels in samples[name] for label, _ in labels}


@pytest.fixture
def spending(ready: System) -> System:
    """An engine on which something of every kind happened."""
    healthy(ready)
    _, (campaign, *_) = brand_of(ready, "Acme", 2, daily=3_000_000)
    for _ in range(3):
        ready.client.try_spend(campaign, "1.5")
    ready.client.reserve(campaign, "9")
    ready.persister.drain_all()
    return ready


def test_every_query_and_rule_is_of_metrics_and_labels_that_the_page_has(spending: System) -> None:
    with runs.run(spending.db, "verify") as told:
        told.outcome, told.detail = "failed", "FAIL V1 5 micros: brand 1 day; PASS V2"
    samples = scrape(spending)
    expressions = queries() + [(rule.name, rule.expression) for rule in rules()]
    assert len(expressions) > 40
    for title, expression in expressions:
        names = names_in(expression)
        assert names and names <= set(samples), title
        assert labels_in(expression) <= TARGET_LABELS.union(*(labels_of(samples, name) for name in names)), title


def test_every_metric_of_the_page_is_on_the_dashboard(spending: System) -> None:
    shown = {name for _, expression in queries() for name in names_in(expression)}
    assert {name for name in scrape(spending) if name.startswith("budget_engine_")} <= shown


def test_the_dashboard_is_one_that_grafana_imports() -> None:
    assert DASHBOARD["uid"] == "budget-engine" and DASHBOARD["schemaVersion"] >= 36
    assert [one["name"] for one in DASHBOARD["templating"]["list"]] == ["datasource", "job"]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
    for panel in panels():
        assert panel["description"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        references = [target["refId"] for target in panel["targets"]]
        assert len(references) == len(set(references))


def test_each_rule_says_what_is_wrong_and_what_to_do() -> None:
    (group,) = document(RULES.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]:
        assert rule.keys() == {"alert", "expr", "for", "labels", "annotations"}
        assert rule["annotations"].keys() == {"summary", "todo"}
        assert rule["labels"]["severity"] in ("page", "ticket")
        for label in re.findall(r"\$labels\.(\w+)", str(rule["annotations"])):
            assert label in ("part", "queue", "exported_job"), rule["alert"]


def test_promtool_takes_the_rules_and_each_query_of_the_dashboard(tmp_path: Path) -> None:
    promtool = program("promtool")
    assert "SUCCESS" in checked(promtool, "check", "rules", RULES)
    lines = [f"  - record: query:number{i}\n    expr: {json.dumps(query)}" for i, (_, query) in enumerate(queries())]
    (tmp_path / "queries.yml").write_text("groups:\n- name: dashboard\n  rules:\n" + "\n".join(lines) + "\n")
    assert f"SUCCESS: {len(lines)} rules" in checked(promtool, "check", "rules", tmp_path / "queries.yml")


class Prometheus:
    """A running one."""

    def __init__(self, port: int) -> None:
        self._at = f"http://127.0.0.1:{port}/api/v1"

    def ask(self, path: str, **query: str) -> Any:
        with urllib.request.urlopen(f"{self._at}/{path}?{urllib.parse.urlencode(query)}", timeout=PATIENCE_S) as answer:
            return json.load(answer)["data"]

    def select(self, expression: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("query", query=expression)["result"]
        return found

    def up(self) -> bool:
        try:
            return [one["value"][1] for one in self.select('up{job="budget-engine"}')] == ["1"]
        except OSError:
            return False


@pytest.fixture
def prometheus(
    spending: System, environment: dict[str, str], processes: Processes, tmp_path: Path
) -> Iterator[Prometheus]:
    """A real one that scrapes a real page, on the scrape configuration of docs/operations.md and the rules of ops/."""
    binary = program("prometheus")
    page, port = free_port(), free_port()
    processes.environment = {**environment, "BUDGET_WEB_PORT": str(page), "METRICS_TOKEN": "s3cret"}
    processes.start("web")
    until(lambda: answered(page, "/healthz") == 200, why=processes.said)
    (shown,) = blocks(ROOT / "docs" / "operations.md", "yaml")
    (tmp_path / "token").write_text("s3cret")
    config = shown.replace("/etc/prometheus/budget-engine.token", str(tmp_path / "token"))
    config = config.replace("budgets.internal:8000", f"127.0.0.1:{page}")
    assert config.count(str(tmp_path)) == 1 and config.count(f"127.0.0.1:{page}") == 1
    config += f"global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{RULES}]\n"
    (tmp_path / "prometheus.yml").write_text(config)
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [
                binary,
                f"--config.file={tmp_path / 'prometheus.yml'}",
                f"--storage.tsdb.path={tmp_path / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    found = Prometheus(port)
    try:
        until(lambda: server.poll() is not None or found.up(), why=(tmp_path / "log").read_text)
        yield found
    finally:
        server.terminate()
        server.wait(PATIENCE_S)


@pytest.mark.long
def test_a_real_prometheus_answers_every_query_of_the_dashboard_and_evaluates_every_rule(
    spending: System, prometheus: Prometheus
) -> None:

    def empty() -> list[str]:
        return [title for title, query in queries() if not prometheus.select(query)]

    # Nothing failed in the last verify, so that this one has nothing to show. A rate needs two scrapes of its counter.
    until(lambda: empty() == ["Checks that failed"], why=lambda: str(empty()))
    jobs = {one["metric"]["exported_job"] for one in prometheus.select("budget_engine_job_overdue")}
    assert {"persist", "verify"} <= jobs, "the page's own label, beside the job of the scrape"

    def evaluated() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = prometheus.ask("rules")["groups"][0]["rules"]
        return found

    until(lambda: all(rule["health"] == "ok" for rule in evaluated()))
    assert len(evaluated()) == len(rules())
    assert {rule["name"] for rule in evaluated() if rule["state"] == "firing"} == set()
    spending.jobs_redis.delete("rq:workers")
    with spending.db.begin() as conn:
        conn.execute(
            text(
                "INSERT INTO quarantine (shard, generation, n, entry_id, fields, sums, reason)"
                " VALUES (1, 1, 9, '5-1', '{}', '[]', 'x')"
            )
        )
    until(lambda: any(rule["name"] == "BudgetEngineQuarantine" and rule["state"] == "firing" for rule in evaluated()))
    until(lambda: any(rule["name"] == "BudgetEngineNoWorker" and rule["state"] == "pending" for rule in evaluated()))
