"""Every mutant. A row's text must stand exactly once in its file; a test in this folder holds the table to the program."""

from __future__ import annotations

from typing import Final

from tests.mutants.alerts import ALERTED
from tests.mutants.api import OVER_HTTP
from tests.mutants.brakes import BRAKED
from tests.mutants.brand_pauses import BRANDS_PAUSED
from tests.mutants.budgets import LISTED
from tests.mutants.charts import DRAWN
from tests.mutants.close import CLOSED
from tests.mutants.control_api import CONTROLLED
from tests.mutants.explained import EXPLAINED
from tests.mutants.export import SENT_OUT
from tests.mutants.failover import FAILED_OVER
from tests.mutants.flights import FLOWN
from tests.mutants.forecasts import FORESEEN
from tests.mutants.hostile import HOSTILE
from tests.mutants.late import BOOKED_BACK
from tests.mutants.local_days import LOCAL_DAYS
from tests.mutants.lua import LUA
from tests.mutants.mutant import Mutant
from tests.mutants.operations import TAKEN_BACK
from tests.mutants.own import OF_CAMPAIGNS
from tests.mutants.paced import PACED
from tests.mutants.packed import PACKED, SHARED
from tests.mutants.people import LET_IN
from tests.mutants.persist import WRITTEN_DOWN
from tests.mutants.rebuild import MADE_WHOLE
from tests.mutants.refunds import GIVEN_BACK
from tests.mutants.retention import LET_GO
from tests.mutants.rolled import ROLLED
from tests.mutants.speedups import COMPILED
from tests.mutants.steps import STEPPED
from tests.mutants.stored import READ
from tests.mutants.verified import CONFIRMED
from tests.mutants.webhooks import SENT_ON
from tests.mutants.zoned import ZONED
from tests.mutants.zoned_late import ZONED_LATE

MUTANTS: Final[tuple[Mutant, ...]] = (
    *LUA,
    *DRAWN,
    *OVER_HTTP,
    *CONTROLLED,
    *GIVEN_BACK,
    *OF_CAMPAIGNS,
    *FLOWN,
    *STEPPED,
    *PACED,
    *ZONED,
    *ZONED_LATE,
    *BOOKED_BACK,
    *BRAKED,
    *WRITTEN_DOWN,
    *PACKED,
    *SHARED,
    *CLOSED,
    *LISTED,
    *LOCAL_DAYS,
    *LET_GO,
    *SENT_OUT,
    *MADE_WHOLE,
    *EXPLAINED,
    *FORESEEN,
    *READ,
    *CONFIRMED,
    *FAILED_OVER,
    *COMPILED,
    *HOSTILE,
    *LET_IN,
    *TAKEN_BACK,
    *BRANDS_PAUSED,
    *ROLLED,
    *ALERTED,
    *SENT_ON,
)
