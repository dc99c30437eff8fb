-- The first KEYS of every call that moves money; brands, campaigns and holds follow from FIRST_PLAN on.
local shard_key, registry_key, journal_key = KEYS[1], KEYS[2], KEYS[3]
local request_keys, event_keys, FIRST_PLAN = { KEYS[4], KEYS[5] }, { KEYS[6], KEYS[7] }, 8
