"""The outcomes of a call as the journal writes them: runs of a code and how often it comes, `k*2,x8*1`."""

from __future__ import annotations

import re
from typing import Final

MOST_SPENDS: Final = 1000
"""The most spends in a call. `lua/lib/constants.lua` has the same."""

_RUN: Final = re.compile(r"(k|p|d|c|u|x\d{1,4})\*(\d{1,4}),", re.ASCII)


def expand(outcomes: str) -> list[str]:
    """Unpacks runs of outcomes: "k*2,x8*1" -> ["k", "k", "x8"]. Raises ValueError for text that is not the outcomes
    of one call.
    """
    runs = [(code, int(times)) for code, times in _RUN.findall(f"{outcomes},")]
    # Checked before the list is made: a corrupt run length would take all memory.
    if (outcomes and _RUN.sub("", f"{outcomes},")) or sum(times for _, times in runs) > MOST_SPENDS:
        raise ValueError(f"not the outcomes of a call: {outcomes[:60]!r}")
    return [code for code, times in runs for _ in range(times)]


def pack(codes: list[str]) -> str:
    """Packs outcomes into runs; the opposite of `expand`."""
    runs: list[tuple[str, int]] = []
    for code in codes:
        if runs and runs[-1][0] == code:
            runs[-1] = (code, runs[-1][1] + 1)
        else:
            runs.append((code, 1))
    return ",".join(f"{code}*{times}" for code, times in runs)
