"""Faults in the budgets of campaigns: on each path, on hold, over periods, in the lifetime counter, and what is told of them."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant as M

OWN: Final = "tests/live/test_own_budgets.py::test_"
WHOLE: Final = "tests/flows/test_own_budgets.py::test_"
REFUSES: Final = OWN + "a_campaign_s_own_budget_refuses_what_it_has_no_room_for_and_no_other_campaign_of_its_brand"
PASSES: Final = OWN + "facts_pass_a_campaign_s_own_budget_and_its_end_is_told_once"
ON_HOLD: Final = OWN + "what_a_campaign_has_on_hold_is_not_spent_by_any_path"

# fmt: off
OF_CAMPAIGNS: Final = (
    M("by the fast path of one spend, a campaign's own budget bounds nothing", "lua/lib/fast_single.lua",
      "if amount > left_of(cap_$i, met_$i, own_held) then refused = refused + $cause end", "",
      (REFUSES + "[alone-daily]",)),
    M("by the fast path of one spend, a lifetime is not counted", "lua/lib/fast_single.lua",
      "cap_$i and $counter or day_field, cap_$i and met_$i + amount or own_daily", "day_field, own_daily",
      (PASSES + "[alone-lifetime]",)),
    M("by the fast path of one spend, what a campaign has on hold is free", "lua/lib/fast_single.lua",
      "is_try and held > 0 and redis.call('HGET', brand_key, 'h:' .. campaign_id) or '0'", "'0'",
      (ON_HOLD + "[alone]",)),
    M("by the fast path of one spend, a campaign's budget runs out and nobody is told", "lua/lib/fast_single.lua",
      "if is_used_up(cap_$i, met_$i + amount) then full = full + $cause end", "if is_used_up(cap_$i, met_$i) then full = full + $cause end",
      (PASSES + "[alone-daily]",)),
    M("by their sums, the spends of a campaign pass its own budget", "lua/lib/by_sums.lua",
      "if campaign.budgets[1] and not has_room(campaign, held_by(brand, campaign.id), verb, sum.amount) then return false end", "",
      (REFUSES + "[a batch-daily]",)),
    M("one by one, the spends of a campaign pass its own budget", "lua/lib/by_one.lua",
      "amount <= room.left and target.amount + amount <= target.own_left", "amount <= room.left",
      (REFUSES + "[a batch-daily]", REFUSES + "[packed-monthly]")),
    M("one by one, a refusal does not say that it was the campaign's budget", "lua/lib/by_one.lua",
      "if target.amount + amount > left then mask = mask + target.own.causes[i] end", "",
      (REFUSES + "[a batch-daily]",)),
    M("by the fast path of a packed batch, a campaign's own budget bounds nothing", "lua/lib/fast_packed.lua",
      "if not has_room(own, own.held, verb, sums.amounts[i]) then return false end", "",
      (REFUSES + "[packed-daily]",)),
    M("by the fast path of a packed batch, a lifetime is not counted", "lua/lib/fast_packed.lua",
      "write_counters(key, own.budgets,", "write_counters(key, NO_BUDGETS,",
      (PASSES + "[packed-lifetime]",)),
    M("a shard with limits is read as one without", "lua/lib/fast_packed.lua",
      "shard.now, shard.layout == WITH_OWN_LIMITS", "shard.now, false",
      (REFUSES + "[packed-daily]",)),
    M("a hold of a campaign is bounded by its brand alone", "lua/lib/plan.lua",
      "return campaign.budgets[1] and mask + unfit_mask(campaign, held_by(brand, campaign.id), amount) or mask", "return mask",
      (OWN + "a_campaign_s_own_budget_bounds_its_holds_and_not_those_of_others[daily]",)),
    M("a hold is set aside of its brand alone", "lua/lib/own_held.lua",
      "brand.own_held[campaign_id] = sum + amount", "brand.own_held[campaign_id] = sum",
      (OWN + "a_campaign_s_own_budget_bounds_its_holds_and_not_those_of_others[daily]", ON_HOLD + "[a batch]")),
    M("what a campaign had on hold before it had a limit is free", "lua/lib/own_limits.lua",
      "sums[campaign_id] = (sums[campaign_id] or 0) + tonumber(held)", "sums[campaign_id] = 0",
      (OWN + "holds_that_were_open_before_a_limit_count_to_it",)),
    M("a lease is granted what its campaign does not have", "lua/lease.lua",
      "for _, budget in ipairs(campaign.budgets) do room = math.min(room, left_of(budget.limit, budget.spent, others)) end", "",
      (OWN + "a_campaign_s_own_budget_bounds_a_lease_and_its_draws_count_to_it[daily]",)),
    M("a refund of an earlier month leaves the lifetime as it was", "lua/lib/refund.lua",
      "for _, owner in ipairs({ brand, campaign }) do", "for _, owner in ipairs({ brand }) do",
      (OWN + "a_refund_of_a_month_that_is_over_frees_the_lifetime_budget_alone",)),
    M("a lifetime begins at nothing", "lua/lib/own_limits.lua",
      "return tonumber(micros) + campaign.monthly", "return 0",
      (OWN + "a_lifetime_budget_begins_with_what_the_log_has_and_this_month_s_counter",)),
    M("a lifetime begins with a log that lacks a late refund", "lua/lib/refund.lua",
      "redis.call('HSET', shard_key, 'late_n', text(shard.n))", "local _ = 0",
      (OWN + "a_lifetime_budget_does_not_begin_with_a_log_that_lacks_a_refund_of_an_earlier_month",)),
    M("a lifetime counter that is gone is nothing spent", "lua/lib/budgets.lua",
      "| 128   | 3       | nil    |", "| 128   | 3       | '0'    |",
      (OWN + "a_value_of_own_budgets_that_is_gone_or_odd_takes_the_shard_out_of_use_and_opens_no_budget",)),
    M("an old client may spend where limits are", "lua/publish.lua",
      "redis.call('HSET', shard_key, 'layout', WITH_OWN_LIMITS, 'late_n', n)", "redis.call('HSET', shard_key, 'late_n', n)",
      (OWN + "a_shard_whose_campaigns_have_no_limits_keeps_its_layout_and_its_fields",)),
    M("a limit that frees a campaign is told to nobody", "lua/publish.lua",
      "changes_of({ [of.id] = of }, shard.now, moved)", "local _ = moved",
      (OWN + "raising_a_limit_frees_a_campaign_and_lowering_it_stops_it_at_that_instant",)),
    M("a rebuild forgets a campaign's limits", "engine/flows/rebuild/contents.py",
      '["x", campaign.limits.compiled or LIFTED] if campaign.has_own else []', "[]",
      (WHOLE + "a_rebuild_keeps_a_campaign_s_limits_counters_and_what_it_has_on_hold",)),
    M("a campaign's own budget ran out when somebody looked", "engine/flows/catalog/status.py",
      "for budget in (*brand.budgets, *own) if", "for budget in brand.budgets if",
      (WHOLE + "the_spend_that_uses_up_a_campaign_s_own_day_pauses_it_alone_at_that_instant",)),
    M("verify takes a lifetime counter for the month's", "engine/flows/verify/lifetimes.py",
      "logged = before[campaign_id] + log.of[owner].month", "logged = log.of[owner].month",
      (WHOLE + "a_lifetime_budget_counts_what_was_spent_before_it_was_set_in_closed_months_too",)),
    M("a watch hears of a campaign's own budget and goes on", "engine/client/watch/eligibility.py",
      "campaign.own.move(change.cause, change.used_up, change.at_ms, change.n)", "pass",
      (WHOLE + "a_watch_stops_a_campaign_at_its_own_budgets_and_no_other_of_its_brand",)),
)
