"""Periodic work: `close` ends days and months, `log_days` lets old rows go, `sweep` looks at shards that nobody calls."""
