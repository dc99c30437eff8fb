"""Where a process is wired, once: settings to connections to flows. Everything is made when first asked for."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property
from typing import Any

import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry
from sqlalchemy import Engine

from engine.flows.close import Closer
from engine.flows.log_days import LogDays
from engine.flows.manage import Manage
from engine.flows.metrics import Metrics
from engine.flows.overview import Overview
from engine.flows.persist import Persister
from engine.flows.publish import Publisher
from engine.flows.quarantine import Quarantined
from engine.flows.rebuild import Rebuilder, Windows
from engine.flows.reconcile import Reconciler
from engine.flows.status import StatusWriter
from engine.flows.verify import Verifier
from engine.flows.verify.journals import Journals
from engine.flows.verify.keyspace import Keyspace
from engine.ledger.catalog import Catalog
from engine.ledger.database import make_engine
from engine.live.admin import LiveRedis
from engine.live.client import BudgetClient
from engine.live.inspect import Inspector
from engine.live.journal import Journal
from engine.live.wire import Wire
from engine.settings import Settings


def jobs_redis_at(url: str) -> redis.Redis:
    """RQ's Redis. Away is said within a second: whoever waits for it does so where a signal can end the wait."""
    return redis.Redis.from_url(url, socket_connect_timeout=2, retry=Retry(ConstantBackoff(0.1), 3))


class System:
    """The parts of one process. Nothing connects before it is used."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings.resolved()

    @cached_property
    def db(self) -> Engine:
        return make_engine(self.settings.database_url)

    @cached_property
    def wire(self) -> Wire:
        """That of jobs and pages, which leave the processor to bidders while they wait."""
        return Wire(self.settings.redis_url, busy_poll_us=0)

    @cached_property
    def hot_redis(self) -> redis.Redis:
        """Plain commands on the hot Redis: stream reads, INFO."""
        return redis.Redis.from_url(self.settings.redis_url, socket_timeout=5, socket_connect_timeout=2)

    @cached_property
    def jobs_redis(self) -> redis.Redis:
        return jobs_redis_at(self.settings.jobs_redis_url)

    @cached_property
    def live(self) -> LiveRedis:
        return LiveRedis(self.wire)

    @cached_property
    def journal(self) -> Journal:
        return Journal(self.hot_redis, self.wire.where)

    @cached_property
    def client(self) -> BudgetClient:
        """A bidder's client with a long deadline, for commands."""
        return BudgetClient.from_url(self.settings.redis_url, timeout_ms=5000)

    @cached_property
    def catalog(self) -> Catalog:
        return Catalog(self.db)

    @cached_property
    def instance(self) -> str:
        """The uuid that both stores must carry."""
        return self.catalog.instance_uuid()

    @cached_property
    def publisher(self) -> Publisher:
        return Publisher(self.catalog, self.live, self.instance)

    @cached_property
    def status(self) -> StatusWriter:
        return StatusWriter(self.db, self.catalog, self.live)

    @cached_property
    def manage(self) -> Manage:
        return Manage(self.catalog, lambda: self.publisher, lambda: self.status)

    @cached_property
    def persister(self) -> Persister:
        return Persister(self.db, self.live, self.journal, self.instance)

    @cached_property
    def closer(self) -> Closer:
        return Closer(self.db, self.catalog, self.live, self.instance)

    @cached_property
    def log_days(self) -> LogDays:
        return LogDays(self.db, self.live, self.settings.spend_log_keep_days)

    @cached_property
    def rebuilder(self) -> Rebuilder:
        windows = Windows.of(self.settings.request_id_minutes, self.settings.event_id_hours)
        return Rebuilder(self.db, self.catalog, self.live, self.journal, self.persister, self.instance, windows)

    @cached_property
    def inspector(self) -> Inspector:
        return Inspector(self.hot_redis, self.wire.where)

    @cached_property
    def verifier(self) -> Verifier:
        windows = timedelta(hours=self.settings.event_id_hours), timedelta(minutes=self.settings.request_id_minutes)
        return Verifier(self.db, self.catalog, self.live, self.journal, self.inspector, *windows)

    @cached_property
    def reconciler(self) -> Reconciler:
        journals = Journals(self.db, self.live, self.journal)
        keyspace = Keyspace(self.catalog, self.inspector)
        return Reconciler(self.db, self.live, self.instance, self.verifier.counters, journals, keyspace, self.status)

    @cached_property
    def quarantined(self) -> Quarantined:
        return Quarantined(self.db, self.persister)

    @cached_property
    def overview(self) -> Overview:
        return Overview(self.db, self.catalog, self.live, self.jobs_redis)

    @cached_property
    def metrics(self) -> Metrics:
        return Metrics(self.db, self.hot_redis, self.jobs_redis)

    def close(self) -> None:
        """Lets every connection go."""
        made: dict[str, Any] = self.__dict__
        for name in ("wire", "client", "hot_redis", "jobs_redis"):
            if name in made:
                made[name].close()
        if "db" in made:
            self.db.dispose()
