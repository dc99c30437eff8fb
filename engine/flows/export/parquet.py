"""Rows as Parquet by pyarrow: written shard by shard in bounded memory, and read back. The only module that imports it at its head.

Columns that repeat are dictionaries; numbers that rise are differences; texts that differ are their lengths and bytes. All of it is zstd.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import date
from typing import IO, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from engine.flows.export.manifest import FileEntry, NotWhole, Place, name_of
from engine.ledger.day_rows import COLUMNS, Part

ROW_GROUP: Final = 131_072
"""Rows that are in memory before they are written: about 20 MB."""
_BLOCK: Final = 2 << 20
_INSTANT: Final = pa.timestamp("us", "UTC")
_TYPES: Final = {
    "shard": pa.int16(),
    "generation": pa.int32(),
    "n": pa.int64(),
    "position": pa.int32(),
    "recorded_at": _INSTANT,
    "day": pa.date32(),
    "brand_id": pa.int64(),
    "campaign_id": pa.int64(),
    "amount_micros": pa.int64(),
    "kind": pa.string(),
    "event_id": pa.string(),
    "request_id": pa.string(),
    "occurred_at": _INSTANT,
    "hold_id": pa.string(),
}
_NULLABLE: Final = ("event_id", "occurred_at", "hold_id")
SCHEMA: Final = pa.schema([pa.field(name, _TYPES[name], nullable=name in _NULLABLE) for name in COLUMNS])
_DIFFERENCES: Final = ("n", "position", "recorded_at", "amount_micros", "occurred_at")
_LENGTHS: Final = ("event_id", "request_id", "hold_id")
_ENCODINGS: Final = dict.fromkeys(_DIFFERENCES, "DELTA_BINARY_PACKED") | dict.fromkeys(
    _LENGTHS, "DELTA_LENGTH_BYTE_ARRAY"
)
_DICTIONARIES: Final = [name for name in COLUMNS if name not in _ENCODINGS]


class DaySums:
    """What rows add up to by brand and kind, a table at a time."""

    def __init__(self) -> None:
        self.of: dict[tuple[int, str], Part] = {}

    def add(self, table: Any) -> None:
        """Adds the rows of a table."""
        found = table.group_by(["brand_id", "kind"]).aggregate([("amount_micros", "count"), ("amount_micros", "sum")])
        for row in found.to_pylist():
            key = row["brand_id"], row["kind"]
            self.of[key] = self.of.get(key, Part(0, 0)).plus(row["amount_micros_count"], row["amount_micros_sum"])


class Hashed:
    """A file to write, or to read, that knows how many bytes went through it, and their SHA-256."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.bytes = 0
        self.closed = False
        self.abandoned = False

    def write(self, data: Any) -> int:
        """All of it."""
        view = memoryview(data)
        if self.abandoned:
            return view.nbytes
        self._digest.update(view)
        self._file.write(view)
        self.bytes += view.nbytes
        return view.nbytes

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        """Whoever opened the file closes it."""

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def read_rows(file: IO[bytes]) -> Iterator[Any]:
    """The rows of a CSV as PostgreSQL copies them out, a batch at a time. Raises NotWhole for what is none."""
    reading = pyarrow.csv.ReadOptions(column_names=list(COLUMNS), block_size=_BLOCK)
    converting = pyarrow.csv.ConvertOptions(
        column_types=dict(_TYPES),
        timestamp_parsers=[pyarrow.csv.ISO8601],
        # NULL is written without quotes, an empty text with them.
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    try:
        # An empty file has no block to open, and pyarrow says so as an error.
        if not file.peek(1):  # type: ignore[attr-defined]  # a BufferedReader
            return
        yield from pyarrow.csv.open_csv(file, reading, convert_options=converting)
    except pa.ArrowInvalid as error:
        raise NotWhole(f"the log has rows that cannot be exported: {_line(error)}") from None


def of_one_shard(batches: Iterator[Any]) -> Iterator[tuple[int, Any]]:
    """Batches cut where their shard changes; they come in the order of shards."""
    for batch in batches:
        start = 0
        shards = batch.column("shard")
        while start < batch.num_rows:
            shard = shards[start].as_py()
            # Sorted: the rows of this shard are all those up to it.
            end = start + pc.sum(pc.less_equal(shards.slice(start), shard)).as_py()
            yield shard, batch.slice(start, end - start)
            start = end


class ShardWriter:
    """Writes the file of one shard."""

    def __init__(self, shard: int, file: IO[bytes], sums: DaySums) -> None:
        self.shard = shard
        self._sums = sums
        self._hashed = Hashed(file)
        self._writer = pq.ParquetWriter(
            pa.PythonFile(self._hashed, mode="w"),
            SCHEMA,
            compression="zstd",
            use_dictionary=_DICTIONARIES,
            column_encoding=_ENCODINGS,
            store_schema=False,
        )
        self._waiting: list[Any] = []
        self._held = self._rows = 0
        self._first: Place | None = None
        self._last: Place | None = None

    def add(self, batch: Any) -> None:
        """Takes rows of this shard, in order."""
        self._waiting.append(batch)
        self._held += batch.num_rows
        while self._held >= ROW_GROUP:
            table = pa.Table.from_batches(self._waiting)
            self._write(table.slice(0, ROW_GROUP))
            self._held -= ROW_GROUP
            self._waiting = table.slice(ROW_GROUP).to_batches()

    def finish(self) -> FileEntry:
        """Writes the rest and the file's end."""
        if self._held:
            self._write(pa.Table.from_batches(self._waiting))
        self._writer.close()
        assert self._first is not None and self._last is not None
        return FileEntry(
            name_of(self.shard),
            self.shard,
            self._rows,
            self._hashed.bytes,
            self._hashed.sha256,
            self._first,
            self._last,
        )

    def abandon(self) -> None:
        """Writes nothing any more: pyarrow writes a file's end even when it is only collected."""
        self._hashed.abandoned = True

    def _write(self, table: Any) -> None:
        table = table.cast(SCHEMA)
        self._sums.add(table)
        self._first = self._first or place_of(table, 0)
        self._last = place_of(table, table.num_rows - 1)
        self._rows += table.num_rows
        self._writer.write_table(table, row_group_size=ROW_GROUP)


def place_of(table: Any, at: int) -> Place:
    """Where a row is in its shard's log."""
    return Place(*(table.column(name)[at].as_py() for name in Place._fields))


def check_file(entry: FileEntry, day: date, file: IO[bytes], sums: DaySums, between: Callable[[], object]) -> None:
    """Reads a file back, a row group at a time, and adds its rows to the sums. Raises NotWhole where it is not what its entry says."""
    try:
        read = pq.ParquetFile(pa.PythonFile(file, mode="r"))
        if not read.schema_arrow.equals(SCHEMA):
            raise NotWhole(f"{entry.name} has other columns than version 1")
        if read.metadata.num_rows != entry.rows:
            raise NotWhole(f"{entry.name} has {read.metadata.num_rows} rows, its manifest has {entry.rows}")
        first: Place | None = None
        last: Place | None = None
        for group in range(read.num_row_groups):
            between()
            table = read.read_row_group(group)
            _same_throughout(entry, table, day)
            sums.add(table)
            begins = place_of(table, 0)
            if (last is not None and begins < last) or not _rises(table):
                raise NotWhole(f"the rows of {entry.name} are not in order")
            first, last = first or begins, place_of(table, table.num_rows - 1)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise NotWhole(f"{entry.name} cannot be read: {_line(error)}") from None
    if (first, last) != (entry.first, entry.last):
        raise NotWhole(f"{entry.name} begins or ends with another row than its manifest says")


def _same_throughout(entry: FileEntry, table: Any, day: date) -> None:
    for name, wanted in (("shard", entry.shard), ("day", day)):
        ends = pc.min_max(table.column(name)).as_py()
        if (ends["min"], ends["max"]) != (wanted, wanted):
            raise NotWhole(f"{entry.name} has rows of another {name} than {wanted}")


def _rises(table: Any) -> bool:
    """Whether no row's place is before that of the row before it. A place that is there twice is the log's fault, which V4 reports."""
    before, after = table.slice(0, table.num_rows - 1), table.slice(1)
    rises = pc.greater_equal(after.column("position"), before.column("position"))
    for name in ("n", "generation"):
        mine, theirs = after.column(name), before.column(name)
        rises = pc.or_(pc.greater(mine, theirs), pc.and_(pc.equal(mine, theirs), rises))
    return bool(pc.all(rises).as_py()) if table.num_rows > 1 else True


def memory_peak() -> int:
    """The most bytes that pyarrow held at once in this process."""
    return int(pa.default_memory_pool().max_memory())


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
