"""Backfill: reads a file of spends of closed days into the ledger, whole or not at all. The columns are those of replay."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Engine

from engine.feeds.spend_file import Malformed, SpendFile, SpendRow
from engine.ledger import backfill
from engine.ledger.backfill import BadLine, StagedLine
from engine.ledger.database import writing

MOST_NAMED: Final = 1000
"""Bad lines that are named; further ones are counted."""


@dataclass(slots=True)
class Backfilled:
    """What became of a file. written: whether its spends are in the ledger now; again: the same spends were written before.
    bad: the first lines that cannot be backfilled, of `bad_count`; with any of these nothing is written.
    """

    rows: int = 0
    recorded: int = 0
    duplicate: int = 0
    micros: int = 0
    bad_count: int = 0
    bad: list[BadLine] = field(default_factory=list)
    written: bool = False
    again: bool = False

    def refuse(self, line: BadLine) -> None:
        """Takes a bad line."""
        self.bad_count += 1
        if len(self.bad) < MOST_NAMED:
            self.bad.append(line)


def backfill_file(db: Engine, file: SpendFile, name: str, actor: str, *, dry_run: bool = False) -> Backfilled:
    """Backfills a file in one transaction. name: of the file, for the ledger. dry_run: checks it, and writes nothing. Raises
    ServerAway, WrongVersion.
    """
    done, digest = Backfilled(), hashlib.sha256()
    with writing(db) as conn:
        backfill.stage(conn, _staged(file, done, digest))
        for line in backfill.bad_lines(conn):
            done.refuse(line)
        found = None if done.bad else backfill.write(conn, digest.hexdigest(), name, actor)
        if found is not None:
            done.recorded, done.micros, done.duplicate = found.rows, found.micros, found.duplicate
        done.again = found is None and not done.bad
        done.written = found is not None and not dry_run
        if not done.written:
            conn.rollback()
    done.bad.sort()
    return done


def _staged(file: SpendFile, done: Backfilled, digest: hashlib._Hash) -> Iterator[StagedLine]:
    """The lines that read; the others are refused."""
    for row in file.rows():
        done.rows += 1
        if isinstance(row, Malformed):
            done.refuse(BadLine(row.line, row.field, row.why))
        elif row.at is None:
            done.refuse(
                BadLine(row.line, "at", "at is empty: write the instant of the spend, such as 2013-10-21T10:29:02Z")
            )
        else:
            digest.update(_content(row))
            yield StagedLine(row.line, row.at, row.event_id, row.brand, row.campaign, row.amount_micros)


def _content(row: SpendRow) -> bytes:
    """A line as the digest has it. No name contains a line end or a tab."""
    assert row.at is not None
    return f"{row.at.isoformat()}\t{row.event_id or ''}\t{row.brand}\t{row.campaign}\t{row.amount_micros}\n".encode()
