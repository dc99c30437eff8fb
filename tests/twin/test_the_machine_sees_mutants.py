"""A machine that never goes red proves nothing: each of these slips in the scripts must be found, by examples like those of the suite."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import redis
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from engine.errors import InvalidInput
from engine.live.scripts import lua_folder, swapping
from engine.live.transport.pool import ConnectionPool
from tests.live.plant import MOVABLE_CLOCK
from tests.twin.conftest import drawn
from tests.twin.live_side import LiveSide
from tests.twin.test_twin_against_redis import OverTheYears

MUTANTS = {
    "the last micro of a budget is not spent": ("lib/budgets.lua", "return amount <= left_of", "return amount < left_of"),
    "a budget is used up only when it is passed": ("lib/budgets.lua", "spent >= limit", "spent > limit"),
    "what is on hold is free to spend": ("lib/budgets.lua", "limit - spent - (held > 0 and held or 0)", "limit - spent"),
    "an event counts each time": ("lib/by_one.lua", "if name and seen[name] and target ~= UNKNOWN then", "if false then"),
    "a call that comes again is counted again": ("lib/charge.lua", "if not remembered then", "if true then"),
    "the other verb is no conflict": ("lib/charge.lua", "kept_verb == verb", "true"),
    "a day begins a millisecond late": ("lib/calendar.lua", "(now - now % DAY_MS) / DAY_MS", "(now - 1 - (now - 1) % DAY_MS) / DAY_MS"),
    "no Feb 29": ("lib/calendar.lua", "in_year = rest % 1461", "in_year = (rest + 4) % 1461"),
    "a turn forgets both memories": ("lib/dedup.lua", "dedup.read = { keys[active + 1] }", "dedup.read = {}"),
    "memories never turn over": ("lib/dedup.lua", "if now >= till then", "if false then"),
    "a schedule's end is included": ("lib/schedule.lua", "minute < tonumber(to)", "minute <= tonumber(to)"),
    "a schedule has no end": ("lib/schedule.lua", " and minute < tonumber(to)", ""),
    "a hold outlives its time": ("lib/holds.lua", "'-inf', text(now)", "'-inf', text(now - 1)"),
    "a late settle is not counted": ("holds.lua", "local state = not held and 't'", "if not held then return 'n' end\n  local state = not held and 't'"),
    "a refund is larger than its spend": ("refund.lua", "if before + amount > tonumber(spent) then return 'cm' end", ""),
    "a pending refund is asked for at each repeat": ("refund.lua", "names.own, campaign_id .. ',' .. digits .. ',w')", "'#', '1')"),
    "a minute never ends": ("lib/minute.lua", "if minute.last_no == minute.no then", "if minute.last_no then"),
    "a breaker opens when it is reached": ("lib/call.lua", "if before_trip(campaign.brake) >= 0 or", "if before_trip(campaign.brake) > 0 or"),
    "an old version of a plan wins": ("publish.lua", "version > brand.version", "version >= 0"),
    "the shortest way takes the last micro for granted": ("lib/fast_single.lua", "amount > left_of(most_$i, was_$i, held)", "0 > left_of(most_$i, was_$i, held)"),
    "the shortest way runs a paused campaign": ("lib/fast_single.lua", "local refused = closed", "local refused = 0"),
    "the shortest way counts a call again": ("lib/fast_single.lua", " or one[2] or other[2]", ""),
    "packed sums run a paused campaign": ("lib/by_sums.lua", "gates_of(brand, campaign, now) > 0", "false"),
    "the shortest way of a packed batch counts it again": ("lib/fast_packed.lua", " or one[2] or other[2]", ""),
    "the shortest way of a packed batch runs a paused campaign": ("lib/fast_packed.lua", "verb == 't' and sums.any_closed", "false"),
    "a packed log has no spend of a micro": ("lib/packed.lua", "amount < 1 or amount > MAX_AMOUNT", "amount < 2"),
    "a grace has a millisecond more": ("lib/grace.lua", "now - ends < minutes", "now - ends <= minutes"),
    "a late spend counts today": ("lib/late_calls.lua", "if day ~= brand.day - 1 then", "if true then"),
    "a late try is never refused": ("lib/late.lua", "fits(budget.limit, budget.spent, budget.past and 0 or held, amount)", "true"),
    "a clock behind is believed": ("lib/shard.lua", "if now < last_now - CLOCK_SLACK_MS", "if false"),
}  # fmt: skip


# One of each piece of Lua, the last of it here, which is soon found; `make twin` plants them all.
PLANTED = MUTANTS if "TWIN_EXAMPLES" in os.environ else {MUTANTS[name][0]: name for name in MUTANTS}.values()


def test_each_slip_is_of_words_that_stand_in_its_piece() -> None:
    for name, (piece, right, _) in MUTANTS.items():
        assert right in (lua_folder() / piece).read_text(encoding="utf-8"), (
            f"lua/{piece} was rewritten: say anew {name!r}"
        )


@pytest.fixture
def side(hot_redis: redis.Redis, hot_url: str) -> Iterator[LiveSide]:
    wire = ConnectionPool(hot_url)
    yield LiveSide(hot_redis, wire)
    wire.close()
    hot_redis.flushall()


@pytest.mark.long
@pytest.mark.timeout(0)
@pytest.mark.parametrize("mutant", PLANTED)
def test_the_machine_goes_red(side: LiveSide, mutant: str) -> None:
    piece, right, wrong = MUTANTS[mutant]
    text = (lua_folder() / piece).read_text(encoding="utf-8")
    looked = settings(drawn(500, 50), phases=[Phase.generate], report_multiple_bugs=False, print_blob=False)
    with (
        swapping({"lib/clock.lua": MOVABLE_CLOCK, piece: text.replace(right, wrong)}),
        pytest.raises((AssertionError, InvalidInput)),
    ):
        run_state_machine_as_test(lambda: OverTheYears(side), settings=looked)  # type: ignore[no-untyped-call]
