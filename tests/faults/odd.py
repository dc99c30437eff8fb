"""Values that nobody writes into a number of Redis."""

from __future__ import annotations

ODD = ("", "abc", "nan", "inf", "-1", "1e308", "0x10", " 7", "9" * 40, "1.5", b"\x00\xff", "\u0663")
