"""Output of commands: JSON documents in the shapes of the contract, and tables for people. rich is imported only where
a table is drawn.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import click

from engine.domain.money import format_micros
from engine.domain.names import seen

if TYPE_CHECKING:
    from rich.console import Console

    from engine.ledger.reports import BrandDay, BrandHour
    from engine.live.replies import SpendResult
    from engine.views.overview import Overview

NO_LIMIT: Final = "no limit"
LINES_SHOWN: Final = 20
"""The most remarks that a command prints; it counts the rest. There may be as many as a file has lines."""
SUM_COLUMNS: Final = ("spend", "spends")
_PIPE_WIDTH: Final = 500
"""The width where output is not a terminal, so that nothing is cut."""


def print_json(document: object) -> None:
    """Prints the one document of a `--json` command."""
    click.echo(json.dumps(document, indent=2))


def note(text: str) -> None:
    """Prints a remark to stderr, so that it is never part of a document."""
    click.echo(f"budget-engine: {seen(text, kept=chr(10))}", err=True)


def note_if_not_live(overview: Overview) -> None:
    """Prints why the figures do not come from Redis; nothing where they do."""
    if overview.why_not_live:
        note(overview.why_not_live)


def console() -> Console:
    """A console on stdout for tables. Off a terminal it has no colours and wide lines. Names are never markup."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    return Console(markup=False, highlight=False, emoji=False, width=width, soft_wrap=False)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[str] = ()) -> None:
    """Prints a table, without columns that have no value. right: columns to align to the right, such as money."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    flush_right, listed = frozenset(right), list(rows)
    shown = [i for i in range(len(columns)) if not listed or any(row[i] for row in listed)]
    for column in (columns[i] for i in shown):
        to_right = column in flush_right
        table.add_column(column, justify="right" if to_right else "left", no_wrap=to_right, overflow="fold")
    for row in listed:
        table.add_row(*(Text(seen(row[i])) for i in shown))
    console().print(table)


def print_fields(fields: Iterable[tuple[str, str]]) -> None:
    """Prints one record, a line a field."""
    listed = list(fields)
    width = max(len(name) for name, _ in listed)
    for name, value in listed:
        click.echo(f"{name:<{width}}  {seen(value)}")


def money(micros: int | None) -> str:
    """Money for people: six decimals, or `no limit` for None."""
    return NO_LIMIT if micros is None else format_micros(micros)


def sum_cells(line: BrandDay | BrandHour) -> tuple[str, str]:
    """The cells of the same in a table, under `SUM_COLUMNS`."""
    return money(line.spend_micros), f"{line.spends:,}"


def day_columns(lines: Sequence[BrandDay]) -> tuple[str, ...]:
    """The further columns of a table of days: those of which any day has something."""
    found = {
        "late": any(line.late_spends for line in lines),
        "backfilled": any(line.backfilled_spends for line in lines),
    }
    return tuple(name for name, there in found.items() if there)


def day_cells(line: BrandDay, columns: Sequence[str]) -> tuple[str, ...]:
    """The cells of a day in these."""
    cells = {
        "late": (line.late_micros, line.late_spends),
        "backfilled": (line.backfilled_micros, line.backfilled_spends),
    }
    return tuple(f"{money(cells[name][0])} ({cells[name][1]:,})" for name in columns)


def spend_document(result: SpendResult) -> dict[str, Any]:
    """The JSON document of a spend's result."""
    figures = {
        name: getattr(result, name) for name in ("daily_spend", "monthly_spend", "daily_remaining", "monthly_remaining")
    }
    return {
        "outcome": result.outcome,
        "reasons": list(result.reasons),
        **{name: None if figure is None else str(figure) for name, figure in figures.items()},
    }


@contextmanager
def bar(what: str, total: int | None) -> Iterator[Callable[[int, int], None]]:
    """Shows a progress bar on stderr, where that is a terminal.

    Yields a function of two numbers: the progress, out of `total`, and a count that is shown beside the bar with the
    unit `what`.
    """
    if not sys.stderr.isatty():
        yield lambda done, shown: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    label = TextColumn("{task.percentage:>3.0f}%  {task.fields[shown]:,} " + what)
    with Progress(BarColumn(), label, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total, shown=0)
        yield lambda done, shown: progress.update(task, completed=done, shown=shown)
