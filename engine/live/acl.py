"""The permissions that a Redis login needs, read from the scripts themselves, so that they always match the release.

Redis checks the commands of a script against its caller's permissions. So a login that may spend may also run the
same commands directly.
"""

from __future__ import annotations

import re
from typing import Final

from engine.errors import InvalidInput, shown
from engine.live.keys import PREFIX
from engine.live.scripts import RECORD, TRY, script

BIDDER: Final = (RECORD, TRY, "draw_spends", "lease", "holds", "refund", "read_plan", "read_registry", "read_watched")
"""The scripts behind every call of a client."""
WATCHER: Final = ("read_plan", "read_registry", "read_watched")
"""The scripts behind `watch` and `status`, which write nothing."""

_CALL: Final = re.compile(r"redis\.p?call\(([^,)]*)")
_COMMAND: Final = re.compile(r"'([A-Z]+)'")
_NO_WRITES: Final = re.compile(r"#!lua flags=\S*no-writes")
_WRITES: Final = frozenset(("HDEL", "HSET", "PUBLISH", "UNLINK", "XADD", "XTRIM", "ZADD", "ZREM"))
"""Commands in shared pieces that read-only scripts include and never reach."""
_CONNECTION: Final = (
    "client|setinfo",
    "client|setname",
    "ping",
    "evalsha",
    "script|load",
    "subscribe",
    "cluster|slots",
    "asking",
    "role",
)
_BIDS: Final = ("wait",)
"""For BUDGET_WAIT_REPLICAS."""
_ALL_KEYS: Final = (f"{PREFIX}{{*}}:*",)
_PLAN_KEYS: Final = tuple(f"{PREFIX}{{*}}:{kind}" for kind in ("shard", "registry", "brand:*", "campaign:*"))
_CHANNELS: Final = f"{PREFIX}{{*}}:changes"
_USER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def commands_of(name: str) -> set[str]:
    """The commands that a script calls."""
    text = script(name).text
    found = {command for call in _CALL.findall(text) for command in _COMMAND.findall(call)}
    return found - _WRITES if _NO_WRITES.match(text) else found


def acl_setuser(user: str, *, read_only: bool = False, db: int = 0) -> list[str]:
    """The arguments of `ACL SETUSER` for a bidder, or for a watcher. They neither set nor remove a password. Raises
    InvalidInput.
    """
    if not _USER.fullmatch(user) or user == "default":
        raise InvalidInput(
            f"user {shown(user)} is not a name for a login: 1 to 64 letters, digits, dots, dashes and underscores, and not default",
            "user",
        )
    scripts = WATCHER if read_only else BIDDER
    inner = sorted({command.lower() for name in scripts for command in commands_of(name)})
    return [
        user,
        "on",
        "clearselectors",
        "resetkeys",
        *(f"~{pattern}" for pattern in (_PLAN_KEYS if read_only else _ALL_KEYS)),
        "resetchannels",
        f"&{_CHANNELS}",
        "-@all",
        *(f"+{command}" for command in (_CONNECTION if read_only else (*_CONNECTION, *_BIDS))),
        *(["+select"] if db else []),
        *(f"+{command}" for command in inner),
    ]
