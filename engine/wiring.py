"""Wires a process, in one place: settings to connections to flows. Everything is made on first use."""

from __future__ import annotations

import os
import uuid
from datetime import timedelta
from functools import cached_property
from typing import Any, Final, NamedTuple

import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry
from sqlalchemy import Engine

from engine.client.sync import BudgetClient
from engine.flows.alerts.desk import Alerts
from engine.flows.alerts.sending import Sender
from engine.flows.catalog.manage import Manage
from engine.flows.catalog.publish import Publisher
from engine.flows.catalog.restored import Restored
from engine.flows.catalog.status import StatusWriter
from engine.flows.export.exporter import Exporter
from engine.flows.operations.desk import Operations
from engine.flows.people import People
from engine.flows.persist.persister import Persister
from engine.flows.persist.quarantine import Quarantined
from engine.flows.persist.refunds import RefundDesk
from engine.flows.persist.shares import Shares
from engine.flows.rebuild.beside import RebuildBeside, child_environment
from engine.flows.rebuild.memories import Windows
from engine.flows.rebuild.rebuilder import Rebuilder
from engine.flows.upkeep.close import Closer
from engine.flows.upkeep.log_days import LogDays
from engine.flows.verify import Verifier
from engine.flows.verify.journals import Journals
from engine.flows.verify.keyspace import Keyspace
from engine.flows.verify.reconcile import Reconciler
from engine.ledger.catalog import Catalog
from engine.ledger.database import make_engine
from engine.ledger.silence import JOBS_S
from engine.live.admin import LiveRedis
from engine.live.inspect import Inspector
from engine.live.journal import Journal
from engine.live.transport.plain import PlainRedis, impatient_redis
from engine.live.transport.primary import client_of
from engine.live.transport.protocol import Transport
from engine.live.transport.routed import open_transport
from engine.settings import DROP_EXPORTED, PACKED, Settings
from engine.urls import redis_places
from engine.views.activity import Activity
from engine.views.alert_facts import AlertFacts
from engine.views.board import ANSWER_S
from engine.views.budget_board import BudgetBoard
from engine.views.campaign_names import CampaignNames
from engine.views.courses import Courses
from engine.views.forecasts import Forecasts
from engine.views.health import where_in
from engine.views.metrics import Metrics
from engine.views.overview import Overview
from engine.views.sparks import Sparks


class Patience(NamedTuple):
    """How long a process waits for a server that does not reply.

    answer_s: until the server counts as hanging. options: PostgreSQL's own limits for a session. connections: at
    most, to PostgreSQL.
    """

    answer_s: float
    options: str = ""
    connections: int = 15


JOBS: Final = Patience(JOBS_S)
"""No person waits for a job, and a busy machine may delay it."""
LOCKED_S: Final = 5
COMMANDS: Final = Patience(ANSWER_S, f" -c lock_timeout={LOCKED_S * 1000}")
"""A person waits, for a result or for the name of the server that does not reply. Long work on working servers has no
limit. A lock that another program holds ends the command, because nothing else would report it. The engine holds no
lock for that long.
"""
PAGES: Final = Patience(ANSWER_S, f" -c lock_timeout={int(ANSWER_S * 1000)} -c statement_timeout=8000", 20)
"""A page reports locks of other programs sooner. After 8 s PostgreSQL ends the statement."""


JOBS_ANSWER_S: Final = 3
"""Seconds that a worker or the scheduler waits for RQ's Redis before it reports it. Without a limit a hanging Redis
would block them for ever, and no signal would end them.
"""


def jobs_redis_at(url: str) -> redis.Redis:
    """RQ's Redis. An unreachable server is reported within a second, so that callers wait where a signal can end the
    wait.
    """
    again = Retry(ConstantBackoff(0.1), 3, supported_errors=(redis.ConnectionError,))
    return client_of(url, socket_connect_timeout=2, socket_timeout=JOBS_ANSWER_S, retry=again)


class System:
    """The services of one process. Nothing connects before it is used."""

    def __init__(self, settings: Settings, patience: Patience = JOBS) -> None:
        self.settings = settings.resolved()
        self.patience = patience

    @cached_property
    def db(self) -> Engine:
        answer_s, options, connections = self.patience
        return make_engine(
            self.settings.database_url, max_overflow=connections - 5, patience_s=answer_s, options=options
        )

    @cached_property
    def wire(self) -> Transport:
        """The pool of jobs and pages, without busy-polling, so that bidders have the CPU."""
        return open_transport(self.settings.redis_url, busy_poll_us=0)

    @cached_property
    def hot_redis(self) -> redis.Redis:
        """Plain commands on the hot Redis: stream reads, INFO."""
        return impatient_redis(self.settings.redis_url, self.patience.answer_s)

    @cached_property
    def plain(self) -> PlainRedis:
        """Plain commands on each hot server: stream reads, INFO."""
        if redis_places(self.settings.redis_url).kind != "one":
            return PlainRedis(self.settings.redis_url, self.patience.answer_s)
        return PlainRedis.over(self.hot_redis, self.wire.where)

    @cached_property
    def jobs_redis(self) -> redis.Redis:
        return jobs_redis_at(self.settings.jobs_redis_url)

    @cached_property
    def jobs_look(self) -> redis.Redis:
        """A client of the same Redis for reads, with a short timeout. RQ's own client waits for minutes."""
        return impatient_redis(self.settings.jobs_redis_url, ANSWER_S)

    def is_waited_for(self, queue: str) -> bool:
        """Whether a job waits in this queue of RQ; False while its Redis is away, because no other job can take over then."""
        try:
            return bool(self.jobs_look.llen(f"rq:queue:{queue}"))
        except redis.RedisError:
            return False

    @cached_property
    def live(self) -> LiveRedis:
        return LiveRedis(self.wire, self.patience.answer_s)

    @cached_property
    def journal(self) -> Journal:
        return Journal(self.plain)

    @cached_property
    def client(self) -> BudgetClient:
        """A bidder's client for commands, with a longer deadline than a bidder's."""
        return BudgetClient.from_url(self.settings.redis_url, timeout_ms=int(self.patience.answer_s * 1000))

    @cached_property
    def catalog(self) -> Catalog:
        return Catalog(self.db)

    @cached_property
    def instance(self) -> str:
        """The uuid that both stores must carry."""
        return self.catalog.instance_uuid()

    @cached_property
    def publisher(self) -> Publisher:
        return Publisher(
            self.catalog, self.live, self.instance, self.inspector, self.restored, self.settings.late_grace_minutes
        )

    @cached_property
    def status(self) -> StatusWriter:
        return StatusWriter(self.db, self.catalog, self.live)

    @cached_property
    def manage(self) -> Manage:
        return Manage(self.catalog, lambda: self.publisher, lambda: self.status, lambda: self.restored)

    @cached_property
    def operations(self) -> Operations:
        free = self.manage.free_ids
        return Operations(self.db, self.catalog, self.live, lambda: self.publisher, lambda: self.status, free)

    @cached_property
    def alerts(self) -> Alerts:
        return Alerts(self.db)

    @cached_property
    def sender(self) -> Sender:
        return Sender(self.db, bool(self.settings.webhook_private))

    @cached_property
    def alert_facts(self) -> AlertFacts:
        return AlertFacts(self.db, self.overview)

    @cached_property
    def people(self) -> People:
        return People(self.db, self.settings.admin_password)

    @cached_property
    def restored(self) -> Restored:
        return Restored(self.db, self.catalog, self.live, self.instance)

    @cached_property
    def persister(self) -> Persister:
        return Persister(self.db, self.live, self.journal, self.instance, self._packed)

    @property
    def _packed(self) -> bool:
        return self.settings.spend_log == PACKED

    @cached_property
    def shares(self) -> Shares:
        """Of this process as one of the persist workers."""
        return Shares(self.db, f"{os.uname().nodename}-{os.getpid()}-{uuid.uuid4().hex[:8]}")

    @cached_property
    def windows(self) -> Windows:
        return Windows.of(self.settings.request_id_minutes, self.settings.event_id_hours)

    @cached_property
    def refund_desk(self) -> RefundDesk:
        return RefundDesk(self.db, self.live, self.instance, self.windows.event_ms)

    @cached_property
    def closer(self) -> Closer:
        return Closer(self.db, self.catalog, self.live, self.instance)

    @cached_property
    def log_days(self) -> LogDays:
        only_exported = self.settings.spend_log_drop == DROP_EXPORTED
        return LogDays(self.db, self.live, self.settings.spend_log_keep_days, only_exported, self._packed)

    @cached_property
    def exporter(self) -> Exporter:
        return Exporter(self.db, self.instance)

    @cached_property
    def rebuilder(self) -> Rebuilder:
        return Rebuilder(
            self.db, self.catalog, self.live, self.journal, self.persister, self.restored, self.inspector,
            self.instance, self.windows, self.settings.late_grace_minutes,
        )  # fmt: skip

    @cached_property
    def rebuild_beside(self) -> RebuildBeside:
        """This process' one rebuild beside persist."""
        return RebuildBeside(child_environment(self.settings.as_environment()))

    @cached_property
    def inspector(self) -> Inspector:
        return Inspector(self.plain)

    @cached_property
    def verifier(self) -> Verifier:
        windows = timedelta(hours=self.settings.event_id_hours), timedelta(minutes=self.settings.request_id_minutes)
        return Verifier(self.db, self.catalog, self.live, self.journal, self.inspector, *windows)

    @cached_property
    def reconciler(self) -> Reconciler:
        journals = Journals(self.db, self.live, self.journal)
        keyspace = Keyspace(self.catalog, self.inspector)
        verifier = self.verifier
        return Reconciler(
            self.db, self.live, self.instance, verifier.counters, verifier.passes, journals, keyspace, self.status
        )

    @cached_property
    def quarantined(self) -> Quarantined:
        return Quarantined(self.db, self.persister)

    @cached_property
    def overview(self) -> Overview:
        one = redis_places(self.settings.redis_url).kind == "one"
        hot_redis = (
            self.hot_redis if one else None
        )  # the primary that Sentinel names, and the nodes of a cluster, are none
        return Overview(self.db, self.catalog, self.live, self.jobs_look, hot_redis=hot_redis)

    @cached_property
    def activity(self) -> Activity:
        return Activity(self.db)

    @cached_property
    def budget_board(self) -> BudgetBoard:
        """The figures of all brands, shared by the viewers of this process."""
        return BudgetBoard(self.overview, {"postgresql": where_in(self.db), "redis": self.wire.where})

    @cached_property
    def campaign_names(self) -> CampaignNames:
        return CampaignNames(self.db)

    @cached_property
    def sparks(self) -> Sparks:
        return Sparks(self.db)

    @cached_property
    def forecasts(self) -> Forecasts:
        return Forecasts(self.db, self.overview)

    @cached_property
    def courses(self) -> Courses:
        """The course of today, shared by the viewers of this process."""
        return Courses(self.db, self.catalog, self.forecasts)

    @cached_property
    def metrics(self) -> Metrics:
        def hangs(name: str) -> bool:
            return self.overview.parts.board.silent_s(name) is not None

        return Metrics(self.db, self.plain, self.jobs_look, hangs=hangs, lacking=lambda: self.live.lacking)

    def close(self) -> None:
        """Closes every connection."""
        made: dict[str, Any] = self.__dict__
        for name in ("wire", "client", "plain", "hot_redis", "jobs_redis", "jobs_look"):
            if name in made:
                made[name].close()
        if "db" in made:
            self.db.dispose()
