"""Faults in flights: their edges, their money on each path, and what the log, a refund and a rebuild know of them."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant as M

LIVE: Final = "tests/live/test_flights.py::test_"
WHOLE: Final = "tests/flows/test_flights.py::test_"
EDGES: Final = LIVE + "a_flight_is_spent_from_its_first_to_its_last_millisecond_and_not_around_it"
MONEY: Final = LIVE + "a_flight_s_budget_refuses_what_it_has_no_room_for_and_the_next_begins_whole"
FACTS: Final = LIVE + "facts_pass_a_flight_s_budget_and_count_to_the_flight_they_fall_into"
REFUND: Final = LIVE + "a_refund_goes_to_the_flight_of_its_spend_whatever_flight_it_comes_in"

PARTS: Final = "tests/live/test_flight_parts.py::test_"
EACH_DAY: Final = PARTS + "each_day_has_its_share_of_what_is_left_and_the_last_all_of_it"
EVERY_PATH: Final = PARTS + "on_every_path_no_more_is_spent_in_a_day_than_its_part"

SHARED: Final = (
    WHOLE + "flights_that_share_a_counter_show_each_its_own_spend_also_where_one_replaces_another_in_an_hour"
)

# fmt: off
FLOWN: Final = (
    M("a flight that goes on with another's rest shows the spend of both", "engine/views/flights.py",
      "in_all - before.get(planned.counter, 0)", "in_all",
      (SHARED,)),
    M("a flight that was replaced shows the spend of both", "engine/views/flights.py",
      "if flight.counter == after.counter:", "if False:",
      (SHARED,)),
    M("a flight's spend begins and ends with whole hours", "engine/ledger/flight_spans.py",
      "FROM spends_of(given.brand, given.begins, given.at)", "FROM spends_of(given.brand, given.at, given.at)",
      (SHARED,)),
    M("a change of a flight is called used up by the flight's budget alone", "engine/views/flights.py",
      "used_up=in_all >= after.limit", "used_up=in_all >= (changed.budget_micros or 0)",
      (SHARED,)),
    M("a day's part shrinks with what the day spends", "lua/lib/flight_part.lua",
      "math.max(spent - daily, 0)", "spent",
      (EACH_DAY + "[alone]",)),
    M("a day's part is of the whole flight and not of what is left", "lua/lib/flight_part.lua",
      "(ends - begins))", "(ends - starts))",
      (EACH_DAY + "[alone]",)),
    M("what a campaign spent before its flight takes of the first day's part", "lua/lib/flight_part.lua",
      "if is_first then part = math.max(part + daily - spent, 0) end", "",
      (PARTS + "the_first_day_counts_from_the_flight_s_begin_and_facts_pass_the_part",)),
    M("by the fast path of one spend, a day has no part", "lua/lib/fast_single.lua",
      "if not limits or limits.even then break end", "if not limits then break end",
      (EVERY_PATH + "[alone]",)),
    M("by the fast path of a packed batch, a day has no part", "lua/lib/fast_own.lua",
      "if not limits or limits.even or not held then return nil end", "if not limits or not held then return nil end",
      (EVERY_PATH + "[packed]",)),
    M("each publish frees a day's part", "lua/lib/own_limits.lua",
      "if even then take_part(", "if false then take_part(",
      (PARTS + "a_used_up_part_is_told_once_and_a_publish_frees_it_only_where_it_is_larger",)),
    M("a publish of a flight with a step that has passed forgets the day's part", "lua/lib/own_limits.lua",
      "if even then take_part(", "if limits.even then take_part(",
      (PARTS + "a_publish_after_a_step_frees_no_part_of_a_day",)),
    M("a flight begins a millisecond late", "lua/lib/flights.lua",
      "if now < starts + 0 then", "if now <= starts + 0 then",
      (EDGES + "[alone]", EDGES + "[packed]")),
    M("a flight's last millisecond is one more", "lua/lib/flights.lua",
      "elseif now < ends + 0 then", "elseif now <= ends + 0 then",
      (EDGES + "[alone]", EDGES + "[a batch]")),
    M("between two flights a campaign runs", "lua/lib/gates.lua",
      "-- | flight   | 256   | outside ", "-- | flight   | 256   | false ",
      (EDGES + "[alone]", EDGES + "[packed]")),
    M("by the fast path of one spend, a flight's counter is the lifetime's", "lua/lib/fast_single.lua",
      "if flight then counted_in_all = redis.call('HGET', campaign_key, flight_field) end", "if flight then counted_in_all = '0' end",
      (MONEY + "[alone]",)),
    M("by the fast path of one spend, nobody is told of the flight", "lua/lib/fast_single.lua",
      ", 'v', campaign_id .. ':' .. flight)", ")",
      (EDGES + "[alone]",)),
    M("an entry does not name its flights", "lua/lib/flight_entry.lua",
      "if campaign.flight and campaign.charged then", "if false then",
      (FACTS + "[a batch]",)),
    M("by the fast path of a packed batch, nobody is told of the flights", "lua/lib/fast_packed.lua",
      "if flights then entry", "if false then entry",
      (EDGES + "[packed]",)),
    M("an event's value does not name its flight", "lua/lib/by_one.lua",
      "if campaign.flight then targets[i].of_flight = ',' .. campaign.flight end", "",
      (REFUND + "[batch]",)),
    M("a packed batch keeps its events without their flight", "lua/lib/charge.lua",
      "and not any_flight_or_zone(plans.campaigns)", "",
      (REFUND + "[packed]",)),
    M("a refund leaves the flight of its spend as it was", "lua/lib/refund.lua",
      "text(in_flight - refund.amount)", "text(in_flight)",
      (REFUND + "[alone]",)),
    M("a refund lowers the flight in force", "lua/lib/refund.lua",
      "if flight == '' or flight == campaign.flight then return nil end", "if flight == '' or campaign.flight then return nil end",
      (REFUND + "[alone]",)),
    M("only a call that refuses something says when a flight begins", "lua/lib/figures.lua",
      "(campaign.starts or refused)", "refused",
      (EDGES + "[a batch]",)),
    M("a flight goes on with nothing of what the one before left", "engine/domain/flights.py",
      "counter, limit = made[-1].counter, min(made[-1].limit + limit, MAX_TOTAL_MICROS)", "pass",
      (WHOLE + "what_a_flight_left_goes_on_and_a_rebuild_and_verify_know_it",)),
    M("the log does not know to which flight a spend counted", "engine/flows/persist/posting.py",
      "if entry.flights is None:", "if True:",
      (WHOLE + "two_flights_begin_and_end_with_every_job_dead_and_every_row_knows_its_flight",)),
    M("a rebuild begins a flight anew", "engine/flows/rebuild/contents.py",
      "| {f: m for (id_, f), m in flown.items() if id_ == c.id}", "",
      (WHOLE + "a_rebuild_in_the_middle_of_a_flight_keeps_counters_plan_and_the_flight_of_each_event",)),
    M("a refund that the log decides forgets the flight", "engine/flows/persist/refunds.py",
      "found[row] = (str(flight),)", "pass",
      (WHOLE + "a_refund_that_the_log_decides_goes_to_the_flight_of_its_spend",)),
    M("verify does not look at flights", "engine/flows/verify/lifetimes.py",
      "return self._of_lifetimes(shard, one) + self._flights.differences(shard)", "return self._of_lifetimes(shard, one)",
      (WHOLE + "verify_names_a_flight_s_counter_that_is_wrong_and_reconcile_repairs_it",)),
    M("a watch sleeps over the edges of flights", "engine/client/watch/eligibility.py",
      "self._wait_for_edge(brand, campaign_id, campaign.own)", "pass",
      (WHOLE + "a_watch_crosses_the_edges_of_flights_by_itself",)),
    M("flights may overlap", "engine/ledger/flights.py",
      "if flight.starts_ms < other.ends_ms and other.starts_ms < flight.ends_ms:", "if False:",
      (WHOLE + "flights_that_do_not_fit_are_refused_by_name_and_value_and_nothing_changes",)),
)
