"""How a row is measured: ours and its peer in turn, so that a busy machine is busy for both."""

from __future__ import annotations

import statistics
from typing import Final

import click

from benchmarks.rows import Row

HEAD: Final = "| what | against | ours | peer | ratio | spread | needed | |\n| --- | --- | ---: | ---: | ---: | --- | ---: | --- |"


def measure(row: Row, rounds: int) -> tuple[str, float]:
    """Measures one row. Returns its line of the table (medians, and the range of the ratios) and the median ratio."""
    row.ours(), row.peer()
    pairs = [(row.ours(), row.peer()) for _ in range(rounds)]
    ratios = [ours / peer for ours, peer in pairs]
    ours, peer = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(ratios)
    verdict = "" if row.needed is None else "pass" if ratio >= row.needed else "below"
    needed = "" if row.needed is None else f"{row.needed:g}"
    line = (
        f"| {row.what} | {row.against} | {ours:,.0f}/s | {peer:,.0f}/s | {ratio:.2f} | {min(ratios):.2f}-{max(ratios):.2f}"
        f" | {needed} | {verdict} |"
    )
    click.echo(line)
    return line, ratio
