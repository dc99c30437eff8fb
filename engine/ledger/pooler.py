"""Connections through a pooler that lends a session for one transaction, such as pgbouncer in transaction mode.

Such a pooler refuses or drops the options that a session begins with, and what one transaction sets for its session another client meets.
So each transaction sets them for itself. Locks of ours all end with their transaction (`locks.py`), and so do cursors.
"""

from __future__ import annotations

import re
from typing import Any, Final

import psycopg2

from engine.ledger.silence import HeardConnection, Listener

_OPTION: Final = re.compile(r"-c\s*([A-Za-z_][A-Za-z0-9_.]*)=((?:\\.|[^\s\\])*)")
_REFUSED: Final = "unsupported startup parameter"
_MARK: Final = "budget.session"
"""A setting of our own: where a session does not have it, its options were dropped on the way."""
_ISOLATION: Final = "default_transaction_isolation"


class Sessions:
    """Opens connections, and knows whether their options hold. statement: sets them in a transaction; "" where they hold for the session."""

    def __init__(self, params: dict[str, str], patience_s: float) -> None:
        self._options = params["options"]
        self._listener = Listener({**params, "options": f"{self._options} -c {_MARK}=on"}, patience_s)
        self.statement = ""

    def connect(self) -> HeardConnection:
        """A new connection. Raises Silent, and psycopg2's errors."""
        try:
            opened = self._listener.connect()
        except psycopg2.OperationalError as error:
            if _REFUSED not in str(error) or self.statement:
                raise
            self.statement = set_in_transaction(self._options)
            self._listener.leave_out("options")
            return self._listener.connect()
        if not self.statement and not _has_mark(opened):
            self.statement = set_in_transaction(self._options)
        return opened


def set_in_transaction(options: str) -> str:
    """The options of a session as statements that begin a transaction."""
    set_local: list[str] = []
    for name, raw in _OPTION.findall(options):
        value = re.sub(r"\\(.)", r"\1", raw)
        if name == _ISOLATION:
            # First of all: it is refused after any other statement that reads.
            set_local.insert(0, f"SET TRANSACTION ISOLATION LEVEL {re.sub('[^a-z ]', '', value.lower())}")
        else:
            quoted = value.replace("'", "''")
            set_local.append(f"SET LOCAL {name} = '{quoted}'")
    return "; ".join(set_local)


def _has_mark(opened: Any) -> bool:
    with opened.cursor() as cursor:
        cursor.execute(f"SELECT current_setting('{_MARK}', true)")
        found = cursor.fetchone()[0] == "on"
    opened.rollback()
    return bool(found)
