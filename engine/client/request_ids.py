"""Request and hold ids of this process: a random prefix and a counter, faster than a UUID a call. A forked child
makes its own prefix.
"""

from __future__ import annotations

import os
from itertools import count
from typing import Final


class _Ids:
    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self._prefix = os.urandom(9).hex()
        self._count = count(1)

    def next(self) -> str:
        return f"{self._prefix}.{next(self._count)}"


_IDS: Final = _Ids()
os.register_at_fork(after_in_child=_IDS.renew)


def next_id() -> str:
    """An id that no other call has."""
    return _IDS.next()
