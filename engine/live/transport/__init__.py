"""How bytes reach Redis: `connection` is one socket, `pool` shares them within one deadline, `busy_poll` waits without sleeping, `aio` is for asyncio."""
