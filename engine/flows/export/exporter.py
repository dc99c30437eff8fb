"""Exports closed days, and checks what was exported: the order of steps, and every refusal in one line."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date
from typing import IO, TYPE_CHECKING, Any, Final, Literal

import psycopg2
from sqlalchemy import Connection, Engine

from engine.errors import BudgetError, Refused
from engine.flows.export import manifest as manifests
from engine.flows.export.manifest import LARGEST, NAME, FileEntry, Manifest, NotWhole
from engine.flows.export.places import Draft, ExportPlace, Folder, PlaceRefused
from engine.flows.export.stream import Copying
from engine.ledger import day_rows, exported, retention
from engine.ledger.audit import closed_shards
from engine.ledger.database import writing
from engine.ledger.day_rows import Sums
from engine.ledger.locks import Lock, try_take

if TYPE_CHECKING:
    from engine.flows.export import parquet

_BLOCK: Final = 1 << 20
_SHOWN: Final = 5
State = Literal["written", "unchanged", "replaced", "verified"]


class MissingExtra(BudgetError):
    """The engine is installed without what an export needs."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export did, or a check found whole. why: for what reason a day that was there was written again."""

    day: date
    place: str
    state: State
    manifest: Manifest
    manifest_sha256: str
    why: str = ""


class Exporter:
    """Exports days of one installation. instance: its uuid, which the manifests carry."""

    def __init__(self, db: Engine, instance: str) -> None:
        self._db = db
        self._instance = instance

    def export(
        self, day: date, to: str, *, again: bool = False, between: Callable[[], object] = lambda: None
    ) -> Exported:
        """Writes a closed day to a place, reads it back, and records it. A day that is there and the same stays, unless `again`.

        `between` is called now and then, and may raise. Raises Refused, PlaceRefused, MissingExtra, NotWhole, ServerAway.
        """
        place = place_of(to)
        # One snapshot: the sums are those of the rows that are copied, whatever is persisted meanwhile.
        with self._db.connect().execution_options(isolation_level="REPEATABLE READ") as conn, conn.begin():
            self._refuse_unless_ready(conn, day)
            sums = day_rows.sums(conn, day)
            with _told(place):
                found, why = self._found(place, day, sums, between)
                if found is not None and not why and not again:
                    return self._recorded(Exported(day, place.name, "unchanged", found, _sha256(found)))
                with writing(self._db) as saving:
                    exported.unverify(saving, day, place.name)
                made = self._write(conn, place, day, sums, between)
            state: State = "written" if found is None and not why else "replaced"
            return self._recorded(Exported(day, place.name, state, made, _sha256(made), why))

    def check(self, day: date, to: str, between: Callable[[], object] = lambda: None) -> Exported:
        """Reads an exported day back and compares it with its manifest; records the result. Raises NotWhole, PlaceRefused."""
        place = place_of(to)
        try:
            with _told(place):
                made = _read_manifest(place, day)
                if made is None:
                    raise NotWhole(f"{day} has no {NAME} in {place.name}: it was not exported, or not to its end")
                self._refuse_strangers(made, place, day)
                _check(made, place.names(day), lambda name: place.open(day, name), between)
        except NotWhole as error:
            with writing(self._db) as conn:
                exported.unverify(conn, day, place.name)
            raise NotWhole(f"the export of {day} in {place.name} does not add up: {error}") from None
        return self._recorded(Exported(day, place.name, "verified", made, _sha256(made)))

    def days(self, to: str) -> list[date]:
        """The days that a place has. Raises PlaceRefused."""
        place = place_of(to)
        with _told(place):
            return place.days()

    def _refuse_unless_ready(self, conn: Connection, day: date) -> None:
        if not try_take(conn, Lock.EXPORT, day.toordinal()):
            raise Refused(f"another process exports {day} now: wait for its end")
        if retention.dropped_days(conn, day, day):
            raise Refused(f"rows of {day} were dropped from the log: it cannot be exported whole any more")
        shards = day_rows.open_shards(conn, day)
        if not shards and not closed_shards(conn, day):
            raise Refused(f"no shard has closed {day}: it is not over, or is before the first brand")
        if shards:
            some = ", ".join(map(str, shards[:_SHOWN])) + (", ..." if len(shards) > _SHOWN else "")
            what = f"{len(shards)} shards have" if len(shards) > 1 else "1 shard has"
            raise Refused(
                f"{day} is not exported, because {what} not closed it ({some}): run `budget-engine close-periods`"
            )

    def _found(
        self, place: ExportPlace, day: date, sums: Sums, between: Callable[[], object]
    ) -> tuple[Manifest | None, str]:
        """What the place has of a day, and why it has to be written again."""
        try:
            found = _read_manifest(place, day)
            if found is None:
                return None, f"it had no {NAME}" if place.names(day) else ""
            self._refuse_strangers(found, place, day)
            if found.schema_version != manifests.SCHEMA_VERSION:
                return found, f"it had version {found.schema_version} of the columns"
            if differs := found.differs(sums):
                return found, differs
            _check(found, place.names(day), lambda name: place.open(day, name), between)
        except NotWhole as error:
            return None, str(error)
        return found, ""

    def _refuse_strangers(self, found: Manifest, place: ExportPlace, day: date) -> None:
        if found.instance != self._instance:
            raise Refused(f"{day} in {place.name} is the export of another installation: name another place")

    def _write(
        self, conn: Connection, place: ExportPlace, day: date, sums: Sums, between: Callable[[], object]
    ) -> Manifest:
        with place.draft(day, self._instance) as draft:
            entries, written = _write_files(conn, day, draft, between)
            made = Manifest.of(self._instance, day, written, entries)
            if differs := made.differs(sums):
                raise NotWhole(f"{day} was not exported: {differs} by PostgreSQL's own sums")
            _check(made, [entry.name for entry in entries], draft.read, between)
            draft.commit(NAME, made.text().encode())
            return made

    def _recorded(self, done: Exported) -> Exported:
        with writing(self._db) as conn:
            exported.record(conn, done.day, done.place, done.manifest.rows, done.manifest.micros, done.manifest_sha256)
        return done


def place_of(to: str) -> ExportPlace:
    """A folder or, for s3://, a bucket. Raises InvalidInput, MissingExtra."""
    _parquet()
    if to.startswith("s3://"):
        from engine.flows.export.bucket import Bucket

        return Bucket(to)
    return Folder(to)


def _parquet() -> Any:
    """The module that imports pyarrow. Raises MissingExtra."""
    try:
        from engine.flows.export import parquet
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "pyarrow":
            raise
        raise MissingExtra(
            "an export needs the package pyarrow, which is not installed: pip install 'budget-engine[export]'"
        ) from None
    return parquet


@contextmanager
def _told(place: ExportPlace) -> Iterator[None]:
    """Errors of files and of PostgreSQL's copy, in one line each."""
    try:
        yield
    except psycopg2.Error as error:
        raise PlaceRefused(f"PostgreSQL could not copy the day out: {day_rows.refused(error)}") from error
    except OSError as error:
        said = error.strerror or " ".join(str(error).split())[:200]
        todo = "nothing half-written is left, and nothing is lost; correct that and export again"
        raise PlaceRefused(f"{place.name} could not be read or written ({said}): {todo}") from error


def _write_files(
    conn: Connection, day: date, draft: Draft, between: Callable[[], object]
) -> tuple[list[FileEntry], Sums]:
    """Streams the day's rows into a file a shard."""
    arrow = _parquet()
    sums: parquet.DaySums = arrow.DaySums()
    entries: list[FileEntry] = []
    raw: Any = conn.connection.driver_connection
    copying = Copying(lambda into: day_rows.copy_day(conn, day, into), raw.cancel)
    try:
        with copying.running() as rows, closing(_by_shard(arrow, rows, draft, sums, entries)) as shards:
            for writer, batch in shards:
                writer.add(batch)
                between()
    except BaseException:
        # The copy was left in its middle, and so was its connection.
        conn.invalidate()
        raise
    return entries, sums.of


def _by_shard(
    arrow: Any, rows: IO[bytes], draft: Draft, sums: parquet.DaySums, entries: list[FileEntry]
) -> Generator[tuple[parquet.ShardWriter, Any], None, None]:
    """Each batch with the writer of its shard; a shard's file is finished when the next one begins."""
    batches = arrow.of_one_shard(arrow.read_rows(rows))
    shard_and_batch = next(batches, None)
    while shard_and_batch is not None:
        shard = shard_and_batch[0]
        with closing(draft.create(manifests.name_of(shard))) as file:
            writer = arrow.ShardWriter(shard, file, sums)
            try:
                while shard_and_batch is not None and shard_and_batch[0] == shard:
                    yield writer, shard_and_batch[1]
                    shard_and_batch = next(batches, None)
                entries.append(writer.finish())
            except BaseException:
                writer.abandon()
                raise


def _read_manifest(place: ExportPlace, day: date) -> Manifest | None:
    try:
        with closing(place.open(day, NAME)) as file:
            raw = file.read(LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if len(raw) > LARGEST:
        raise NotWhole(f"its {NAME} is larger than {LARGEST >> 20} MB")
    return manifests.read(raw, day)


def _check(made: Manifest, names: list[str], open_: Callable[[str], IO[bytes]], between: Callable[[], object]) -> None:
    """Reads every file: its digest, then its rows, which must add up to the manifest. Raises NotWhole."""
    arrow = _parquet()
    wanted = {entry.name for entry in made.files}
    if more := sorted(name for name in set(names) - wanted if name.endswith(".parquet")):
        raise NotWhole(f"{more[0]} is there, and its {NAME} does not name it")
    sums = arrow.DaySums()
    for entry in made.files:
        try:
            with closing(open_(entry.name)) as file:
                _check_digest(entry, file, between)
                file.seek(0)
                arrow.check_file(entry, made.day, file, sums, between)
        except FileNotFoundError:
            raise NotWhole(f"{entry.name} is not there") from None
    if differs := made.differs(sums.of):
        raise NotWhole(differs)


def _check_digest(entry: FileEntry, file: IO[bytes], between: Callable[[], object]) -> None:
    digest, size = hashlib.sha256(), 0
    while block := file.read(_BLOCK):
        digest.update(block)
        size += len(block)
        between()
    if (size, digest.hexdigest()) != (entry.bytes, entry.sha256):
        what = (
            f"{size} bytes, its manifest has {entry.bytes}"
            if size != entry.bytes
            else "another SHA-256 than its manifest"
        )
        raise NotWhole(f"{entry.name} has {what}")


def _sha256(made: Manifest) -> str:
    return hashlib.sha256(made.text().encode()).hexdigest()
