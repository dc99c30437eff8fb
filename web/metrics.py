"""/metrics for Prometheus: with METRICS_TOKEN for requests with that bearer token, without one for this machine only.

The figures are read at the scrape and cached for two seconds, so that several scrapers cost Redis and PostgreSQL no
more than one.
"""

from __future__ import annotations

import hmac
import threading
import time
from collections.abc import Iterator
from typing import Final

from flask import Blueprint, Flask, Response, abort, current_app, request
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from engine.domain.periods import ms_of
from engine.views.alarms import COUNTERS
from engine.views.metrics import ColdFigures, Figures, HotFigures, Metrics
from web.guard import host_of, is_loopback
from web.proxies import is_forwarded

blueprint = Blueprint("metrics", __name__)
KEPT_S: Final = 2.0
_KEY: Final = "budget_engine_metrics"
_NAME: Final = "budget_engine_"


def install(app: Flask, metrics: Metrics, token: str) -> None:
    """Registers the page."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(EngineCollector(metrics))
    app.extensions[_KEY] = (registry, token)
    app.register_blueprint(blueprint)


@blueprint.get("/metrics")
def metrics() -> Response:
    """Every figure in Prometheus' text format. 401 without the token, 403 from elsewhere where there is none."""
    registry, token = current_app.extensions[_KEY]
    if token:
        sent = request.headers.get("Authorization", "").encode()
        if not hmac.compare_digest(sent, f"Bearer {token}".encode()):
            return Response(
                "send METRICS_TOKEN as a bearer token\n", 401, {"WWW-Authenticate": "Bearer"}, mimetype="text/plain"
            )
    elif not _from_this_machine():
        abort(403, "Without METRICS_TOKEN this is for this machine alone: set one, and send it as a bearer token.")
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _from_this_machine() -> bool:
    """A proxy on this machine may forward for others: it adds a header, or passes their Host on."""
    near = request.remote_addr is None or is_loopback(request.remote_addr)
    return near and is_loopback(host_of(request.host)) and not is_forwarded(request.headers)


class EngineCollector(Collector):
    """The figures as metric families. Those of a server that is away are left out, so that no alert takes them for
    zero; `part_up` shows that it is away.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._lock = threading.Lock()
        self._kept: tuple[float, Figures] | None = None

    def collect(self) -> Iterator[Metric]:
        """Called once a scrape."""
        with self._lock:
            if self._kept is None or time.monotonic() - self._kept[0] > KEPT_S:
                figures = self._metrics.read()
                self._kept = (time.monotonic(), figures)
            figures = self._kept[1]
        yield _labelled(
            "part_up",
            "Whether a server answers: 1 or 0.",
            "part",
            {
                "redis": figures.hot is not None,
                "postgresql": figures.cold is not None,
                "jobs_redis": figures.workers is not None,
            },
        )
        if figures.hot is not None:
            yield from _hot(figures.hot, figures.backlog)
        if figures.cold is not None:
            yield from _cold(figures.cold)
        if figures.workers is not None:
            yield _gauge("workers", "Worker processes that work a queue.", figures.workers)
            workers = {name: queue.workers for name, queue in figures.queues.items()}
            yield _labelled("queue_workers", "Worker processes that work this queue.", "queue", workers)
            waiting = {name: queue.waiting for name, queue in figures.queues.items()}
            yield _labelled("queue_jobs", "Jobs that wait in this queue.", "queue", waiting)
            yield _gauge(
                "scheduler_heartbeat_timestamp_seconds",
                "When the scheduler was last heard; 0 when none runs.",
                (figures.heartbeat_ms or 0) / 1000,
            )


def _hot(hot: HotFigures, backlog: int | None) -> Iterator[Metric]:
    spends = CounterMetricFamily(
        f"{_NAME}spends",
        "Spends by outcome, refused ones by their causes joined with commas. repeated: the same request id again.",
        labels=("outcome", "cause"),
    )
    for (outcome, cause), count in sorted(hot.spends.items()):
        spends.add_metric((outcome, cause), count)
    yield spends
    holds = CounterMetricFamily(f"{_NAME}holds_refused", "Holds refused, by their causes.", labels=("cause",))
    for cause, count in sorted(hot.holds_refused.items()):
        holds.add_metric((cause,), count)
    yield holds
    yield _gauge("shards_not_ready", "Shards that answer not_ready or wrong_version.", hot.not_ready)
    if backlog is not None:
        age = 0.0 if hot.oldest_ms is None else max(0, hot.now_ms - hot.oldest_ms) / 1000
        yield _gauge("journal_entries", "Journal entries that are not in PostgreSQL yet.", backlog)
        yield _gauge("journal_oldest_age_seconds", "Age of the oldest of them; 0 when there is none.", age)
    yield _gauge("redis_used_bytes", "Memory that the hot Redis uses.", hot.used_bytes)
    yield _gauge("redis_limit_bytes", "Its maxmemory, or the machine's memory where none is set.", hot.limit_bytes)
    yield _gauge(
        "redis_full_seconds", "Until the hot Redis is full, at the pace of the last ten minutes; +Inf when it does not grow.",
        hot.full_in_s,
    )  # fmt: skip
    yield CounterMetricFamily(
        f"{_NAME}redis_evicted_keys", "Keys that the hot Redis dropped: any is lost money.", hot.evicted
    )


def _cold(cold: ColdFigures) -> Iterator[Metric]:
    yield _gauge("shards_stopped", "Shards whose journal does not join on to PostgreSQL.", cold.stopped)
    yield _gauge(
        "breakers_open", "Campaigns that an open breaker stops, until a person resumes them.", cold.breakers_open
    )
    coming = cold.limit_changes
    yield _gauge("limit_changes_waiting", "Scheduled changes of limits that have yet to begin or end.", coming.waiting)
    yield _gauge(
        "limit_changes_overdue", "Those whose instant passed a minute ago, and which the catalog has not taken over.", coming.overdue
    )  # fmt: skip
    yield _gauge(
        "limit_changes_unpublished", "Those of brands and campaigns whose last change Redis does not have yet.", coming.unpublished
    )  # fmt: skip
    yield _gauge("quarantine_entries", "Journal entries set aside that wait for a person.", cold.quarantined)
    yield CounterMetricFamily(f"{_NAME}counter_corrections", "Counters that reconcile corrected.", cold.corrections)
    yield CounterMetricFamily(
        f"{_NAME}counter_corrections_micros", "By how many micros it corrected them, up or down.", cold.corrected_micros
    )
    spends = CounterMetricFamily(
        f"{_NAME}late_spends", "Spends that occurred on an earlier day than they were reported.", labels=["booked"]
    )
    micros = CounterMetricFamily(f"{_NAME}late_spends_micros", "What they add up to, in micros.", labels=["booked"])
    for previous, (number, amount) in cold.late.items():
        spends.add_metric(["previous_day" if previous else "today"], number)
        micros.add_metric(["previous_day" if previous else "today"], amount)
    yield from (spends, micros)
    if cold.verified is not None:
        ended = ms_of(cold.verified.finished_at or cold.verified.started_at)
        drift = any(check in COUNTERS for check in cold.failed_checks)
        yield _gauge("verify_passed", "Whether the last verify passed: 1 or 0.", cold.verified.outcome == "done")
        yield _gauge("verify_last_run_timestamp_seconds", "When the last verify ended.", ended / 1000)
        yield _gauge("drift", "Whether the last verify found counters and log apart (V1, V2, V13): 1 or 0.", drift)
        yield _labelled(
            "verify_check_failed", "1 for each check that the last verify failed.", "check", dict.fromkeys(cold.failed_checks, 1)
        )  # fmt: skip
    yield _labelled(
        "job_last_success_timestamp_seconds", "When a job last ended well.", "job",
        {job: ms_of(run.finished_at or run.started_at) / 1000 for job, run in sorted(cold.successes.items())},
    )  # fmt: skip
    yield _labelled("job_overdue", "1 where a job is overdue.", "job", {j.job: j.overdue for j in cold.jobs})
    yield _labelled(
        "job_failed", "1 where a job's last run failed.", "job", {j.job: j.outcome == "failed" for j in cold.jobs}
    )


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(_NAME + name, text, float(value))


def _labelled(name: str, text: str, label: str, values: dict[str, bool] | dict[str, int] | dict[str, float]) -> Metric:
    family = GaugeMetricFamily(_NAME + name, text, labels=(label,))
    for key, value in values.items():
        family.add_metric((key,), float(value))
    return family
