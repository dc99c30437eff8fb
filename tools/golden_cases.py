"""The cases of the golden vectors: the calls and their instants. `tools/golden.py` adds the scripts' replies."""

from __future__ import annotations

from typing import Final

from engine.domain.ids import ORDINALS
from engine.domain.periods import day_of
from engine.domain.schedule import Schedule
from engine.live.scripts import LAYOUT
from tools.golden_brakes import BRAKED
from tools.golden_flights import FLOWN
from tools.golden_holds import HELD
from tools.golden_late import LATE
from tools.golden_limit_changes import SCHEDULED
from tools.golden_own import LIMITED
from tools.golden_pacing import PACED
from tools.golden_pauses import PAUSED
from tools.golden_refunds import REFUNDED
from tools.golden_rollover import ROLLED
from tools.golden_steps import (
    BRAND,
    EARLY,
    EVENT_MS,
    FIRST,
    INSTANCE,
    KEYS,
    NEIGHBOUR,
    NOON,
    REQUEST_MS,
    SECOND,
    UNKNOWN,
    Case,
    ask,
    at,
    begun,
    line,
    named,
    packed,
    plan,
    publish,
    record,
    refund,
    spends,
    step,
)
from tools.golden_zones import ZONED

OFFICE: Final = Schedule.parse(
    {"days": ["mon", "tue", "wed", "thu", "fri"], "start_time": "09:00", "end_time": "17:00"}
).compiled
BAD_AMOUNTS: Final = ("0", "-1", "+5", "1e3", "0x10", "nan", "inf", " 1", "1_000", "1.5", "", "1000000000001", "٣")
MIDNIGHT: Final = at("2026-12-01T00:00:00")

CASES: Final = (
    Case("a fact is counted to the day and the month", [record("a", line(FIRST, 2_500_000)), plan(FIRST, SECOND)]),
    Case(
        "a fact past the budget is counted too, and the moment at which the budget was used up is logged once",
        [
            record("a", line(FIRST, 9_999_999)),
            record("b", line(FIRST, 2), ms=NOON + 1),
            record("c", line(SECOND, 3_000_000), ms=NOON + 2),
        ],
    ),
    Case(
        "a question is refused when it would take a budget past its limit, and the rest stays spendable",
        [
            ask("a", line(FIRST, 6_000_000)),
            ask("b", line(FIRST, 15_000_000)),
            ask("c", line(FIRST, 4_000_000)),
            ask("d", line(FIRST, 1)),
            ask("e", line(FIRST, 20_000_000)),
        ],
    ),
    Case(
        "a batch is judged in order: counted, counted, refused, counted, of an unknown campaign",
        [
            ask(
                "a",
                line(FIRST, 4_000_000),
                line(SECOND, 5_000_000),
                line(FIRST, 2_000_000),
                line(NEIGHBOUR * ORDINALS + 1, 7),
                line(UNKNOWN, 1),
            )
        ],
    ),
    Case(
        "a repeated request changes nothing and shows the figures of now; with other content it is a conflict",
        [
            ask("a", line(FIRST, 6_000_000), line(FIRST, 6_000_000)),
            record("b", line(FIRST, 1_000_000), ms=NOON + 5),
            ask("a", line(FIRST, 6_000_000), line(FIRST, 6_000_000), ms=NOON + 9),
            ask("a", line(FIRST, 6_000_001), ms=NOON + 9),
            record("a", line(FIRST, 6_000_000), line(FIRST, 6_000_000), ms=NOON + 9),
        ],
    ),
    Case(
        "an event id counts once a brand; with another campaign or amount it is a conflict; a refusal does not use it up",
        [
            ask("a", line(FIRST, 20_000_000, "win-1")),
            record("b", line(FIRST, 1_000_000, "win-1", NOON - 700)),
            record("c", line(FIRST, 1_000_000, "win-1")),
            record("d", line(SECOND, 1_000_000, "win-1")),
            record("e", line(FIRST, 2_000_000, "win-1"), line(FIRST, 5, "win-2"), line(FIRST, 5, "win-2")),
        ],
    ),
    Case(
        "both memories forget after one window and at most two",
        [
            record("a", line(FIRST, 1, "win-1")),
            record("a", line(FIRST, 1, "win-1"), ms=NOON + REQUEST_MS),
            record("a", line(FIRST, 1, "win-1"), ms=NOON + 2 * REQUEST_MS + 1),
            record("z", line(FIRST, 1, "win-1"), ms=NOON + 2 * EVENT_MS + 1),
        ],
    ),
    Case(
        "a new day and month begin by themselves, to the millisecond",
        [
            ask("a", line(FIRST, 10_000_000), ms=MIDNIGHT - 1),
            ask("b", line(FIRST, 1), ms=MIDNIGHT - 1),
            ask("c", line(FIRST, 10_000_000), ms=MIDNIGHT),
            plan(FIRST, ms=MIDNIGHT),
        ],
    ),
    Case(
        "a clock that goes back a little is held at what was seen, one that goes back by more stops the shard",
        [
            record("a", line(FIRST, 1), ms=NOON + 900),
            record("b", line(FIRST, 1), ms=NOON),
            record("c", line(FIRST, 1), ms=NOON - 101),
        ],
    ),
    Case(
        "a schedule opens and closes to the minute",
        [
            publish(BRAND, 2, "10000000", "25000000", [(FIRST, 2, 1, 0, OFFICE, 0)], EARLY + 1, 0),
            ask("a", line(FIRST, 1), ms=at("2026-11-23T08:59:59.999")),
            ask("b", line(FIRST, 1), ms=at("2026-11-23T09:00:00")),
            ask("c", line(FIRST, 1), ms=at("2026-11-23T17:00:00")),
            record("d", line(FIRST, 1), ms=at("2026-11-28T12:00:00")),
        ],
    ),
    Case(
        "a campaign switched off or archived refuses, and counts facts",
        [
            publish(
                BRAND, 2, "10000000", "25000000", [(FIRST, 2, 0, 0, "", 0), (SECOND, 2, 1, 1, "", 0)], EARLY + 1, 0
            ),
            ask("a", line(FIRST, 1)),
            ask("b", line(SECOND, 1)),
            record("c", line(FIRST, 1)),
            plan(FIRST, SECOND),
        ],
    ),
    Case(
        "raising a budget gives room at once, an older version is ignored",
        [
            record("a", line(FIRST, 10_000_000)),
            publish(BRAND, 3, "11000000", "", [], NOON + 5, 0),
            publish(BRAND, 2, "1", "1", [], NOON + 6, 0),
            ask("b", line(FIRST, 1_000_000), ms=NOON + 7),
            ask("c", line(FIRST, 1), ms=NOON + 8),
        ],
    ),
    Case(
        "an older plan, and another one under the same version, are ignored and told",
        [
            publish(BRAND, 3, "10000000", "25000000", [(FIRST, 3, 0, 0, "", 0), (SECOND, 1, 1, 0, "", 0)], NOON, 0),
            publish(BRAND, 2, "1", "1", [(FIRST, 2, 1, 0, "", 0), (SECOND, 1, 1, 0, OFFICE, 0)], NOON + 1, 0),
            publish(BRAND, 3, "", "25000000", [(FIRST, 3, 0, 0, "", 0)], NOON + 2, 0),
            publish(BRAND, 4, "", "25000000", [(FIRST, 4, 1, 0, "", 0)], NOON + 3, 0),
        ],
    ),
    Case(
        "a campaign that was never published is unknown, and asked again when it was",
        [
            ask("a", line(UNKNOWN, 5)),
            publish(BRAND, 2, "10000000", "25000000", [(UNKNOWN, 1, 1, 0, "", 1)], NOON, 0),
            ask("a", line(UNKNOWN, 5), ms=NOON + 1),
        ],
    ),
    Case(
        "what is wrong in a call is named, with its place, and nothing is written",
        [
            *(record("a", line(FIRST, 1), line(FIRST, bad)) for bad in BAD_AMOUNTS),
            record("a", line(FIRST, 1, "two words")),
            record("a", line(FIRST, 1, "x" * 65)),
            record("a", line(FIRST, 1, "", "yesterday")),
            record("a", line(FIRST, 1, "", "253402300800000")),
            record("no spaces", line(FIRST, 1)),
            record("", line(FIRST, 1)),
            record("x" * 81, line(FIRST, 1)),
            spends("record_spends", "a", [line(FIRST, 1) + "junk"]),
            step("record_spends", [*KEYS.fixed], [LAYOUT, "a", ""]),
        ],
    ),
    *HELD,
    *REFUNDED,
    Case(
        "reconcile adds a difference, once",
        [
            step(
                "adjust",
                [KEYS.shard, KEYS.registry, KEYS.journal, KEYS.brand(BRAND)],
                [LAYOUT, INSTANCE, "d:20780", "-7", "c-1", "0"],
            ),
            step(
                "adjust",
                [KEYS.shard, KEYS.registry, KEYS.journal, KEYS.brand(BRAND)],
                [LAYOUT, INSTANCE, "d:20780", "-7", "c-1", "0"],
            ),
            step(
                "adjust",
                [KEYS.shard, KEYS.registry, KEYS.journal, KEYS.brand(BRAND)],
                [LAYOUT, INSTANCE, "d:20780", "-7", "c-2", "0"],
            ),
            step(
                "adjust",
                [KEYS.shard, KEYS.registry, KEYS.journal, KEYS.brand(BRAND)],
                [LAYOUT, INSTANCE, "x:1", "7", "c-2", "0"],
            ),
        ],
    ),
    Case(
        "a correction that uses a budget up, or frees it, says so",
        [
            step(
                "adjust",
                [KEYS.shard, KEYS.registry, KEYS.journal, KEYS.brand(BRAND)],
                [LAYOUT, INSTANCE, "d:20780", micros, name, n],
            )
            for micros, name, n in (("10000000", "c-1", "1"), ("-1", "c-2", "2"))
        ],
    ),
    Case(
        "what a watcher reads: which brands there are, how they stand, and that the shard is still marked",
        [
            record("a", line(FIRST, 10_000_000)),
            publish(BRAND, 2, "10000000", "", [(SECOND, 2, 0, 0, OFFICE, 0)], NOON, 0),
            step("read_registry", [KEYS.shard, KEYS.registry], [LAYOUT, 0, BRAND, 209, NEIGHBOUR]),
            step(
                "read_watched", [KEYS.shard, KEYS.brand(BRAND), *map(KEYS.campaign, (FIRST, SECOND, UNKNOWN))], [LAYOUT]
            ),
            step("read_watched", [KEYS.shard, KEYS.brand(209)], [LAYOUT]),
            step("read_watched", [KEYS.shard], [LAYOUT]),
            step("unmark", [KEYS.shard], [INSTANCE, "found at a check"]),
            step("read_registry", [KEYS.shard, KEYS.registry], [LAYOUT, 0]),
            step("read_watched", [KEYS.shard], [LAYOUT]),
        ],
    ),
    Case("another layout is answered, never guessed at", [spends("record_spends", "a", [line(FIRST, 1)], layout="0")]),
    Case(
        "a shard without its mark takes nothing",
        [
            record("a", line(FIRST, 1)),
            ask("a", line(FIRST, 1)),
            plan(FIRST),
            step("read_shard", [KEYS.shard, KEYS.journal], [0]),
        ],
        planted=False,
    ),
    Case(
        "a campaign that was published and is gone takes its shard out of use",
        [plan(FIRST), record("a", line(FIRST, 1)), record("b", line(SECOND, 1))],
        then=[("DEL", KEYS.campaign(FIRST))],
    ),
    Case(
        "a journal that is gone takes its shard out of use, before anything is counted",
        [record("a", line(FIRST, 1)), record("a", line(FIRST, 1))],
        then=[("DEL", KEYS.journal)],
    ),
    Case(
        "the first start, and a rebuild that another one took over",
        [
            step("read_shard", [KEYS.shard, KEYS.journal], [0], EARLY),
            *begun(EARLY),
            step("rebuild_begin", [KEYS.shard, KEYS.journal], [INSTANCE, "second"], EARLY + 1),
            record("a", line(FIRST, 1), ms=EARLY + 2),
            step("rebuild_set", [KEYS.shard, KEYS.registry], ["token", "replace", 2, "#", 1], EARLY + 3),
            step(
                "rebuild_finish",
                [KEYS.shard, KEYS.journal],
                ["token", INSTANCE, 2, 1, "", 0, REQUEST_MS, EVENT_MS],
                EARLY + 3,
            ),
            step(
                "rebuild_finish",
                [KEYS.shard, KEYS.journal],
                ["second", INSTANCE, 2, 1, f"{EARLY}-0", EARLY + 9, REQUEST_MS, EVENT_MS],
                EARLY + 4,
            ),
            step("rebuild_begin", [KEYS.shard, KEYS.journal], ["another-instance", "third"], EARLY + 10),
        ],
        planted=False,
    ),
    Case(
        "a packed call: the script counts the sums, the log goes to the journal; again, it counts nothing",
        [
            packed("record_spends", "a", f"{FIRST},3000002,2;{SECOND},300,1;", 4, (0, 1, 0), (2, 300, 3_000_000)),
            packed("record_spends", "a", f"{FIRST},3000002,2;{SECOND},300,1;", 4, (0, 1, 0), (2, 300, 3_000_000)),
            packed("record_spends", "a", f"{FIRST},3000002,2;{SECOND},300,1;", 4, (0, 1, 0), (1, 300, 3_000_001)),
            packed("record_spends", "b", f"{FIRST},6000000000,1;", 8, (0,), (6_000_000_000,)),
        ],
    ),
    Case(
        "a packed call that does not fit as a whole is judged spend by spend",
        [
            packed("try_spends", "a", f"{FIRST},12000000,3;", 4, (0, 0, 0), (6_000_000, 5_000_000, 1_000_000)),
            packed("try_spends", "a", f"{FIRST},12000000,3;", 4, (0, 0, 0), (6_000_000, 5_000_000, 1_000_000)),
            packed("record_spends", "b", f"{FIRST},1,1;{UNKNOWN},2,2;", 4, (1, 0, 1), (1, 1, 1)),
        ],
    ),
    Case(
        "a packed call with event ids: each counts once, whatever form it came in, and its day is Redis' own",
        [
            named(
                "record_spends",
                "a",
                f"{FIRST},5,2;{SECOND},7,1;",
                day_of(NOON),
                ("w1", 0, 2),
                ("w2", 1, 7),
                ("w3", 0, 3),
            ),
            named(
                "record_spends",
                "a",
                f"{FIRST},5,2;{SECOND},7,1;",
                day_of(NOON),
                ("w1", 0, 2),
                ("w2", 1, 7),
                ("w3", 0, 3),
            ),
            named("record_spends", "b", f"{FIRST},9,2;", day_of(NOON), ("w1", 0, 2), ("w4", 0, 7)),
            record("c", line(FIRST, 7, "w4"), line(FIRST, 4, "w3")),
            named("try_spends", "d", f"{FIRST},8,2;", day_of(NOON), ("w5", 0, 4), ("w5", 0, 4)),
            named("try_spends", "e", f"{FIRST},8,2;", day_of(NOON) - 1, ("w6", 0, 4), ("w7", 0, 4)),
            refund(4, "w6"),
            named("record_spends", "f", f"{FIRST},8,2;", day_of(NOON), ("w 8", 0, 4), ("w9", 0, 4)),
        ],
    ),
    Case(
        "what is wrong with a packed call",
        [
            packed("record_spends", "a", f"{FIRST},3,2;{FIRST},3,1;", 4, (0, 1, 0), (2, 3, 1)),
            packed("record_spends", "a", f"{FIRST},1,2;", 4, (0, 0), (1, 1)),
            packed("record_spends", "a", f"{FIRST},2,1;x", 4, (0,), (2,)),
            packed("record_spends", "a", f"{FIRST},2,1;", 5, (0,), (2,)),
            packed("record_spends", "a", f"{FIRST},2,1;", 4, (0, 0), (1, 1)),
            packed("try_spends", "a", f"{FIRST},12000000,2;", 4, (0, 1), (6_000_000, 6_000_000)),
            packed("try_spends", "a", f"{FIRST},12000000,2;", 4, (0, 0), (6_000_000, 6_000_001)),
        ],
    ),
    Case(
        "the engine's own calls: totals, probe, tick, prune, trim, stamp, unmark",
        [
            record("a", line(FIRST, 3)),
            step(
                "read_totals", [KEYS.shard, KEYS.brand(BRAND), KEYS.campaign(SECOND)], [LAYOUT, "d:20780", "m:202611"]
            ),
            step("probe", [*KEYS.fixed, KEYS.brand(BRAND), *KEYS.holds(BRAND), KEYS.campaign(FIRST)], [LAYOUT]),
            step("probe", [*KEYS.fixed], ["2"]),
            step("probe", [*KEYS.fixed], [LAYOUT, 600_000, 3_600_000]),
            step("prune", [KEYS.shard, KEYS.brand(BRAND)], [LAYOUT, INSTANCE, "d:20780"]),
            step("read_shard", [KEYS.shard, KEYS.journal], [1], NOON + 86_400_000),
            step(
                "prune",
                [KEYS.shard, KEYS.brand(BRAND), KEYS.campaign(FIRST)],
                [LAYOUT, INSTANCE, "d:20780"],
                NOON + 86_400_000,
            ),
            step("trim", [KEYS.shard, KEYS.journal], [LAYOUT, INSTANCE, f"{NOON}-0"], NOON + 86_400_000),
            step("trim", [KEYS.shard, KEYS.journal], [LAYOUT, "another-instance", f"{NOON}-0"], NOON + 86_400_000),
            step("stamp", [KEYS.shard], [LAYOUT, INSTANCE, 7, 0], NOON + 86_400_000),
            step("stamp", [KEYS.shard], [LAYOUT, INSTANCE, 5, 0], NOON + 86_400_000),
            step("stamp", [KEYS.shard], [LAYOUT, INSTANCE, 5, 1], NOON + 86_400_000),
            step("stamp", [KEYS.shard], [LAYOUT, INSTANCE, 0, 0], NOON + 86_400_000),
            step("unmark", [KEYS.shard], [INSTANCE, "found at a check"], NOON + 86_400_000),
            step("probe", [*KEYS.fixed], [LAYOUT], NOON + 86_400_000),
            record("b", line(FIRST, 3), ms=NOON + 86_400_000),
        ],
    ),
    *LIMITED,
    *FLOWN,
    *PACED,
    *LATE,
    *ZONED,
    *PAUSED,
    *ROLLED,
    *BRAKED,
    *SCHEDULED,
)
