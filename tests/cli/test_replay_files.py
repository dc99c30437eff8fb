"""What people hand to replay: files of every spreadsheet and export are taken, or told apart in one line, and no line stops another."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from engine.wiring import System
from tests.cli.conftest import Be
from tests.cli.test_replay_command import HEADER, lines, write

pytestmark = pytest.mark.usefixtures("ready")

PLAIN = HEADER + "".join(lines(3))
TAKEN = {
    "semicolons": PLAIN.replace(",", ";").encode(),
    "tabs": PLAIN.replace(",", "\t").encode(),
    "sep line": ("sep=;\r\n" + PLAIN.replace(",", ";")).encode(),
    "quoted sep line and bom": b'\xef\xbb\xbf"sep=\t"\n' + PLAIN.replace(",", "\t").encode(),
    "upper-case header": PLAIN.replace(HEADER, HEADER.upper()).encode(),
    "carriage returns": PLAIN.replace("\n", "\r").encode(),
    "gzip": gzip.compress(PLAIN.encode()),
    "gzip of carriage returns and semicolons": gzip.compress(PLAIN.replace("\n", "\r").replace(",", ";").encode()),
    "two gzips in one": gzip.compress(HEADER.encode()) + gzip.compress("".join(lines(3)).encode()),
}


def test_a_spend_file_of_any_spreadsheet_is_counted_as_the_plain_one_is(be: Be, tmp_path: Path) -> None:
    for number, (kind, content) in enumerate(TAKEN.items()):
        file = tmp_path / f"{number}.csv"
        file.write_bytes(content)
        done = be("replay", str(file), "--json")
        assert (done.status, done.err) == (0, ""), (kind, done.err)
        counted = done.document["duplicate"] + done.document["recorded"]
        assert (done.document["rows"], counted) == (3, 3), kind
    assert be("brand", "list", "--json").document[0]["daily_spend"] == "0.003003"


def test_a_comma_in_a_name_of_a_file_with_semicolons_is_the_names_own(be: Be, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("at;event_id;brand;campaign;amount_micros\n;e1;Acme, Ltd;c;5\n", encoding="utf-8")
    assert be("replay", str(file)).status == 0
    assert be("brand", "list", "--json").document[0]["name"] == "Acme, Ltd"


REFUSED = {
    "utf-16": (PLAIN.encode("utf-16"), "is UTF-16 text, not UTF-8"),
    "utf-16 without a mark": (PLAIN.encode("utf-16-le"), "is UTF-16 text, not UTF-8"),
    "utf-32": (PLAIN.encode("utf-32"), "is UTF-32 text, not UTF-8"),
    "latin-1": (PLAIN.replace("at", "ät", 1).encode("latin-1"), "is not UTF-8 text (byte 0xe4 at place 1)"),
    "workbook": (b"PK\x03\x04" + bytes(90), "is a zip file or a workbook (.xlsx): save it as CSV"),
    "damaged gzip": (gzip.compress(PLAIN.encode())[:30], "is a gzip file that is cut off or damaged"),
    "pipes": (PLAIN.replace(",", "|").encode(), "has no column"),
    "both cases": (b"AT,at,event_id,brand,campaign,amount_micros\n", "the column at twice"),
}


def test_a_file_that_cannot_be_taken_is_told_apart_in_one_line_and_nothing_is_counted(be: Be, tmp_path: Path) -> None:
    for kind, (content, said) in REFUSED.items():
        (tmp_path / "file").write_bytes(content)
        done = be("replay", str(tmp_path / "file"))
        assert (done.status, done.out) == (2, ""), kind
        assert said in done.complaint, kind
        assert "\\x" not in done.complaint, kind
    assert be("brand", "list", "--json").document == []


def test_a_gzip_that_breaks_off_counts_what_came_before_and_fails(be: Be, tmp_path: Path) -> None:
    rows = "".join(f",{os.urandom(16).hex()},Acme,c,5\n" for _ in range(4000))
    packed = gzip.compress((HEADER + rows).encode())
    (tmp_path / "a.csv.gz").write_bytes(packed[: len(packed) // 2])
    done = be("replay", str(tmp_path / "a.csv.gz"), "--json")
    assert done.status == 1
    assert 0 < done.document["recorded"] < 4000
    assert done.document["failed"] == 1
    assert f"line {done.document['recorded'] + 2}: the file is a gzip file that is cut off" in done.complaint


def test_a_dash_is_stdin(be: Be, monkeypatch: pytest.MonkeyPatch) -> None:
    for content in (PLAIN.encode(), gzip.compress(PLAIN.encode())):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        assert be("replay", "-", "--json").document["rows"] == 3
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert "stdin is empty" in be("replay", "-").complaint


def test_stdin_may_be_a_pipe_that_comes_in_drops(environment: dict[str, str]) -> None:
    env = {**os.environ, **environment}
    with subprocess.Popen(
        [sys.executable, "-m", "engine", "replay", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env
    ) as process:
        assert process.stdin is not None
        for byte in PLAIN.encode():
            process.stdin.write(bytes([byte]))
            process.stdin.flush()
        out, _ = process.communicate(timeout=60)
    assert (process.returncode, out.startswith(b"3 rows: 3 recorded")) == (0, True), out


def test_a_thousand_bad_lines_are_twenty_lines_and_a_number(be: Be, tmp_path: Path) -> None:
    rows = [row.replace(",Acme,", ", ,") for row in lines(1254)] + lines(2)
    done = be("replay", write(tmp_path / "a.csv", rows), "--json")
    assert done.status == 1
    assert (done.document["failed"], done.document["recorded"]) == (1254, 2)
    told = done.err.splitlines()
    assert len(told) == 21
    assert told[-1] == "budget-engine: ... and 1,234 more lines failed"


def test_letters_of_any_alphabet_are_told_as_they_were_written(be: Be, tmp_path: Path) -> None:
    done = be("replay", write(tmp_path / "a.csv", ["gestern früh,e,Bö,c,5\n"]), "--json")
    assert "at 'gestern früh' is not an instant" in done.complaint


def test_a_new_campaign_of_an_archived_brand_fails_its_own_line_and_no_other(be: Be, tmp_path: Path) -> None:
    be("replay", write(tmp_path / "a.csv", [",e1,Gone,known,5\n"]))
    be("brand", "archive", "1")
    rows = [",e2,Acme,c,7\n", ",e3,Gone,new,7\n", ",e4,Gone,known,7\n", ",e5,Gone,newer,7\n", *lines(2500)]
    done = be("replay", write(tmp_path / "b.csv", rows), "--json")
    assert done.status == 1
    assert (done.document["recorded"], done.document["failed"]) == (2502, 2), (
        "what was spent on a known campaign is a fact"
    )
    first, second = done.err.splitlines()
    assert first.startswith("budget-engine: line 3: brand 1 'Gone' is archived since ")
    assert second.startswith("budget-engine: line 5: brand 1 'Gone' is archived since ")
    again = be("replay", write(tmp_path / "b.csv", rows), "--json").document
    assert (again["recorded"], again["duplicate"], again["failed"]) == (0, 2502, 2)


@pytest.mark.long
def test_the_65536th_campaign_of_a_brand_fails_its_own_line_and_no_other(
    be: Be, system: System, tmp_path: Path
) -> None:
    be("brand", "create", "Full")
    be("campaign", "create", "1", "first")
    # Campaigns up to the last but two, which were never spent on.
    with system.db.begin() as conn:
        conn.execute(text("UPDATE brand SET next_ordinal = 65534"))
        conn.execute(
            text(
                "INSERT INTO campaign (id, brand_id, ordinal, name) SELECT 65536 + i, 1, i, 'c' || i FROM generate_series(2, 65533) AS i"
            )
        )
    rows = [f",e{name},Full,{name},5\n" for name in ("first", "a", "b", "c", "a", "d")] + lines(2)
    done = be("replay", write(tmp_path / "a.csv", rows), "--json")
    assert (done.document["recorded"], done.document["duplicate"], done.document["failed"]) == (5, 1, 2), done.err
    first, second = done.err.splitlines()
    assert first.startswith("budget-engine: line 5: brand 1 has room for 0 more campaigns")
    assert second.startswith("budget-engine: line 7: brand 1 has room for 0 more campaigns")


def test_a_name_means_the_brand_in_use_and_not_an_archived_one(be: Be, tmp_path: Path) -> None:
    be("replay", write(tmp_path / "a.csv", [",e1,Acme,c,5\n"]))
    be("brand", "archive", "1")
    be("brand", "create", "Acme")
    assert be("replay", write(tmp_path / "b.csv", [",e2,Acme,c,7\n"])).status == 0
    assert [b["daily_spend"] for b in be("brand", "list", "--json").document] == ["0.000007"]


def test_a_name_that_is_spelt_otherwise_is_the_brand_that_is_there(be: Be, tmp_path: Path) -> None:
    be("brand", "create", "Café Nord")
    rows = [",e1,Cafe\u0301 Nord,c,5\n", ",e2,Café\u00a0 Nord ,c,5\n", ",e3,Café\u200b Nord,c,5\n"]
    done = be("replay", write(tmp_path / "a.csv", rows), "--json")
    assert (done.document["recorded"], done.document["failed"]) == (2, 1)
    assert "line 4: brand 'Café\\u200b Nord' holds ZERO WIDTH SPACE (U+200B)" in done.complaint
    assert len(be("brand", "list", "--json").document) == 1
