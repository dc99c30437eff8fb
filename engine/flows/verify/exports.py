"""V16: what was exported is what the log has. Files are read by `export --check`; here their recorded sums are compared."""

from __future__ import annotations

from sqlalchemy import Engine

from engine.flows.verify.findings import Check
from engine.ledger import exported


class Exports:
    """Compares the manifests that were recorded with the log's own totals, dropped rows included."""

    def __init__(self, db: Engine) -> None:
        self._db = db

    def check(self) -> Check:
        """V16. An export that misses rows which came after it is outdated, and no finding: the log has them."""
        check = Check("V16", "export: each exported day has the rows and sums of the log")
        with self._db.connect() as conn:
            count = exported.counted(conn)
            apart = exported.apart(conn)
        outdated = [one for one in apart if one.outdated]
        check.checked = f"{count} exports"
        if outdated:
            check.checked += (
                f", {len(outdated)} to repeat because rows came later: {outdated[0].day} in {outdated[0].place}"
            )
        for one in apart:
            if not one.outdated:
                check.find(
                    f"{one.day} in {one.place}: {one.rows} rows with {one.micros} micros were exported,"
                    f" the log has {one.logged_rows} with {one.logged_micros}",
                    f"day {one.day}",
                    one.micros - one.logged_micros,
                )
        return check
