"""Periodic work: `close` ends days and months, `log_days` makes and drops partitions, `sweep` removes expired holds
of idle brands.
"""
