"""What control costs: budgets of campaigns, the brake, pacing, time zones and rollover, in scripts, ours against ours.

`python -m benchmarks.control_costs` measures each kind of call on servers of its own. Where Valgrind is there, it
counts instructions, which a busy machine does not change; else it takes the time of Redis' slow log. Whoever uses none
of these features is compared with the scripts of a release that had none, on the same keys.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

import redis

from benchmarks.embedded import servers
from benchmarks.instructions import Counter, can_count, counting
from benchmarks.size import fresh, watching
from engine.client.batches import pieces_of
from engine.client.spends import Spend
from engine.domain.brake import Brake
from engine.domain.budget import NO_LIMITS, OwnLimits
from engine.domain.curves import PPM, check
from engine.domain.ids import brand_of
from engine.domain.pacing import NO_PACING, Pacing
from engine.domain.periods import DAY_MS, HOUR_MS
from engine.live.scripts import RECORD, TRY, Script, script
from engine.local.servers import Urls
from engine.wiring import System

ROOT: Final = Path(__file__).parent.parent
BEFORE: Final = ROOT / "tests" / "releases" / "client-914a956.zip"
"""The client of a release before budgets of campaigns, flights, brake and pacing, with its scripts."""
ROUNDS: Final = 1
CAMPAIGNS: Final = 20
BATCH: Final = 1000
GROUPS: Final = 7
"""Groups of calls in a round, of which the least counts: Lua collects its garbage in some of them only."""
PACKED_MS: Final = 3.0
"""How long 1,000 packed paced tries may hold Redis."""
_LARGE: Final = 9 * 10**14
_EARLY: Final = check([(0, 0), *((3600 * h, PPM * h // 24) for h in range(1, 24)), (86_400, PPM)])
"""A curve of 25 points."""
_LATE: Final = check([(0, 0), (86_000, 0), (86_400, PPM)])
"""Nothing is due before the day's end."""
_numbers = count()


@dataclass(frozen=True, slots=True)
class Cost:
    """One row. cost: thousands of instructions a call, or microseconds. ratio: to the row named `against`. most: the
    highest ratio that passes, or None.
    """

    what: str
    cost: float
    against: str
    ratio: float
    most: float | None


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of call. campaigns: those of its spends. size: spends a call. refused: whether it is, which is checked."""

    what: str
    code: Script
    campaigns: Sequence[int]
    size: int
    against: str = ""
    most: float | None = None
    refused: bool = False

    def send(self, plain: redis.Redis, calls: int) -> None:
        """Sends so many calls, each with another request id and other amounts. Raises AssertionError where an answer
        is not the one that is measured.
        """
        for _ in range(calls):
            number = next(_numbers)
            spends = [
                Spend(self.campaigns[i % len(self.campaigns)], None, None, 1001 + number % 7919 + i)
                for i in range(self.size)
            ]
            for piece in pieces_of(spends)[0]:
                call = piece.call(self.code, f"cost-{number}", expected=False)
                args = call.args() if callable(call.args) else call.args
                reply: Any = plain.evalsha(self.code.sha1, len(call.keys), *call.keys, *args)
                assert reply[0] == b"ok" and reply[1].startswith(b"x" if self.refused else b"k"), (self.what, reply)
                assert b"," not in reply[1], (self.what, reply)


def scripts_before() -> dict[str, Script]:
    """The scripts of the release before, as its own loader assembles them."""
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(BEFORE) as release:
            release.extractall(folder)
        told = subprocess.run(
            [sys.executable, "-c", _TELL, RECORD, TRY],
            env={"PYTHONPATH": folder}, capture_output=True, check=True, text=True,
        ).stdout  # fmt: skip
    return {name: Script(name, *found) for name, found in json.loads(told).items()}


_TELL: Final = """
import json, sys
from engine.live.scripts import script
print(json.dumps({name: (script(name).text, script(name).sha1) for name in sys.argv[1:]}))
"""


def kinds_of(system: System) -> list[Kind]:
    """Makes the brands, each in a shard of its own, and returns what is measured of each."""
    plain = _brand(system, "Plain", NO_LIMITS, NO_PACING, Brake())
    limits = OwnLimits(_LARGE, _LARGE, _LARGE)
    even, curve, brake = Pacing("even", "300"), Pacing("custom:bench", "300"), Brake(_LARGE, _LARGE, 1)
    system.manage.put_curve("bench", {0: _EARLY}, "bench")
    system.manage.put_curve("late", {0: _LATE}, "bench")
    beside = _brand(system, "Beside", NO_LIMITS, NO_PACING, Brake())
    system.manage.create_campaign(brand_of(beside[0]), "Beside, with limits", None, None, "bench", limits)
    own = _brand(system, "Own", limits, NO_PACING, Brake())
    paced, curved = (
        _brand(system, "Paced", OwnLimits(_LARGE), even, Brake()),
        _brand(system, "Curve", OwnLimits(_LARGE), curve, Brake()),
    )
    everything = _brand(system, "All", limits, even, brake)
    zoned = _brand(system, "Zoned", NO_LIMITS, NO_PACING, Brake(), "Europe/Berlin")
    # Its day is another one than that of UTC, so that its counters need a read of their own.
    far = "Pacific/Pago_Pago" if system.live.now_ms() % DAY_MS < 11 * HOUR_MS else "Pacific/Kiritimati"
    afar = _brand(system, "Afar", NO_LIMITS, NO_PACING, Brake(), far)
    zoned_paced = _brand(system, "Zoned and paced", OwnLimits(_LARGE), even, Brake(), "Europe/Berlin")
    rolled = _brand(system, "Rolled", NO_LIMITS, NO_PACING, Brake(), cap=_LARGE)
    late = _brand(system, "Late", limits, Pacing("custom:late", "300"), brake)
    before, now = scripts_before(), {name: script(name) for name in (RECORD, TRY)}
    kinds = []
    for verb in (RECORD, TRY):
        word = "record" if verb == RECORD else "try"
        for size, name in ((1, f"{word}, alone"), (BATCH, f"{word}, 1,000 packed over 20")):
            old, most = f"{name}, the release before", 1.15
            kinds += [
                Kind(old, before[verb], plain, size),
                Kind(name, now[verb], plain, size, old, 1.01),
                Kind(f"{name}: nothing in use beside a campaign with limits", now[verb], beside, size, name),
                Kind(f"{name}: own limits", now[verb], own, size, name),
                Kind(f"{name}: paced evenly", now[verb], paced, size, name),
                Kind(f"{name}: paced by a curve of 25 points", now[verb], curved, size, name),
                Kind(f"{name}: all in use", now[verb], everything, size, name, most),
                Kind(f"{name}: a time zone", now[verb], zoned, size, name, most),
                Kind(f"{name}: a rollover", now[verb], rolled, size, name, most),
                Kind(f"{name}: a time zone on another day", now[verb], afar, size, name),
                Kind(f"{name}: a time zone, paced", now[verb], zoned_paced, size, f"{name}: paced evenly", most),
            ]
            if verb == TRY:
                kinds.append(
                    Kind(
                        f"{name}: refused for pacing",
                        now[verb],
                        late,
                        size,
                        f"{name}: all in use",
                        1.3 if size == 1 else None,
                        refused=True,
                    )
                )
    return kinds


def _brand(
    system: System,
    name: str,
    limits: OwnLimits,
    pacing: Pacing,
    brake: Brake,
    zone: str | None = None,
    cap: int | None = None,
) -> list[int]:
    brand = system.manage.create_brand(name, _LARGE, _LARGE, None, "bench", pacing, zone, cap).row
    made = (
        system.manage.create_campaign(brand.id, f"{name} {i}", None, None, "bench", limits, pacing, brake)
        for i in range(CAMPAIGNS)
    )
    return [campaign.row.id for campaign in made]


def measure(urls: Urls, rounds: int = ROUNDS, only: str = "") -> tuple[list[Cost], float]:
    """Every row on empty servers, and how many ms 1,000 packed paced tries hold Redis. only: rows whose name has it,
    and those that they are compared with.
    """
    with fresh(urls) as system:
        kinds = kinds_of(system)
        wanted = {kind.what for kind in kinds if only in kind.what}
        for _ in range(2):
            wanted |= {kind.against for kind in kinds if kind.what in wanted}
        kinds = [kind for kind in kinds if kind.what in wanted]
        plain = system.hot_redis
        for kind in kinds:
            plain.script_load(kind.code.text)
            kind.send(plain, 2)
        packed_ms = _ms(plain, next((kind for kind in kinds if kind.size > 1 and "all in use" in kind.what), kinds[-1]))
        if can_count():
            with counting(plain) as counter:
                for kind in kinds:
                    counter.plain.script_load(kind.code.text)
                found = _least(
                    kinds, rounds * GROUPS, lambda kind: _thousands(counter, kind, 4 if kind.size == 1 else 1)
                )
        else:
            found = _least(kinds, 5 * rounds, lambda kind: _us(plain, kind, 100 if kind.size == 1 else 20))
    return [
        Cost(k.what, found[k.what], k.against, found[k.what] / found[k.against or k.what], k.most) for k in kinds
    ], packed_ms


def _least(kinds: Sequence[Kind], rounds: int, cost: Callable[[Kind], float]) -> dict[str, float]:
    """The least cost of each kind, in turns."""
    found: dict[str, float] = {}
    for number in range(rounds + 1):
        for kind in kinds:
            taken = cost(kind)
            if number:
                found[kind.what] = min(found.get(kind.what, taken), taken)
    return found


def _thousands(counter: Counter, kind: Kind, calls: int) -> float:
    """Thousands of instructions a call. One call goes before: the first of a minute sets a pass rate."""
    kind.send(counter.plain, 1)
    return counter.instructions(lambda: kind.send(counter.plain, calls)) / calls / 1000


def _us(plain: redis.Redis, kind: Kind, calls: int) -> float:
    """The mean of the fastest quarter of the script's times."""
    with watching(plain, 0):
        kind.send(plain, calls)
        log: list[dict[str, Any]] = plain.slowlog_get(4096)
    taken = sorted(float(entry["duration"]) for entry in log if entry["command"].upper().startswith(b"EVALSHA"))
    return statistics.mean(taken[: (len(taken) + 3) // 4])


def _ms(plain: redis.Redis, kind: Kind) -> float:
    return min(_us(plain, kind, 20) for _ in range(5)) / 1000


def table(costs: Sequence[Cost], packed_ms: float) -> str:
    """The rows in Markdown."""
    unit = "1,000 instructions" if can_count() else "Redis us"
    lines = [f"| call | {unit} | against | ratio | at most | |", "| --- | ---: | --- | ---: | ---: | --- |"]
    for cost in costs:
        verdict = "" if cost.most is None else "pass" if cost.ratio <= cost.most else "above"
        most = "" if cost.most is None else f"{cost.most:g}"
        ratio = f"{cost.ratio:.3f}" if cost.against else ""
        lines.append(f"| {cost.what} | {cost.cost:,.1f} | {cost.against} | {ratio} | {most} | {verdict} |")
    verdict = "pass" if packed_ms < PACKED_MS else "above"
    lines.append(
        f"\n1,000 packed paced tries over 20 campaigns hold Redis for {packed_ms:.2f} ms [{PACKED_MS:g}] ({verdict})."
    )
    return "\n".join(lines)


def main() -> None:
    with servers() as urls:
        print(table(*measure(urls, only=" ".join(sys.argv[1:]))))


if __name__ == "__main__":
    main()
