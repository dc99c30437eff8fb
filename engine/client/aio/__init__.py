"""The client for asyncio: `client` is what callers see, `coalescing` joins their spends into calls, `sender` sends them, `futures` is what callers await."""
