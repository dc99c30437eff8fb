"""`make fuzz`: a million journal entries with changed bytes. None may stop persist, a rebuild or verify."""

from __future__ import annotations

import argparse
import logging
import random
import shutil
import tempfile
import time
from pathlib import Path

from engine.local.servers import EmbeddedServers
from engine.wiring import System
from tests.fuzz.run import Seen, fuzz
from tests.processes.conftest import Own


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    given = parser.parse_args()
    print(f"fuzz of {given.entries:,} entries, seed {given.seed}", flush=True)
    # Persist logs each entry that it quarantines.
    logging.disable(logging.CRITICAL)
    folder = Path(tempfile.mkdtemp(prefix="fuzz "))
    embedded = EmbeddedServers(folder / "data")
    system: System | None = None
    began = time.monotonic()
    try:
        system = Own(embedded, folder).system
        system.rebuilder.rebuild_missing()

        def after(seen: Seen) -> None:
            print(f"{seen}, in {time.monotonic() - began:.0f} s", flush=True)

        fuzz(system, given.entries, given.seed, progress=after)
    finally:
        if system is not None:
            system.close()
        embedded.remove()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
