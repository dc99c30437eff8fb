"""What was exported, and whether the log still agrees with it: for the export itself, for retention, and for `verify`."""

from __future__ import annotations

from datetime import date, datetime
from typing import Final, NamedTuple

from sqlalchemy import Connection, case, func, select, text
from sqlalchemy.dialects.postgresql import insert

from engine.ledger.exported_model import ExportedDay

_UNVERIFY: Final = text(
    "UPDATE exported_day SET verified_at = NULL WHERE day = :day AND place = :place AND verified_at IS NOT NULL"
)
_VERIFIED: Final = text("SELECT rows, micros FROM exported_day WHERE day = :day AND verified_at IS NOT NULL")
_DROPPED_AND_LOGGED: Final = text(
    "SELECT coalesce(sum(rows), 0)::bigint AS rows, coalesce(sum(micros), 0)::bigint AS micros FROM"
    " (SELECT rows, spend_micros + correction_micros AS micros FROM dropped_day WHERE day = :day"
    " UNION ALL SELECT count(*), coalesce(sum(amount_micros), 0) FROM spend WHERE day = :day) AS parts"
)
# Sums of a day are in campaign_day; only where something is apart, or was dropped, are the day's rows counted.
_TO_LOOK_AT: Final = text(
    "SELECT e.day, e.place, e.rows, e.micros FROM exported_day AS e LEFT JOIN"
    " (SELECT day, sum(spend_micros)::bigint AS micros FROM campaign_day WHERE day IN (SELECT day FROM exported_day) GROUP BY day) AS s"
    " USING (day) WHERE e.micros <> coalesce(s.micros, 0) OR e.day IN (SELECT day FROM dropped_day) ORDER BY e.day, e.place"
)


class Export(NamedTuple):
    """One row of exported_day."""

    day: date
    place: str
    rows: int
    micros: int
    manifest_sha256: str
    exported_at: datetime
    verified_at: datetime | None


class Apart(NamedTuple):
    """An export, and what the log has of its day: rows that were dropped included."""

    day: date
    place: str
    rows: int
    micros: int
    logged_rows: int
    logged_micros: int

    @property
    def outdated(self) -> bool:
        """Whether rows came after the export: a correction, or an entry from the quarantine. Nothing is lost then."""
        return self.logged_rows > self.rows


def record(connection: Connection, day: date, place: str, rows: int, micros: int, manifest_sha256: str) -> None:
    """Records an export whose files were read back just now and add up."""
    statement = insert(ExportedDay).values(
        day=day, place=place, rows=rows, micros=micros, manifest_sha256=manifest_sha256, verified_at=func.now()
    )
    new = statement.excluded
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["day", "place"],
            set_={
                "rows": new.rows,
                "micros": new.micros,
                "manifest_sha256": new.manifest_sha256,
                "verified_at": new.verified_at,
                # A check of the same files is no new export.
                "exported_at": case(
                    (ExportedDay.manifest_sha256 == new.manifest_sha256, ExportedDay.exported_at), else_=func.now()
                ),
            },
        )
    )


def find(connection: Connection, day: date, place: str) -> Export | None:
    """The export of a day at a place, if one was recorded."""
    query = select(*(getattr(ExportedDay, name) for name in Export._fields))
    row = connection.execute(query.where(ExportedDay.day == day, ExportedDay.place == place)).one_or_none()
    return None if row is None else Export(*row)


def unverify(connection: Connection, day: date, place: str) -> None:
    """Before an export is replaced, and when its files do not add up: retention keeps the day then."""
    connection.execute(_UNVERIFY, {"day": day, "place": place})


def why_kept(connection: Connection, day: date, rows: int, micros: int) -> str | None:
    """Why a day with these rows in the log must not be dropped yet; None where a verified export has exactly them."""
    found = [(row.rows, row.micros) for row in connection.execute(_VERIFIED, {"day": day})]
    if (rows, micros) in found:
        return None
    return f"{'rows came after its export' if found else 'no export of it is verified'}: run `budget-engine export`"


def counted(connection: Connection) -> int:
    """How many exports are recorded."""
    count: int = connection.execute(text("SELECT count(*) FROM exported_day")).scalar_one()
    return count


def apart(connection: Connection) -> list[Apart]:
    """The exports that are not what the log has of their day."""
    out = []
    for row in list(connection.execute(_TO_LOOK_AT)):
        logged = connection.execute(_DROPPED_AND_LOGGED, {"day": row.day}).one()
        if (logged.rows, logged.micros) != (row.rows, row.micros):
            out.append(Apart(row.day, row.place, row.rows, row.micros, logged.rows, logged.micros))
    return out
