"""Makes a system ready without rebuilding 64 empty shards in each test: copies the result of the first test's rebuild."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text

from engine.live.keys import shard_keys

if TYPE_CHECKING:
    from engine.wiring import System


_RESTORE: Final = "for i, key in ipairs(KEYS) do redis.call('RESTORE', key, 0, ARGV[i]) end"


class FirstStart:
    """What the rebuild of an empty log writes: the shards' keys in Redis, and generations in `journal_cursor`.

    It holds for copies of one template only, because the shards' marks carry the instance uuid.
    """

    def __init__(self) -> None:
        self._keys: dict[bytes, bytes] = {}

    def make(self, system: System) -> None:
        """Makes a system's shards ready. Shards that a test marked itself stay unchanged."""
        planted = system.hot_redis.exists(shard_keys(0).shard)
        if planted or not self._keys:
            system.rebuilder.rebuild_missing()
            if not planted:
                self._keys = self._dumped(system)
            return
        plain: Any = system.hot_redis
        plain.eval(_RESTORE, len(self._keys), *self._keys, *self._keys.values())
        with system.db.begin() as conn:
            conn.execute(text("UPDATE journal_cursor SET generation = generation + 1, updated_at = now()"))

    @staticmethod
    def _dumped(system: System) -> dict[bytes, bytes]:
        plain: Any = system.hot_redis
        keys = list(plain.scan_iter("budget:{*", count=1000))
        with plain.pipeline(transaction=False) as sent:
            for key in keys:
                sent.dump(key)
            return dict(zip(keys, sent.execute(), strict=True))
