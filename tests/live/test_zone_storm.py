"""Many bidders at a brand's own midnight: each day's budget is spent to the last unit, and nothing above it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from engine.client.spends import Spend
from engine.client.sync import BudgetClient
from engine.domain.periods import ms_of
from engine.domain.zones import zone_text
from engine.live.keys import keys_of_brand
from tests.live.plant import BRAND, CAMPAIGN, Plant
from tests.live.test_zones import bring
from tests.patience import PATIENCE_S
from tests.watch.conftest import set_clock, until

__all__ = ["set_clock"]

THREADS, DAILY = 6, 300
LEAD_MS = 1500


@pytest.mark.parametrize("name", ["Europe/Berlin", "Asia/Kolkata", "Pacific/Chatham"])
def test_a_storm_over_a_local_midnight_spends_both_days_to_the_last_unit_and_no_more(
    plant: Plant, client: BudgetClient, set_clock: Callable[[int], None], name: str
) -> None:
    midnight = ms_of(datetime(2037, 8, 1, tzinfo=ZoneInfo(name)))
    set_clock(midnight - 12 * 3_600_000)
    plant.brand(daily="1")
    bring(plant, zone_text(name, midnight - 12 * 3_600_000), 2, DAILY * 1_000_000, None)
    set_clock(midnight - LEAD_MS)

    def bid(thread: int) -> Counter[str]:
        """Tries until the new day is used up too: half of the threads one by one, the others in batches."""
        seen: Counter[str] = Counter()

        def spent_both() -> bool:
            begins = plant.live.now_ms()
            if thread % 2:
                answers = [client.try_spend(CAMPAIGN, "1", event_id=f"{thread}-{sum(seen.values())}")]
            else:
                answers = client.try_spends([Spend(CAMPAIGN, "1") for _ in range(20)])
            seen.update(answer.outcome for answer in answers)
            return begins > midnight and answers[-1].reasons == ("daily_budget",)

        until(spent_both, PATIENCE_S)
        return seen

    with ThreadPoolExecutor(THREADS) as pool:
        counted = sum(pool.map(bid, range(THREADS)), Counter[str]())
    keys, days = keys_of_brand(BRAND), Counter[int]()
    for entry in plant.entries():
        for spend in entry.spends():
            days[entry.day_of(BRAND)] += spend.amount_micros
    live = plant.live.read_brand(BRAND, 0)
    assert live is not None
    today = live.zone.day_of(live.now_ms)
    assert days == {today - 1: DAILY * 1_000_000, today: DAILY * 1_000_000}
    for owner in (keys.brand(BRAND), keys.campaign(CAMPAIGN)):
        found = plant.plain.hmget(owner, f"d:{today - 1}", f"d:{today}")
        assert list(map(int, found)) == [DAILY * 1_000_000] * 2  # type: ignore[arg-type]
    assert counted["accepted"] == 2 * DAILY
