"""Passwords: what one must be, and the scrypt digest that is stored in its place.

A digest costs 32 MiB and about a third of a second, so at most two are computed at a time in a process.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import threading
import unicodedata
from typing import Final

from engine.errors import InvalidInput, Overloaded

LEAST: Final = 12
MOST: Final = 256
"""Characters of a password."""
AT_A_TIME: Final = 2
WAIT_S: Final = 3.0
"""Seconds that a check waits for its place."""
_LOG_N: Final = 15
_R: Final = 8
_P: Final = 3
_SALT: Final = 16
_SIZE: Final = 32
_ROOM = threading.BoundedSemaphore(AT_A_TIME)


def check_password(value: object, name: str = "", field: str = "password") -> str:
    """A new password: 12 to 256 characters, and not the user's name. Raises InvalidInput, without showing it."""
    if not isinstance(value, str) or not value:
        raise InvalidInput(f"{field} is empty: give {LEAST} to {MOST} characters", field)
    text = _normal(value)
    if not LEAST <= len(text) <= MOST:
        raise InvalidInput(f"{field} has {len(text)} characters: give {LEAST} to {MOST}", field)
    if len(set(text)) < 4:
        raise InvalidInput(f"{field} repeats a few characters: give one that is harder to guess", field)
    if name and name.casefold() in text.casefold() and len(text) - len(name) < LEAST // 2:
        raise InvalidInput(f"{field} is the name with little beside it: give another", field)
    return text


def digest_of(password: str) -> str:
    """What is stored of a password: the parameters, a random salt and the digest. Raises Overloaded."""
    salt = secrets.token_bytes(_SALT)
    return f"scrypt${_LOG_N}${_R}${_P}${_text(salt)}${_text(_scrypt(password, salt, _LOG_N, _R, _P))}"


def fits(password: str, stored: str | None) -> bool:
    """Whether a password has this digest. None fits nothing, and takes as long. Raises Overloaded."""
    if stored is None:
        _scrypt(password, bytes(_SALT), _LOG_N, _R, _P)
        return False
    _, log_n, r, p, salt, digest = stored.split("$")
    found = _scrypt(password, base64.b64decode(salt), int(log_n), int(r), int(p))
    return hmac.compare_digest(found, base64.b64decode(digest))


def is_weak(stored: str) -> bool:
    """Whether a digest was made with other parameters than today's, so that the next login should store it anew."""
    return not stored.startswith(f"scrypt${_LOG_N}${_R}${_P}$")


def _scrypt(password: str, salt: bytes, log_n: int, r: int, p: int) -> bytes:
    if not _ROOM.acquire(timeout=WAIT_S):
        raise Overloaded("other passwords are being checked: try again in a moment")
    try:
        n = 1 << log_n
        given = _normal(password[: MOST * 4]).encode()
        return hashlib.scrypt(given, salt=salt, n=n, r=r, p=p, maxmem=256 * n * r, dklen=_SIZE)
    finally:
        _ROOM.release()


def _normal(password: str) -> str:
    """Composed letters, because keyboards differ in how they send the same one."""
    return unicodedata.normalize("NFC", password)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
