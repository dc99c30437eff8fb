"""Ids contain their place: a campaign's id gives its brand, and a brand's id its shard, by arithmetic in any
language.

Both numbers below are permanent: they are in every id and key that was ever given out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from engine.errors import InvalidId, shown

ORDINALS: Final = 65_536
"""campaign_id = brand_id * ORDINALS + ordinal, ordinal 1..65535, never reused."""
SHARDS: Final = 64
"""shard = brand_id % SHARDS."""
MAX_BRAND_ID: Final = 2**37 - 1
"""The bound keeps every campaign id below 2^53, which Lua's doubles represent exactly."""

MIN_CAMPAIGN_ID: Final = ORDINALS + 1
MAX_CAMPAIGN_ID: Final = (MAX_BRAND_ID + 1) * ORDINALS - 1

TEXT_ID_LENGTH: Final = 64
TEXT_ID: Final = rf"[A-Za-z0-9._:/+=@~-]{{1,{TEXT_ID_LENGTH}}}"
_TEXT_ID: Final = re.compile(TEXT_ID, re.ASCII)
_TEXT_ID_BYTES: Final = bytes(byte for byte in range(128) if _TEXT_ID.fullmatch(chr(byte)))


def brand_of(campaign_id: int) -> int:
    """The id of the brand that a campaign belongs to."""
    return campaign_id // ORDINALS


def shard_of(brand_id: int) -> int:
    """The shard (0..63) that holds a brand and all its campaigns."""
    return brand_id % SHARDS


def campaign_id_of(brand_id: int, ordinal: int) -> int:
    """The id of a brand's campaign by its ordinal (1..65535)."""
    return brand_id * ORDINALS + ordinal


def ordinal_of(campaign_id: int) -> int:
    """Which campaign of its brand it is (1..65535)."""
    return campaign_id % ORDINALS


def is_campaign_id(number: int) -> bool:
    """Whether a whole number can be the id of a campaign."""
    return ORDINALS < number < (MAX_BRAND_ID + 1) * ORDINALS and number % ORDINALS != 0


def check_brand_id(value: object, field: str = "brand_id") -> int:
    """The id, if it can be one of a brand. Raises InvalidId."""
    if type(value) is not int or not 1 <= value <= MAX_BRAND_ID:
        raise InvalidId(
            f"{field} {shown(value)} is not a brand id: give the whole number that `brand list` shows", field
        )
    return value


def check_campaign_id(value: object, field: str = "campaign_id") -> int:
    """The id, if it can be one of a campaign. Raises InvalidId."""
    if type(value) is not int or not ORDINALS < value < (MAX_BRAND_ID + 1) * ORDINALS or value % ORDINALS == 0:
        raise InvalidId(
            f"{field} {shown(value)} is not a campaign id: give the whole number that `campaign list` shows", field
        )
    return value


def ids_of(given: object, field: str) -> list[Any]:
    """The values given as a list of ids, not yet checked themselves. Raises InvalidId."""
    try:
        return list(given)  # type: ignore[call-overload, no-any-return]  # what is no list is told below
    except TypeError:
        raise InvalidId(f"{field} {shown(given)} is not a list of ids: give one, such as [1, 2]", field) from None


def are_text_ids(values: Sequence[str]) -> bool:
    """Whether `check_text_id` accepts all texts, in a third of the time of a pattern per text."""
    try:
        joined = "".join(values).encode("ascii")
    except UnicodeEncodeError:
        return False
    return all(values) and not joined.translate(None, _TEXT_ID_BYTES) and len(max(values, key=len)) <= TEXT_ID_LENGTH


def check_text_id(value: object, field: str) -> str:
    """An event, request or external id: 1 to 64 of letters, digits and ._:/+=@~- (so base64, UUIDs and hex pass). Raises InvalidId."""
    if not isinstance(value, str) or _TEXT_ID.fullmatch(value) is None:
        if value == "":
            raise InvalidId(
                f"{field} is empty: give 1 to 64 letters, digits or . _ : / + = @ ~ -, or leave it out", field
            )
        use = f"use 1 to 64 letters, digits or . _ : / + = @ ~ -{_look_alike(value)}"
        raise InvalidId(f"{field} {shown(value)} is not an id: {use}", field)
    return value


def _look_alike(value: object) -> str:
    """The name of a letter of another alphabet that may look like one of ours."""
    odd = next((sign for sign in value if not sign.isascii()), None) if isinstance(value, str) else None
    if odd is None:
        return ""
    import unicodedata  # only for the message: bidders import this module

    return f", of which {unicodedata.name(odd, 'this sign')} (U+{ord(odd):04X}) is none"
