"""The documents are written to be read once: short lines, short sentences, standard terms, and a glossary for the rest.

What is measured, and what is not:
- A line of prose has at most 120 characters. Rows of tables, code blocks, and lines that are one link, image or address are exempt.
- A sentence has at most 40 words, in table cells too, and a document's median sentence fewer than 20. A code span is one word.
- A line of prose holds no more than one sentence; rows of tables may hold several.
- Private terms are looked for outside code, so names in code are not. A block that a program writes is not read.
- Decision records before number 45 stay as they were written: only their first sentence is read.
"""

from __future__ import annotations

import re
from pathlib import Path
from statistics import median
from typing import Final

import pytest

from tests.docs.documents import DECISIONS, DOCUMENTS, README, ROOT
from tests.docs.sentences import is_link, is_row, lines, plain, starts_of_sentences, units, words

LONGEST_LINE: Final = 120
MOST_WORDS: Final = 40
MEDIAN_WORDS: Final = 20
MOST_TERMS: Final = 30
GLOSSARY: Final = ROOT / "docs" / "glossary.md"
WHOLE_FROM: Final = 45
"""The first decision record that is read whole."""
PROSE: Final = tuple(
    path
    for path in DOCUMENTS
    if path.parent != DECISIONS or (path.name[:4].isdigit() and int(path.name[:4]) >= WHOLE_FROM)
)

INSTEAD: Final = {
    r"awake|asleep": "busy-polls; blocks",
    r"(?:shorte[rs]t?|quicke[rs]t?|general) ways?": "fast path; slow path",
    r"quick(?:er|est|ly)?": "fast",
    r"parcels?": "pending request; coalesced batch",
    r"(?<!\bin )turns?(?! (?:off|on|into)\b)|turned|takes? turns?": "pipeline window, page, batch, rotate, advance, change",
    r"told|tells?|said|says?": "report, describe, format",
    r"words?": "status, text, term, message",
    r"homes?": "brand_id, shard, prefix",
    r"pictures?": "eligibility view; snapshot",
    r"wires": "connections",
    r"rung|rings?(?! buffer)|bells?": "enqueue, trigger, every",
    r"(?<!the )rests?|rested": "pauses, is throttled",
    r"walks?|walked": "paced scan, page through, path",
    r"stays? (?:away|for)": "is down; waits for",
    r"stands?|stood": "exists, is",
    r"joins? on(?:to)?": "is contiguous with",
    r"carr(?:y|ies|ied) (?:over|into)": "persist",
    r"judge[sd]?|judging|judgements?": "evaluate",
    r"asks?|asked|asking|questions?": "call, read, query; try call",
    r"facts?": "record call; value",
    r"memories|memory of (?:ids|events|requests)|recall": "dedup window; look up",
    r"slips?|twins?": "planted bugs (mutants); reference model",
    r"so many|as ever|(?:of|none of) ours": "a number; the thing's name",
    r"writ(?:es?|ten) down|puts? into words": "persist, write, format",
    r"knock(?:s|ed|ing)?": "probe with a new connection",
}
"""A pattern of the private dialect, and what a stranger would write."""
DIALECT: Final = {re.compile(rf"\b(?:{pattern})\b", re.I): instead for pattern, instead in INSTEAD.items()}


def private_terms(text: str) -> list[str]:
    """The private terms in a text, each with what to write instead."""
    read = plain(text)
    return [f"{found[0]!r}: write {instead}" for pattern, instead in DIALECT.items() if (found := pattern.search(read))]


def first_sentence(record: Path) -> str:
    """What stands between the title of a decision record and its context."""
    head = record.read_text(encoding="utf-8").partition("\n**Context.**")[0]
    return " ".join(head.partition("\n")[2].split())


def records() -> list[Path]:
    """The decision records, in order."""
    return sorted(path for path in DECISIONS.glob("*.md") if path.name != "README.md")


@pytest.mark.parametrize("path", PROSE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_line_is_too_long_to_read_beside_another(path: Path) -> None:
    for number, line in lines(path):
        assert len(line) <= LONGEST_LINE or is_row(line) or is_link(line), f"{path.name}:{number}: {len(line)}"


@pytest.mark.parametrize("path", PROSE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_line_holds_one_sentence(path: Path) -> None:
    for number, line in lines(path):
        assert is_row(line) or line.startswith("#") or starts_of_sentences(line) <= 1, f"{path.name}:{number}: {line}"


@pytest.mark.parametrize("path", PROSE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_sentences_are_short(path: Path) -> None:
    for unit in units(path):
        for sentence in unit.sentences:
            assert len(words(sentence)) <= MOST_WORDS, f"{path.name}:{unit.number}: {len(words(sentence))} words"
    lengths = [len(words(sentence)) for unit in units(path) if unit.kind == "text" for sentence in unit.sentences]
    assert not lengths or median(lengths) < MEDIAN_WORDS


@pytest.mark.parametrize("path", PROSE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_private_term_is_used_where_a_standard_one_exists(path: Path) -> None:
    found = [f"{path.name}:{unit.number}: {term}" for unit in units(path) for term in private_terms(unit.text)]
    assert found == []


def test_each_decision_record_begins_with_one_plain_sentence_of_what_was_decided() -> None:
    for record in records():
        sentence = first_sentence(record)
        assert sentence.endswith(".") and starts_of_sentences(sentence) == 1, f"{record.name}: {sentence!r}"
        assert len(words(plain(sentence))) <= MOST_WORDS, record.name
        assert private_terms(sentence) == [], record.name


def test_the_list_of_decisions_gives_each_record_s_first_sentence() -> None:
    listed = (DECISIONS / "README.md").read_text(encoding="utf-8")
    for record in records():
        assert f"]({record.name})\n   {first_sentence(record)}\n" in listed, record.name


def glossary() -> list[tuple[str, str, str]]:
    """The glossary's rows: term, meaning, link."""
    rows = re.findall(r"^\| \*\*(.+?)\*\* \| (.+?) \| (.+?) \|$", GLOSSARY.read_text(encoding="utf-8"), re.M)
    assert rows
    return rows


def test_the_glossary_is_short_sorted_and_defines_each_term_once() -> None:
    terms = [term for term, _, _ in glossary()]
    assert len(terms) <= MOST_TERMS
    assert terms == sorted(set(terms))
    table = [line for _, line in lines(GLOSSARY) if is_row(line)]
    assert len(table) == len(terms) + 2, "every row of the table is a term"


def test_each_term_of_the_glossary_links_to_the_file_in_which_it_lives() -> None:
    for term, _, link in glossary():
        targets = re.findall(r"\[[^\]]+\]\(([^)#\s]+)", link)
        assert targets, term
        for target in targets:
            assert (GLOSSARY.parent / target).resolve().is_file(), f"{term}: {target}"


def test_each_term_of_the_glossary_is_used_by_the_documents() -> None:
    prose = {path: " ".join(unit.text for unit in units(path)).lower() for path in PROSE if path != GLOSSARY}
    for term, _, _ in glossary():
        assert any(re.search(rf"\b{re.escape(term)}", text) for text in prose.values()), term


def test_the_readme_and_the_architecture_lead_to_the_glossary() -> None:
    assert "(docs/glossary.md)" in README.read_text(encoding="utf-8")
    assert "(glossary.md)" in (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_the_rules_find_what_they_forbid() -> None:
    assert private_terms("Nobody told the twin.") != []
    assert private_terms("`told` and `ReferenceModel` are names in code, in turn.") == []
    assert starts_of_sentences("- **Lead.** One thing. Another thing.") == 2
    assert starts_of_sentences("- **Lead.** One thing, e.g. this.") == 1
