"""`make node-bench`: the Node client beside its own library's INCRBY, on servers of its own.

`--floors` exits with 1 where a ratio is under a third of what it must be.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import click

from benchmarks.embedded import servers
from benchmarks.rows import CAMPAIGNS
from benchmarks.size import fresh

BENCH: Final = Path(__file__).resolve().parents[1] / "clients" / "node" / "dist-bench" / "bench.js"


@click.command()
@click.option("--rounds", default=15, show_default=True, help="Rounds of each row, ours and its peer in turn.")
@click.option("--floors", is_flag=True, help="Exit 1 where a ratio is under a third of its floor.")
def main(rounds: int, floors: bool) -> None:
    """The whole run. `make node-bench` has built the client."""
    node = shutil.which("node")
    if node is None or not BENCH.exists():
        raise SystemExit("the Node client is not built: run `make node-bench`")
    with servers() as urls, fresh(urls) as system:
        brand = system.manage.create_brand("Bench", None, None, None, "bench").row
        names = [f"campaign {i}" for i in range(CAMPAIGNS)]
        campaigns = [c.id for c in system.manage.create_campaigns(brand.id, names, "bench")]
        done = subprocess.run(
            [node, str(BENCH), *(["--floors"] if floors else [])],
            env={
                **os.environ,
                "REDIS_URL": urls.hot,
                "BENCH_CAMPAIGNS": ",".join(map(str, campaigns)),
                "BENCH_ROUNDS": str(rounds),
            },
            check=False,
        )
    raise SystemExit(done.returncode)


if __name__ == "__main__":
    main()
