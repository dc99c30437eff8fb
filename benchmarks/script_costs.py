"""Measures what each kind of call costs Redis: the script's time by the slow log, and for single calls the main
thread's CPU time in comparison with INCRBY.

`python -m benchmarks.script_costs` runs it on servers of its own. The kinds are measured in number, round by round. A
busy machine may preempt Redis in the middle of a script, which only ever adds time. So the result is the mean of the
fastest quarter of all calls, and for CPU time the best round.
"""

from __future__ import annotations

import statistics
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import redis

from benchmarks.embedded import servers
from benchmarks.size import fresh, watching
from engine.client.sync import BudgetClient, Spend
from engine.local.servers import Urls
from engine.wiring import System

ROUNDS: Final = 15
SINGLES: Final = 200
BATCHES: Final = 10
BATCH: Final = 1000
WITH_IDS: Final = 200
_CAMPAIGNS: Final = 20
_MICROS: Final = 1234
HEAD: Final = "| call | Redis us | against | ratio | at most | |\n| --- | ---: | --- | ---: | ---: | --- |"


@dataclass(frozen=True, slots=True)
class Cost:
    """One row of the table. us: microseconds a call. ratio: to the row named `against`. most: the highest ratio that
    passes, or None.
    """

    what: str
    us: float
    against: str
    ratio: float
    most: float | None


@dataclass(frozen=True, slots=True)
class _Kind:
    """One kind of call. calls: how many `work` makes. processor: measure the main thread's CPU time, not the script's
    time.
    """

    what: str
    work: Callable[[], object]
    calls: int
    against: str = ""
    most: float | None = None
    processor: bool = False


def measure(urls: Urls, rounds: int = ROUNDS) -> list[Cost]:
    """Measures every row on empty servers."""
    with fresh(urls) as system:
        kinds = _kinds(system)
        taken: dict[str, list[float]] = {kind.what: [] for kind in kinds}
        for number in range(rounds + 1):
            for kind in kinds:
                found = _processor_us(system.hot_redis, kind) if kind.processor else _script_us(system.hot_redis, kind)
                taken[kind.what] += found if number else []
    us = {
        kind.what: min(taken[kind.what]) if kind.processor else _mean_of_fastest_quarter(taken[kind.what])
        for kind in kinds
    }
    return [
        Cost(kind.what, us[kind.what], kind.against, us[kind.what] / us[kind.against or kind.what], kind.most)
        for kind in kinds
    ]


def _script_us(plain: redis.Redis, kind: _Kind) -> list[float]:
    """The server's time in each script call, in microseconds."""
    with watching(plain, 0):
        kind.work()
        log: list[dict[str, Any]] = plain.slowlog_get(4096)
    return [float(entry["duration"]) for entry in log if entry["command"].upper().startswith(b"EVALSHA")]


def _processor_us(plain: redis.Redis, kind: _Kind) -> list[float]:
    """The main thread's CPU time a call in microseconds, socket reads and writes included."""
    before = _processor(plain)
    kind.work()
    return [(_processor(plain) - before) / kind.calls]


def _processor(plain: redis.Redis) -> float:
    info = plain.info("cpu")
    return 1e6 * float(info["used_cpu_user_main_thread"] + info["used_cpu_sys_main_thread"])


def _mean_of_fastest_quarter(taken: list[float]) -> float:
    return statistics.mean(sorted(taken)[: (len(taken) + 3) // 4])


def _kinds(system: System) -> list[_Kind]:
    room, client, plain = _brand(system, "Room", None), system.client, system.hot_redis
    used_up, small = _brand(system, "Used up", 0), _brand(system, "Small", 9 * 10**11)
    paused = _brand(system, "Paused", None)
    system.manage.pause_campaign(paused[7], "bench")
    held = _brand(system, "Held", 9 * 10**14)
    client.reserve(held[0], "1", hold_id="bench", ttl=3600)
    now = datetime.now(UTC)
    record, ask = "record, alone", "try, alone"
    packed, packed_ids = "try, 1,000 packed", "try, 200 packed with event ids"

    def incrby() -> None:
        for _ in range(5 * SINGLES):
            plain.incrby("bench:counter", _MICROS)

    def processor() -> None:
        for _ in range(5):
            _send_singles(client, room[0])

    return [
        _Kind(record, lambda: _send_singles(client, room[0]), SINGLES),
        _Kind("record, with event id", lambda: _send_singles(client, room[0], event=True), SINGLES, record, 1.5),
        _Kind("record, with occurred_at", lambda: _send_singles(client, room[0], when=now), SINGLES, record, 1.2),
        _Kind("record, with both", lambda: _send_singles(client, room[0], event=True, when=now), SINGLES, record, 1.5),
        _Kind(ask, lambda: _send_singles(client, room[0], ask=True), SINGLES, record),
        _Kind("try, with event id", lambda: _send_singles(client, room[0], ask=True, event=True), SINGLES, ask, 1.5),
        _Kind("try, refused: used up", lambda: _send_singles(client, used_up[0], ask=True), SINGLES, ask, 1.3),
        _Kind("try, refused: paused", lambda: _send_singles(client, paused[7], ask=True), SINGLES, ask, 1.3),
        _Kind("try, beside a hold", lambda: _send_singles(client, held[0], ask=True), SINGLES, ask),
        _Kind(packed, lambda: _send_batches(client, room), BATCHES),
        _Kind("the same, one spend too large", lambda: _send_batches(client, small, last=10**12), BATCHES, packed, 3),
        _Kind("the same, a campaign paused", lambda: _send_batches(client, paused), BATCHES, packed, 3),
        _Kind("the same, all refused", lambda: _send_batches(client, used_up), BATCHES, packed),
        _Kind(packed_ids, lambda: _send_batches(client, room, WITH_IDS, event=True), BATCHES),
        _Kind("the same, one id too large", lambda: _send_batches(client, small, WITH_IDS, event=True, last=10**12), BATCHES, packed_ids, 3),
        _Kind("INCRBY, all of Redis", incrby, 5 * SINGLES, processor=True),
        _Kind("record, alone, all of Redis", processor, 5 * SINGLES, "INCRBY, all of Redis", processor=True),
    ]  # fmt: skip


def _brand(system: System, name: str, monthly_micros: int | None) -> list[int]:
    brand = system.manage.create_brand(name, None, monthly_micros, None, "bench").row
    return [c.id for c in system.manage.create_campaigns(brand.id, [f"{name} {i}" for i in range(_CAMPAIGNS)], "bench")]


def _send_singles(
    client: BudgetClient, campaign: int, *, ask: bool = False, event: bool = False, when: datetime | None = None
) -> None:
    verb = client.try_spend if ask else client.record_spend
    for _ in range(SINGLES):
        verb(campaign, amount_micros=_MICROS, event_id=uuid.uuid4().hex if event else None, occurred_at=when)


def _send_batches(
    client: BudgetClient, campaigns: Sequence[int], size: int = BATCH, *, event: bool = False, last: int = _MICROS
) -> None:
    for _ in range(BATCHES):
        amounts = [*(_MICROS + i for i in range(size - 1)), last]
        ids = [uuid.uuid4().hex if event else None for _ in amounts]
        rows = enumerate(zip(amounts, ids, strict=True))
        client.try_spends([Spend(campaigns[i % _CAMPAIGNS], None, id_, micros) for i, (micros, id_) in rows])


def line_of(cost: Cost) -> str:
    """Formats a row as a line of the table."""
    verdict = "" if cost.most is None else "pass" if cost.ratio <= cost.most else "above"
    most = "" if cost.most is None else f"{cost.most:g}"
    ratio = f"{cost.ratio:.2f}" if cost.against else ""
    return f"| {cost.what} | {cost.us:.1f} | {cost.against} | {ratio} | {most} | {verdict} |"


def main() -> None:
    with servers() as urls:
        print(HEAD, *map(line_of, measure(urls)), sep="\n")


if __name__ == "__main__":
    main()
