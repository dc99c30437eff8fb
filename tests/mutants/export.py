"""Faults in exporting closed days, and in what retention and verify make of an export."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant as M

EXPORT: Final = "tests/flows/test_export.py::test_"
KEPT: Final = "tests/flows/test_retention_of_exports.py::test_"

# fmt: off
SENT_OUT: Final = (
    M("a day is exported before every shard has closed it", "engine/flows/export/exporter.py",
      "        if shards:\n", "        if not shards and shards:\n",
      (EXPORT + "what_is_not_closed_or_not_over_or_gone_is_refused",)),
    M("half of a day stays beside the others", "engine/flows/export/places.py",
      "            with suppress(OSError):\n                _remove(writing)\n", "            pass\n",
      (EXPORT + "left_half_way_nothing_is_there_and_what_was_there_stays",)),
    M("a check that fails leaves an export verified", "engine/flows/export/exporter.py",
      "                exported.unverify(conn, day, place.name)\n            raise", "                pass\n            raise",
      (KEPT + "a_day_stays_until_its_export_is_verified_and_then_goes",)),
    M("retention believes an export that nobody verified", "engine/ledger/exported.py",
      "WHERE day = :day AND verified_at IS NOT NULL", "WHERE day = :day",
      (KEPT + "a_day_stays_until_its_export_is_verified_and_then_goes",)),
    M("retention drops rows that came after the export", "engine/ledger/exported.py",
      "if (rows, micros) in found:", "if found:",
      (KEPT + "rows_that_came_after_the_export_keep_the_day_until_it_is_exported_anew",)),
    M("verify takes a log that lost rows for a newer one", "engine/ledger/exported.py",
      "return self.logged_rows > self.rows", "return self.logged_rows != self.rows",
      (EXPORT + "verify_fails_where_the_log_has_less_than_was_exported",)),
)
# fmt: on
