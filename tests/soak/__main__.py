"""`make soak MINUTES=10`: load from several processes while parts are killed and stopped at random; at the end every
invariant is checked.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from engine.live.repair import probe_shards
from engine.local.servers import EmbeddedServers
from engine.wiring import System
from tests.cluster.servers import Cluster, running
from tests.processes.conftest import ROOT, Own, brand_of, ready, until
from tests.soak.chaos import PATIENCE_S, Chaos, settled
from tests.soak.cluster import ClusterChaos
from tests.soak.judge import Record, logged, overspent, sent_as_facts
from tools.node_client import build

DOC = ROOT / "docs" / "reliability.md"
MARKS = "<!-- soak: begin -->", "<!-- soak: end -->"
CLUSTER_MARKS = "<!-- soak_on_a_cluster: begin -->", "<!-- soak_on_a_cluster: end -->"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two faults, on average")
    parser.add_argument("--bidders", type=int, default=4)
    parser.add_argument("--node", action="store_true", help="a bidder in Node beside the others")
    parser.add_argument("--cluster", action="store_true", help="on three primaries and three replicas")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    parser.add_argument("--write", action="store_true", help="put the figures into docs/reliability.md")
    given = parser.parse_args()
    print(f"soak of {given.minutes:g} minutes, seed {given.seed}", flush=True)
    if not given.cluster:
        return run(given, None)
    with running(Cluster) as cluster:
        return run(given, cluster)


def run(given: argparse.Namespace, cluster: Cluster | None) -> int:
    """The soak, with servers of its own beside a cluster's."""
    folder = Path(tempfile.mkdtemp(prefix="soak "))
    embedded = EmbeddedServers(folder / "data")
    own = None
    try:
        own = Own(embedded, folder)
        if cluster is not None:
            own.environment["REDIS_URL"] = cluster.url
        # A call may get its result only at the end of the soak; its id must still be in the dedup window then.
        own.environment |= {"REQUEST_ID_MINUTES": "240", "EVENT_ID_HOURS": "4"}
        own.processes.environment = own.environment
        table, passed = soak(own, folder, given, cluster)
    finally:
        if own is not None:
            own.processes.end()
            own.system.close()
        embedded.remove()
        shutil.rmtree(folder, ignore_errors=True)
    print(table)
    if given.write:
        write(table, CLUSTER_MARKS if given.cluster else MARKS)
    return 0 if passed else 1


def soak(own: Own, folder: Path, given: argparse.Namespace, cluster: Cluster | None) -> tuple[str, bool]:
    from engine.settings import Settings

    own.system.close()
    own.system = system = System(Settings.load(own.environment, None))
    notes = folder / "calls"
    notes.mkdir()
    system.rebuilder.rebuild_missing()
    brands = {f: brand_of(system, f"facts {f}", 3) for f in range(6)}
    asked = [brand_of(system, f"asked {i}", 2, daily=20_000_000) for i in range(3)]
    held = [brand_of(system, f"held {i}", 2, daily=50_000_000) for i in range(3)]
    plan = {
        "facts": [c for _, campaigns in brands.values() for c in campaigns],
        "asked": [c for _, campaigns in asked for c in campaigns],
        "held": [c for _, campaigns in held for c in campaigns],
        # What a replica may lack is not used again under another content before it was sent again.
        "age_s": 0 if cluster is None else 10,
    }
    (notes / "plan.json").write_text(json.dumps(plan))
    budgeted = [brand for brand, _ in (*asked, *held)]
    everything = dict((*brands.values(), *asked, *held))
    in_node = build() if given.node else None
    if cluster is None:
        chaos = Chaos(own, notes, given.seed, everything, budgeted, in_node)
    else:
        chaos = ClusterChaos(own, notes, given.seed, everything, budgeted, cluster, in_node)
    chance = random.Random(given.seed + 1)
    try:
        chaos.start(given.bidders)
        until(lambda: ready(system), PATIENCE_S, own.processes.said)
        started = time.monotonic()
        while time.monotonic() - started < given.minutes * 60:
            time.sleep(chance.uniform(0.6, 1.4) * given.every * 0.6)
            print(f"{time.monotonic() - started:6.0f} s  {chaos.once()}", flush=True)
        lasted = time.monotonic() - started
        tracebacks = chaos.end()
        record = Record.read(notes)
        record.resend(own.environment["REDIS_URL"])
        until(lambda: settled(system), PATIENCE_S, own.processes.said)
        # Finds damaged keys without calls since, as the sweep does each minute.
        print(
            f"shards with a spoilt key that nobody touched: {sorted(probe_shards(system.live, everything))}", flush=True
        )
        until(lambda: settled(system), PATIENCE_S, own.processes.said)
        if tracebacks:
            keep = Path(tempfile.gettempdir()) / f"soak-{given.seed}"
            shutil.copytree(folder, keep, ignore=shutil.ignore_patterns("data", "*.jsonl"), dirs_exist_ok=True)
            print(f"tracebacks in {', '.join(tracebacks)}, kept in {keep}")
        return judged(system, chaos, record, budgeted, lasted, given)
    finally:
        chaos.stop()


def judged(
    system: System, chaos: Chaos, record: Record, budgeted: list[int], lasted: float, given: argparse.Namespace
) -> tuple[str, bool]:
    """Returns the table of figures, and whether the soak passed."""
    wanted, there = record.expected(), logged(system)
    lost = sum(abs(row[2]) * n for row, n in (wanted - there).items())
    extra = there - wanted
    named = {row[0] for row in wanted}
    doubled = sum(abs(row[2]) * n for row, n in extra.items() if row[0] in named)
    invented = sum(abs(row[2]) * n for row, n in extra.items() if row[0] not in named)
    for row, n in (*list((wanted - there).items())[:5], *list(extra.items())[:5]):
        print("differs:", row, wanted[row], "wanted,", there[row], "there", n)
    over = overspent(system, budgeted)
    checks = verify(system)
    outcomes = Counter(outcome for got in record.answers.values() for outcome in got)
    lines = [
        "| what | figure |",
        "| --- | --- |",
        f"| when, where | {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()} |",
        f"| length, seed | {lasted / 60:.1f} minutes, `--seed {given.seed}` |",
        f"| bidder processes, calls, spends | {given.bidders}{' and one in Node' if given.node else ''}, {len(record.calls):,}, {record.spends:,} |",
        f"| outcomes | {', '.join(f'{name} {n:,}' for name, n in sorted(outcomes.items()))} |",
        f"| calls without a reply, sent again under their ids | {record.resent:,} |",
        *(
            [f"| accepted, lost by Redis, and recorded again without room | {sent_as_facts(system):,} |"]
            if given.cluster
            else []
        ),
        f"| rows expected, rows found | {sum(wanted.values()):,}, {sum(there.values()):,} |",
        f"| faults | {sum(chaos.faults.values())}: {', '.join(f'{name} {n}' for name, n in sorted(chaos.faults.items()))} |",
        f"| repeated calls with another outcome than before (V6) | {len(record.changed)} |",
        f"| micros lost, duplicated, invented, overspent | {lost}, {doubled}, {invented}, {over} |",
        *(f"| {name} | {result} |" for name, result in checks),
    ]
    for changed in record.changed[:5]:
        print("changed:", changed)
    well = (lost, doubled, invented, over, len(record.changed)) == (0, 0, 0, 0, 0)
    return "\n".join(lines), well and all(result == "PASS" for _, result in checks)


def verify(system: System) -> list[tuple[str, str]]:
    """Runs `verify`; returns each check with its result, and prints findings."""
    out = []
    for check in system.verifier.verify():
        out.append((f"{check.id} {check.title}", check.result))
        for finding in check.findings[:5]:
            print(check.id, finding)
    return out


def write(table: str, marks: tuple[str, str]) -> None:
    """Writes the table between its markers in docs/reliability.md."""
    begin, end = marks
    before, _, rest = DOC.read_text().partition(begin)
    _, _, after = rest.partition(end)
    DOC.write_text(f"{before}{begin}\n{table}\n{end}{after}")


if __name__ == "__main__":
    raise SystemExit(main())
