"""What a caller gives that is not what a call takes: one line that names it, a BudgetError, and nothing is sent or written."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Any

import pytest

from engine import AsyncBudgetClient, BudgetClient, BudgetError, InvalidInput
from engine.domain.periods import date_of, day_of
from tests.live.plant import CAMPAIGN, Plant


class NoOffset(tzinfo):
    """A time zone that does not know its offset."""

    def utcoffset(self, at: datetime | None) -> timedelta | None:
        return None


BAD: list[tuple[str, str, tuple[Any, ...], dict[str, Any]]] = [
    ("spent_on", "refund", (CAMPAIGN, "1", "win"), {"spent_on": datetime(2026, 11, 28, tzinfo=UTC)}),
    ("spent_on", "refund", (CAMPAIGN, "1", "win"), {"spent_on": datetime(2026, 11, 28)}),  # noqa: DTZ001
    ("spent_on", "refund", (CAMPAIGN, "1", "win"), {"spent_on": "2026-11-28"}),
    ("spent_on", "refund", (CAMPAIGN, "1", "win"), {"spent_on": 20_785}),
    ("spent_on", "refund", (CAMPAIGN, "1", "win"), {"spent_on": date(1969, 12, 31)}),
    ("spends", "record_spends", (None,), {}),
    ("spends", "record_spends", (5,), {}),
    ("spends", "try_spends", (None,), {}),
    ("spends[0]", "record_spends", ([None],), {}),
    ("spends[0]", "record_spends", ("abc",), {}),
    ("spends[0]", "try_spends", ({"campaign_id": CAMPAIGN},), {}),
    ("occurred_at", "record_spend", (CAMPAIGN, "1"), {"occurred_at": date(2026, 11, 28)}),
    ("occurred_at", "record_spend", (CAMPAIGN, "1"), {"occurred_at": "2026-11-28T00:00:00Z"}),
    ("occurred_at", "try_spend", (CAMPAIGN, "1"), {"occurred_at": datetime(2026, 11, 28, tzinfo=NoOffset())}),
    ("occurred_at", "try_spend", (CAMPAIGN, "1"), {"occurred_at": datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))}),
    ("ttl", "reserve", (CAMPAIGN, "1", "60"), {}),
    ("ttl", "reserve", (CAMPAIGN, "1", float("nan")), {}),
    ("ttl", "reserve", (CAMPAIGN, "1", None), {}),
    ("hold_id", "settle", (None, "1"), {}),
    ("hold_id", "release", (5,), {}),
    ("event_id", "refund", (CAMPAIGN, "1", 5), {}),
    ("campaign_id", "status", (None,), {}),
]  # fmt: skip


def ids(case: object) -> str | None:
    return case if isinstance(case, str) else None


@pytest.mark.parametrize(("field", "call", "args", "kwargs"), BAD, ids=ids)
def test_what_is_not_what_a_call_takes_is_refused_by_name_and_nothing_is_written(
    plant: Plant,
    client: BudgetClient,
    hot_url: str,
    field: str,
    call: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    plant.brand()
    before = len(plant.entries())

    async def awaited() -> None:
        async with AsyncBudgetClient.from_url(hot_url) as other:
            await getattr(other, call)(*args, **kwargs)

    for refusing in (lambda: getattr(client, call)(*args, **kwargs), lambda: asyncio.run(awaited())):
        with pytest.raises(InvalidInput) as refused:
            refusing()
        assert str(refused.value).startswith(field)
        assert "\n" not in str(refused.value)
        assert (refused.value.field or "").startswith(field)
    assert len(plant.entries()) == before


@pytest.mark.parametrize(
    "kwargs", [{"brands": 81}, {"campaigns": CAMPAIGN}, {"brands": [None]}, {"campaigns": "abc"}], ids=str
)
def test_a_watch_of_what_is_no_list_of_ids_is_refused_by_name(client: BudgetClient, kwargs: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        client.watch(**kwargs)


def test_a_refund_of_tomorrow_by_redis_clock_is_refused_in_the_callers_words(
    plant: Plant, client: BudgetClient
) -> None:
    plant.brand()
    client.record_spend(CAMPAIGN, "1")
    tomorrow = date_of(day_of(plant.live.now_ms()) + 1)
    with pytest.raises(BudgetError) as refused:
        client.refund(CAMPAIGN, "1", "never", spent_on=tomorrow)
    assert "spent_on" in str(refused.value)
    assert str(tomorrow) in str(refused.value)
    assert plant.spent() == 1_000_000
