"""`python -m benchmarks`: measures every row and its peer in turn on servers of its own, then curves, latency and costs
by size. Writes RESULTS.md.

`--floors` is the short form for CI: only the table, the stalls and the costs of calls, and nothing is written. It exits
with 1 when a ratio is under a third of its floor, or a script blocks Redis for three times its limit. That margin
tolerates a noisy machine and still detects a path that became slow.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import click
import redis

from benchmarks import all_jobs, backlog, control_costs, large_brand, script_costs, size, stalls
from benchmarks.curves import Curve, curves, processor_time
from benchmarks.embedded import servers
from benchmarks.half_load import latency
from benchmarks.measured import HEAD, measure
from benchmarks.picture import svg
from benchmarks.rows import Bench
from engine.local.servers import Urls
from engine.speedups import speedups
from engine.wiring import System

HERE: Final = Path(__file__).parent
MARGIN: Final = 3
FAR: Final = 1.5
"""The margin for ratios between calls of one server, which vary less than those to a peer."""


@click.command()
@click.option("--rounds", default=15, show_default=True, help="Rounds of each row, ours and its peer in turn.")
@click.option(
    "--floors", is_flag=True, help="The short form for CI: table and stalls, exit 1 under a third of a floor."
)
@click.option(
    "--brands",
    default=1000,
    show_default=True,
    help="Brands (of 100 campaigns) of the largest size; 0 leaves sizes out.",
)
@click.option(
    "--backlog",
    "largest",
    default=10_000_000,
    show_default=True,
    help="Spends of the largest backlog; 0 leaves them out.",
)
def main(rounds: int, floors: bool, brands: int, largest: int) -> None:
    """The whole run."""
    with servers() as urls:
        with size.fresh(urls) as system:
            bench = Bench(system, quick=floors)
            click.echo(f"{speedups.why}\n\n{HEAD}")
            lines, low = [], []
            for row in bench.rows():
                line, ratio = measure(row, 3 if floors else rounds)
                lines.append(line)
                if row.needed is not None and ratio < row.needed / MARGIN:
                    low.append(f"{row.what}: {ratio:.2f}, under a third of {row.needed:g}")
            parts = ["\n".join([HEAD, *lines])]
            if not floors:
                parts += _curves_and_latency(system, bench)
                about = _about(system.hot_redis, rounds)
            bench.close()
        if floors:
            low += _long_stalls(urls) + _expensive_calls(urls)
            for line in low:
                click.echo(f"too slow: {line}", err=True)
            raise SystemExit(1 if low else 0)
        parts += [_all_jobs(urls, rounds), _script_costs(urls), _control_costs(urls), _stalls(urls)]
        if brands:
            parts += [_sizes(urls, brands), _large_brand(urls)]
        if largest:
            parts.append(_backlogs(urls, largest))
    head = f"# Results of `make bench`\n\nRatios are what counts; the machine is a small shared one. {about}"
    (HERE / "RESULTS.md").write_text("\n\n".join([head, *parts]) + "\n", encoding="utf-8")
    click.echo(f"\nwritten to benchmarks/RESULTS.md and throughput.svg: {about}")


def _curves_and_latency(system: System, bench: Bench) -> Iterator[str]:
    drawn = curves(system, bench)
    (HERE / "throughput.svg").write_text(svg(drawn), encoding="utf-8")
    yield "## Throughput\n\n![spends a second](throughput.svg)"
    lines = [f"- by {c.what}: " + ", ".join(f"{s:,}: {v:,.0f}/s" for s, v in c.points) for c in drawn]
    yield "\n".join(lines)
    plain = system.hot_redis
    alone = processor_time(plain, 6000, bench.singles)
    packed = processor_time(plain, 60_000, lambda: bench.batches(bench.by_columns))
    with_ids = processor_time(plain, 60_000, lambda: bench.batches(bench.by_named))
    seen = latency(system, bench)
    cost = (
        "## Redis' processor and latency\n\n"
        f"- Redis' processor a spend: {alone:.1f} µs alone, {packed:.2f} µs in batches of 1,000, {with_ids:.1f} µs there with event ids.\n"
        f"- {seen}"
    )
    click.echo(cost)
    yield cost


def _long_stalls(urls: Urls) -> list[str]:
    """The scripts whose largest call blocks Redis for far too long, one text each."""
    with size.fresh(urls) as system:
        measured = stalls.measure(system, click.echo, ids=100_000)
    most_ms = size.STALL_MS * MARGIN
    return [f"{s.what}: {s.best_ms:.1f} ms, more than {most_ms:g}" for s in measured if s.best_ms > most_ms]


def _expensive_calls(urls: Urls) -> list[str]:
    """The kinds of calls that cost Redis far more than the simplest call of their kind, one text each."""
    costs = script_costs.measure(urls, 3)
    click.echo("\n".join([script_costs.HEAD, *map(script_costs.line_of, costs)]))
    return [
        f"{cost.what}: {cost.ratio:.1f} x {cost.against}, more than {cost.most * FAR:g}"
        for cost in costs
        if cost.most is not None and cost.ratio > cost.most * FAR
    ]


def _all_jobs(urls: Urls, rounds: int) -> str:
    click.echo(f"\n{HEAD}")
    lines = all_jobs.measure_beside(urls, rounds)
    return "## With persist, check and the page at work beside it\n\n" + "\n".join(lines)


def _script_costs(urls: Urls) -> str:
    table = "\n".join([script_costs.HEAD, *map(script_costs.line_of, script_costs.measure(urls))])
    click.echo(table)
    return f"## What each kind of call costs Redis\n\n{table}"


def _control_costs(urls: Urls) -> str:
    table = control_costs.table(*control_costs.measure(urls))
    click.echo(table)
    return f"## What control costs\n\n{table}"


def _stalls(urls: Urls) -> str:
    lines: list[str] = []
    with size.fresh(urls) as system:
        stalls.measure(system, _append_and_print(lines))
    return "## How long a script holds Redis at its largest call\n\n" + "\n".join([stalls.HEAD, *lines])


def _sizes(urls: Urls, brands: int) -> str:
    lines: list[str] = []
    seen = size.measure(urls, sorted({max(brands // 100, 1), max(brands // 10, 1), brands}), _append_and_print(lines))
    lines.append(f"\np99 of spends beside jobs: {seen.p99_ratio:.2f} x that without them (at most {size.P99_RATIO:g});")
    lines.append(f"{seen.p99_ratio_to_busy:.2f} x that beside a process that only keeps a processor busy.")
    lines += [
        f"{campaigns:,} campaigns: {each:.0f} bytes a campaign." for campaigns, each in seen.bytes_a_campaign.items()
    ]
    return "## Costs against size\n\n" + "\n".join([size.HEAD, *lines])


def _large_brand(urls: Urls) -> str:
    lines: list[str] = []
    click.echo(large_brand.HEAD)
    large_brand.table(urls, _append_and_print(lines))
    return "## One brand with every campaign that it can have\n\n" + "\n".join([large_brand.HEAD, *lines])


def _backlogs(urls: Urls, largest: int) -> str:
    lines: list[str] = []
    click.echo(backlog.HEAD)
    drains = backlog.measure(
        urls, sorted({max(largest // 100, 1000), max(largest // 10, 1000), largest}), _append_and_print(lines)
    )
    (HERE / "backlog.svg").write_text(
        svg([Curve("backlog, drained into the log", [(drain.spends, drain.rate) for drain in drains])]),
        encoding="utf-8",
    )
    return "## Draining a backlog\n\n![rows a second](backlog.svg)\n\n" + "\n".join([backlog.HEAD, *lines])


def _append_and_print(lines: list[str]) -> Callable[[str], None]:
    def say(line: str) -> None:
        lines.append(line)
        click.echo(line)

    return say


def _about(plain: redis.Redis, rounds: int) -> str:
    server: Any = plain.info("server")
    name = "Valkey " + server["valkey_version"] if "valkey_version" in server else "Redis " + server["redis_version"]
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {platform.system()}, two cores, Python {platform.python_version()},"
        f" redis-py {version('redis')}, {name}, {speedups.why}; {rounds} rounds, ours and its peer in turn, medians."
    )


if __name__ == "__main__":
    main()
