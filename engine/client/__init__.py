"""What bidders import: `sync` has `BudgetClient`, `aio` its asyncio form; `watch` and `leases` decide in the
process's memory.
"""
