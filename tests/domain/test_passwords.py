"""What a stored password costs whoever tries many."""

from __future__ import annotations

import subprocess
import sys

import pytest

from engine.domain import passwords
from engine.errors import InvalidInput

SHOWN = "from engine.domain.passwords import digest_of; print(digest_of('correct-horse-battery'))"


def test_a_stored_password_takes_32_mib_three_times_over_to_try() -> None:
    done = subprocess.run([sys.executable, "-c", SHOWN], capture_output=True, text=True, timeout=60, check=True)
    kind, log_n, r, p, salt, digest = done.stdout.strip().split("$")
    assert (kind, 128 * int(r) << int(log_n), int(p)) == ("scrypt", 32 << 20, 3)
    assert len(salt) == 24
    assert len(digest) == 44


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("", "empty"), ("elevenchars", "has 11 characters"), ("x" * 257, "has 257 characters"), ("a" * 20, "repeats"),
        ("Mia Brandt 1", "the name"), (None, "empty"),
    ],
)  # fmt: skip
def test_a_weak_password_is_refused_without_showing_it(value: object, why: str) -> None:
    with pytest.raises(InvalidInput, match=why) as refused:
        passwords.check_password(value, "Mia Brandt")
    assert not value or str(value) not in str(refused.value)


def test_a_password_fits_however_its_letters_were_composed_and_a_digest_tells_nothing_twice() -> None:
    one, two = (passwords.digest_of("Grüße aus Köln") for _ in range(2))
    assert one != two and "Köln" not in one
    assert passwords.fits("Gru\u0308ße aus Ko\u0308ln", one) and not passwords.fits("Grusse aus Koln", one)
    kind, log_n, rest = one.split("$", 2)
    assert not passwords.is_weak(one) and passwords.is_weak(f"{kind}${int(log_n) - 1}${rest}")
