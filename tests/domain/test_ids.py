"""An id carries its home: the brand and the shard of a campaign follow by arithmetic, for good."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.domain.ids import (
    MAX_BRAND_ID,
    ORDINALS,
    SHARDS,
    are_text_ids,
    brand_of,
    campaign_id_of,
    check_brand_id,
    check_campaign_id,
    check_text_id,
    shard_of,
)
from engine.errors import InvalidId, shown

BRANDS = st.integers(1, MAX_BRAND_ID)


def test_the_two_permanent_numbers_are_what_every_id_was_given_out_with() -> None:
    assert (ORDINALS, SHARDS) == (65_536, 64)
    assert campaign_id_of(81, 1) == 5_308_417
    assert brand_of(5_308_417) == 81
    assert shard_of(81) == 17


@given(BRANDS, st.integers(1, ORDINALS - 1))
def test_a_campaign_always_finds_its_brand_and_shard(brand_id: int, ordinal: int) -> None:
    campaign_id = check_campaign_id(campaign_id_of(brand_id, ordinal))
    assert brand_of(campaign_id) == check_brand_id(brand_id)
    assert 0 <= shard_of(brand_of(campaign_id)) < SHARDS


@given(BRANDS)
def test_no_campaign_id_passes_what_a_lua_number_holds(brand_id: int) -> None:
    highest = campaign_id_of(brand_id, ORDINALS - 1)
    assert int(float(highest)) == highest < 2**53


@pytest.mark.parametrize("value", [0, -1, True, "81", 81.0, None, MAX_BRAND_ID + 1, 10**5000], ids=shown)
def test_what_cannot_be_a_brand_is_refused(value: object) -> None:
    with pytest.raises(InvalidId, match="not a brand id") as refused:
        check_brand_id(value)
    assert refused.value.field == "brand_id"


@pytest.mark.parametrize("value", [0, 1, 65_535, 65_536, 131_072, -5_308_417, True, "5308417", 5308417.0, 2**53, None])
def test_what_cannot_be_a_campaign_is_refused(value: object) -> None:
    with pytest.raises(InvalidId, match="not a campaign id") as refused:
        check_campaign_id(value)
    assert refused.value.field == "campaign_id"


@pytest.mark.parametrize(
    "value",
    [
        "a",
        "x" * 64,
        "f47ac10b-58cc-4372-a567-0e02b2c3d479",
        "SGVsbG8/d29ybGQ+IQ==",
        "a.b_c:d/e+f=g@h~i-j",
        "317e8e08fed2",
    ],
)
def test_uuids_hex_and_base64_pass_as_event_ids(value: str) -> None:
    assert check_text_id(value, "event_id") == value


@pytest.mark.parametrize(
    "value", ["", "x" * 65, "a b", "a{b}", "{17}", "a\n", "\na", "a\x00", "a,b", "a;b", "é", "١٢", 7, None, b"abc"]
)
def test_an_event_id_that_could_break_a_key_or_an_entry_is_refused_in_one_line(value: object) -> None:
    with pytest.raises(InvalidId) as refused:
        check_text_id(value, "event_id")
    assert refused.value.field == "event_id"
    assert str(refused.value).isprintable()


def test_a_letter_of_another_alphabet_that_looks_like_ours_is_named() -> None:
    with pytest.raises(InvalidId, match=r"CYRILLIC SMALL LETTER A \(U\+0430\)"):
        check_text_id("w\u0430n-1", "event_id")


@given(st.lists(st.one_of(st.text("aZ9._:/+=@~-", max_size=66), st.text(max_size=3)), min_size=1, max_size=4))
def test_many_ids_at_once_are_told_as_each_alone(values: list[str]) -> None:
    def is_one(value: str) -> bool:
        try:
            return check_text_id(value, "event_id") == value
        except InvalidId:
            return False

    assert are_text_ids(values) == all(map(is_one, values))


@pytest.mark.parametrize("bad", ["", "a" * 65, "a,b", "a b", "a\n", "\x00", "\u0661", "{a}", "\ud800"])
def test_one_bad_id_among_many_good_ones_is_seen(bad: str) -> None:
    assert are_text_ids(["a" * 64, "b"])
    assert not are_text_ids(["a" * 64, bad, "b"])
