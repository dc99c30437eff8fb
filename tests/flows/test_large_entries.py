"""An entry that is larger than any script writes is set aside as its beginning, size and digest, and stops nothing else."""

from __future__ import annotations

import hashlib

import pytest
from sqlalchemy import text

from engine.errors import BudgetError
from engine.flows.persist import entry_laws
from engine.flows.persist.quarantine import Quarantined
from engine.flows.rebuild import salvage
from engine.live.keys import keys_of_brand
from engine.live.scripts import lua_folder
from engine.wiring import System
from tests.flows.test_persist import rows

SIZE = 3 << 20


def test_a_journal_entry_of_megabytes_is_kept_cut_with_its_digest_and_the_spends_beside_it_are_written(
    ready: System, caplog: pytest.LogCaptureFixture
) -> None:
    brand = ready.manage.create_brand("one", None, None, None, "test").row.id
    campaign = ready.manage.create_campaigns(brand, ["c"], "test")[0].id
    assert ready.client.record_spend(campaign, "1")
    fields = {b"f": b"1", b"r": b"x" * SIZE}
    ready.hot_redis.xadd(keys_of_brand(brand).journal, fields)
    assert ready.client.record_spend(campaign, "2")
    assert ready.persister.drain_all().quarantined == 1
    assert rows(ready, "SELECT sum(amount_micros) FROM spend") == [(3_000_000,)]
    quarantined = Quarantined(ready.db, ready.persister)
    (row,) = quarantined.rows()
    digest = hashlib.sha256(b"".join(name + b"\0" + value + b"\0" for name, value in fields.items())).hexdigest()
    assert row.cut == f"{SIZE + 3} bytes, sha256 {digest}"
    assert sum(map(len, row.fields.values())) < 10_000
    with pytest.raises(BudgetError, match="too large to keep whole"):
        quarantined.retry(row.id, "test")
    with ready.db.connect() as conn:
        assert len(conn.execute(text("SELECT reason FROM quarantine")).scalar_one()) <= 500
    assert max(len(str(vars(record))) for record in caplog.records) < 20_000


def test_python_and_the_scripts_agree_on_what_an_entry_may_hold() -> None:
    constants = (lua_folder() / "lib" / "constants.lua").read_text(encoding="utf-8")
    assert f"local CLOCK_SLACK_MS = {salvage.CLOCK_SLACK_MS}\n" in constants
    assert f"local LAST_INSTANT = {entry_laws.LAST_INSTANT_MS} " in constants
