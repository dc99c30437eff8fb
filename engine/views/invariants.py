"""What `verify` found, invariant by invariant, in words for people. Pure."""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

WORDS: Final = {
    "V1": "Each brand's counter in Redis is what the spend log and the journal have",
    "V2": "A brand's spend is that of its campaigns, a month's that of its days",
    "V3": "No try spent more than the largest budget in force",
    "V4": "No spend is counted twice",
    "V5": "Nothing is invented and nothing is lost",
    "V7": "Each spend is on its brand's own day, and closed days stay as they are",
    "V8": "The status in PostgreSQL is the one that Redis computes",
    "V9": "No journal has a gap, and nothing was trimmed before it was stored",
    "V10": "Redis has only keys that are ours, and none expires or is evicted",
    "V11": "Each shard has the mark of its last rebuild",
    "V12": "What Redis has of budgets and schedules is what the catalog says",
    "V13": "Each lifetime and flight counter is the sum of its spends",
    "V15": "Each time zone in Redis is the one of the catalog",
    "V16": "Each exported day has the rows and sums of the spend log",
}
"""V6 and V14 are checked by tests only."""
_FAILED: Final = re.compile(r"\bFAIL (V\d+) (\d+) micros: ((?:(?!; (?:FAIL|PASS) V\d).)*)", re.DOTALL)
_PASSED: Final = re.compile(r"\bPASS ((?:V\d+ ?)+)")


class Invariant(NamedTuple):
    """One of them. micros: how much money is unaccounted for. finding: the first one."""

    id: str
    words: str
    state: Literal["ok", "down", "none"]
    micros: int = 0
    finding: str = ""


def invariants(detail: str) -> list[Invariant]:
    """Each invariant by the one-line summary of a run; "none" where the run did not get to it."""
    failed = {found[1]: (int(found[2]), found[3].strip()) for found in _FAILED.finditer(detail)}
    passed = {name for found in _PASSED.finditer(detail) for name in found[1].split()}
    names = sorted({*WORDS, *failed, *passed}, key=lambda name: int(name[1:]))
    return [
        Invariant(name, WORDS.get(name, "An invariant of another release"), "down", *failed[name])
        if name in failed
        else Invariant(name, WORDS.get(name, "An invariant of another release"), "ok" if name in passed else "none")
        for name in names
    ]
