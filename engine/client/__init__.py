"""What bidders import: `sync` is `BudgetClient`, `aio` its form for asyncio, `watch` and `leases` answer from memory."""
