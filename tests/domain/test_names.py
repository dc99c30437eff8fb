"""One name, one spelling: what looks like one name is one name, whoever types it and on whatever keyboard."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.names import clean_name, likeness
from engine.errors import InvalidName

SAME = [
    ("Cafe\u0301", "Café"),
    ("A\u030angstro\u0308m", "Ångström"),
    ("Acme Co ", "Acme Co"),
    ("\u00a0Acme\u00a0Co", "Acme Co"),
    ("Acme \u2003 Co", "Acme Co"),
    ("Acme\u202fCo\u3000", "Acme Co"),
    ("Acme  Co", "Acme Co"),
]


@pytest.mark.parametrize(("written", "kept"), SAME, ids=ascii)
def test_what_looks_the_same_is_kept_in_one_spelling(written: str, kept: str) -> None:
    assert clean_name(written) == kept == clean_name(kept)


UNSEEN = {
    "\u200b": "ZERO WIDTH SPACE (U+200B)",
    "\u200c": "ZERO WIDTH NON-JOINER (U+200C)",
    "\u200d": "ZERO WIDTH JOINER (U+200D)",
    "\u2060": "WORD JOINER (U+2060)",
    "\ufeff": "ZERO WIDTH NO-BREAK SPACE (U+FEFF)",
    "\u00ad": "SOFT HYPHEN (U+00AD)",
    "\u200e": "LEFT-TO-RIGHT MARK (U+200E)",
    "\u200f": "RIGHT-TO-LEFT MARK (U+200F)",
    "\u202e": "RIGHT-TO-LEFT OVERRIDE (U+202E)",
    "\u2066": "LEFT-TO-RIGHT ISOLATE (U+2066)",
    "\u2028": "LINE SEPARATOR (U+2028)",
    "\u3164": "HANGUL FILLER (U+3164)",
    "\u2800": "BRAILLE PATTERN BLANK (U+2800)",
    "\ufe0f": "VARIATION SELECTOR-16 (U+FE0F)",
    "\n": "LINE FEED (U+000A)",
    "\t": "TABULATION (U+0009)",
    "\0": "NULL (U+0000)",
    "\x1b": "ESCAPE (U+001B)",
    "\x85": "NEXT LINE (U+0085)",
    "\x01": "control character U+0001",
    "\ud800": "U+D800",
}


@pytest.mark.parametrize(("sign", "named"), UNSEEN.items(), ids=ascii)
def test_a_sign_that_nobody_can_see_is_refused_by_its_name(sign: str, named: str) -> None:
    with pytest.raises(InvalidName) as refused:
        clean_name(f"Ac{sign}me", "brand")
    assert named in str(refused.value)
    assert refused.value.field == "brand"
    assert sign not in str(refused.value), "a message must not carry it on"


def test_names_of_other_scripts_are_kept_as_they_are() -> None:
    for name in ("東京", "Ñandú", "Ελλάδα", "مرسى", "हिन्दी", "Žluťoučký kůň", "AT&T <b>", "🎈"):
        assert clean_name(name) == name


@given(st.text())
def test_any_text_is_a_name_in_one_spelling_or_a_refusal(text: str) -> None:
    try:
        name = clean_name(text)
    except InvalidName as refused:
        assert "\n" not in str(refused)
        return
    assert clean_name(name) == name == unicodedata.normalize("NFC", name) == likeness(name)
    assert likeness(text) == name
