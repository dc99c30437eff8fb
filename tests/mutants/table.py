"""Every mutant. A row's text must stand exactly once in its file; a test in this folder holds the table to the program."""

from __future__ import annotations

from typing import Final

from tests.mutants.brakes import BRAKED
from tests.mutants.close import CLOSED
from tests.mutants.explained import EXPLAINED
from tests.mutants.export import SENT_OUT
from tests.mutants.failover import FAILED_OVER
from tests.mutants.flights import FLOWN
from tests.mutants.forecasts import FORESEEN
from tests.mutants.hostile import HOSTILE
from tests.mutants.late import BOOKED_BACK
from tests.mutants.lua import LUA
from tests.mutants.mutant import Mutant
from tests.mutants.own import OF_CAMPAIGNS
from tests.mutants.paced import PACED
from tests.mutants.packed import PACKED, SHARED
from tests.mutants.persist import WRITTEN_DOWN
from tests.mutants.rebuild import MADE_WHOLE
from tests.mutants.refunds import GIVEN_BACK
from tests.mutants.retention import LET_GO
from tests.mutants.speedups import COMPILED
from tests.mutants.stored import READ
from tests.mutants.verified import CONFIRMED

MUTANTS: Final[tuple[Mutant, ...]] = (
    *LUA,
    *GIVEN_BACK,
    *OF_CAMPAIGNS,
    *FLOWN,
    *PACED,
    *BOOKED_BACK,
    *BRAKED,
    *WRITTEN_DOWN,
    *PACKED,
    *SHARED,
    *CLOSED,
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
)
