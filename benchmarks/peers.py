"""The peers of the benchmark, each used as its documentation shows: plain Redis, a rate limiter, and the Django design
that the engine replaces.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import redis
import redis.asyncio

PIPELINE: Final = 100
CALLERS: Final = 1000


def rate(operations: int, work: Callable[[], Any]) -> float:
    """Times one round of work; returns operations a second."""
    with only_its_own_garbage():
        began = time.perf_counter()
        work()
        return operations / (time.perf_counter() - began)


@contextmanager
def only_its_own_garbage() -> Iterator[None]:
    """Excludes existing objects from garbage collection, for the engine and its peers alike.

    A timed round then pays for its own garbage only. A collection over all prepared spends and loaded libraries would
    take 80 ms at a random moment.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def incrby(plain: redis.Redis, times: int) -> float:
    """redis-py, one INCRBY a round trip."""
    return rate(times, lambda: [plain.incrby("bench:counter", 1000 + i) for i in range(times)])


def incrby_pipelined(plain: redis.Redis, times: int) -> float:
    """redis-py, PIPELINE commands a round trip."""

    def work() -> None:
        for start in range(0, times, PIPELINE):
            pipe = plain.pipeline(transaction=False)
            for i in range(start, start + PIPELINE):
                pipe.incrby("bench:counter", 1000 + i)
            pipe.execute()

    return rate(times, work)


def incrby_asyncio(url: str, rounds: int) -> float:
    """redis.asyncio with a pool of fifty connections and a thousand callers at once."""

    async def work() -> float:
        pool = redis.asyncio.BlockingConnectionPool.from_url(url, max_connections=50)
        client = redis.asyncio.Redis(connection_pool=pool)
        await asyncio.gather(*(client.incrby("bench:counter", i) for i in range(100)))
        began = time.perf_counter()
        for _ in range(rounds):
            await asyncio.gather(*(client.incrby("bench:counter", i) for i in range(CALLERS)))
        taken = time.perf_counter() - began
        await client.aclose()
        await pool.aclose()
        return rounds * CALLERS / taken

    with only_its_own_garbage():
        return asyncio.run(work())


def fixed_window(url: str, times: int) -> float:
    """The `limits` library: a fixed window of a day, with the amount as cost."""
    from limits import RateLimitItemPerDay
    from limits.storage import storage_from_string
    from limits.strategies import FixedWindowRateLimiter

    limiter = FixedWindowRateLimiter(storage_from_string(url))
    budget = RateLimitItemPerDay(10**15)
    return rate(times, lambda: [limiter.hit(budget, "brand", cost=1000 + i) for i in range(times)])


class Django:
    """The Django design: one transaction with F() updates of brand and campaign and a row of the log, in one thread."""

    def __init__(self, url: str) -> None:
        import django
        from django.conf import settings

        parts = urlsplit(url)
        database = {
            "ENGINE": "django.db.backends.postgresql", "NAME": parts.path.lstrip("/"), "USER": unquote(parts.username or ""),
            "PASSWORD": unquote(parts.password or ""), "HOST": parts.hostname, "PORT": parts.port,
        }  # fmt: skip
        if not settings.configured:
            settings.configure(DATABASES={"default": database}, INSTALLED_APPS=[], USE_TZ=True)
            django.setup()
        from django.db import connection, models

        class BenchBrand(models.Model):
            daily_budget = models.DecimalField(max_digits=16, decimal_places=6)
            daily_spend = models.DecimalField(max_digits=16, decimal_places=6, default=0)
            monthly_spend = models.DecimalField(max_digits=16, decimal_places=6, default=0)

            class Meta:
                app_label = "bench"

        class BenchCampaign(models.Model):
            brand = models.ForeignKey(BenchBrand, on_delete=models.CASCADE)
            daily_spend = models.DecimalField(max_digits=16, decimal_places=6, default=0)

            class Meta:
                app_label = "bench"

        class BenchSpendLog(models.Model):
            campaign = models.ForeignKey(BenchCampaign, on_delete=models.CASCADE)
            amount = models.DecimalField(max_digits=16, decimal_places=6)
            at = models.DateTimeField(auto_now_add=True)

            class Meta:
                app_label = "bench"

        self._models: tuple[Any, Any, Any] = (BenchBrand, BenchCampaign, BenchSpendLog)
        with connection.schema_editor() as editor:
            for model in self._models:
                editor.create_model(model)
        brand = BenchBrand.objects.create(daily_budget="1000000")
        self._campaigns = [BenchCampaign.objects.create(brand=brand).pk for _ in range(20)]
        self._brand = brand.pk

    def spends(self, times: int) -> float:
        """Spends a second."""
        from decimal import Decimal

        from django.db import transaction
        from django.db.models import F

        brands, campaigns, log = (model.objects for model in self._models)

        def work() -> None:
            for i in range(times):
                amount = Decimal(1000 + i) / 1_000_000
                campaign = self._campaigns[i % 20]
                with transaction.atomic():
                    campaigns.filter(pk=campaign).update(daily_spend=F("daily_spend") + amount)
                    brands.filter(pk=self._brand).update(
                        daily_spend=F("daily_spend") + amount, monthly_spend=F("monthly_spend") + amount
                    )
                    log.create(campaign_id=campaign, amount=amount)

        return rate(times, work)

    def close(self) -> None:
        """Closes the connection."""
        from django.db import connection

        connection.close()
