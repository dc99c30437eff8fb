"""`python -m benchmarks [ROUNDS]`: starts its own servers, measures each row and its peer in turn, prints the table and writes RESULTS.md."""

from __future__ import annotations

import platform
import statistics
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.rows import Bench, Row
from engine.ledger import migrate
from engine.local.servers import EmbeddedServers
from engine.settings import Settings
from engine.wiring import System

RESULTS = Path(__file__).with_name("RESULTS.md")


def measure(row: Row, rounds: int) -> str:
    """One line of the table: medians of the rounds, and the spread of their ratios."""
    row.ours(), row.peer()
    pairs = [(row.ours(), row.peer()) for _ in range(rounds)]
    ratios = [ours / peer for ours, peer in pairs]
    ours, peer = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(ratios)
    spread = f"{min(ratios):.2f}-{max(ratios):.2f}"
    verdict = "pass" if ratio >= row.needed else "below"
    line = f"| {row.what} | {row.against} | {ours:,.0f}/s | {peer:,.0f}/s | {ratio:.2f} | {spread} | {row.needed:g} | {verdict} |"
    print(line, flush=True)
    return line


def main(rounds: int) -> None:
    """The whole run."""
    head = "| what | against | ours | peer | ratio | spread | needed | |\n| --- | --- | ---: | ---: | ---: | --- | ---: | --- |"
    with tempfile.TemporaryDirectory(prefix="budget bench ") as folder:
        servers = EmbeddedServers(Path(folder) / "data")
        urls = servers.start()
        try:
            environment = {"REDIS_URL": urls.hot, "JOBS_REDIS_URL": urls.jobs, "DATABASE_URL": urls.database}
            system = System(Settings.load(environment, None))
            migrate.upgrade(system.db)
            bench = Bench(system)
            print(head, flush=True)
            lines = [measure(row, rounds) for row in bench.rows()]
            server = system.hot_redis.info("server")
            system.close()
        finally:
            servers.remove()
    about = (
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {platform.system()}, Python {platform.python_version()}, redis-py {version('redis')}, "
        f"Valkey {server.get('valkey_version', server['redis_version'])}; {rounds} rounds, ours and peer in turn, medians."
    )
    text = "# Results of `make bench`\n\nRatios are what counts; the machine is a small shared one. " + about
    RESULTS.write_text(f"{text}\n\n{head}\n" + "\n".join(lines) + "\n", encoding="utf-8")
    print(f"written to {RESULTS.name}: {about}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
