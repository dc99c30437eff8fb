"""The compiled steps hold on to nothing and touch no memory of others."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.speedups.compiled import compiled, new_spend

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 2500
"""More than Python keeps in any of its free lists."""


def kept(work: Callable[[], Any]) -> int:
    """Bytes that rounds of work leave behind, after as many that filled what Python keeps for itself."""
    tracemalloc.start()
    try:
        traced = []
        for _ in range(2):
            for _ in range(ROUNDS):
                work()
            gc.collect()
            traced.append(tracemalloc.get_traced_memory()[0])
        return traced[1] - traced[0]
    finally:
        tracemalloc.stop()


def refused(make: Callable[[], Any]) -> Callable[[], None]:
    def work() -> None:
        with pytest.raises(TypeError):
            make()

    return work


def test_no_call_keeps_memory_or_a_reference_whether_it_is_taken_or_refused() -> None:
    spend, pack = new_spend(), compiled().pack
    compiled().quicken(spend)
    ids, micros = [65537, 65538] * 8, list(range(1, 17))
    value, named = object(), {"event_id": "e"}
    works: list[Callable[[], Any]] = [
        lambda: [spend(65537, value, None, 10**9) for _ in range(9)],
        lambda: spend(65537, amount_micros=value, **named),
        lambda: spend(value, [value], {"a": value}),
        refused(spend),
        refused(lambda: spend(value, campaign_id=value)),
        refused(lambda: spend(value, nothing=value)),
        refused(lambda: spend(*[value] * 6)),
        refused(lambda: compiled().quicken(value)),
        refused(lambda: compiled().quicken(tuple)),
        lambda: pack(ids, [65537, 65538], micros, 1),
        lambda: pack(ids, [65537, 65538], [10**12] * 16, 2),
        lambda: pack(ids, [65537], micros, 1),
        lambda: pack(ids, [65537, 65538], [*micros[1:], value], 1),
        lambda: pack(value, value, value, value),
    ]
    watched = (value, spend, spend.__new__, ids, micros, ids[0])
    references = [sys.getrefcount(one) for one in watched]
    for work in works:
        # The smallest thing that a call could leave has eight bytes, and is left each time.
        assert any(kept(work) < 4 * ROUNDS for _ in range(3))
    assert [sys.getrefcount(one) for one in watched] == references


@pytest.mark.long
def test_the_comparisons_pass_under_python_s_own_checks_of_memory() -> None:
    compiled()
    words = ["-X", "dev", "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "tests/speedups/test_spend.py"]
    done = subprocess.run(
        [sys.executable, *words, "tests/speedups/test_pack.py"],
        cwd=ROOT, env={**os.environ, "TEST_SPEEDUPS_EXAMPLES": "20"}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
