"""The asyncio client: `client` is the public class, `coalescing` merges spends into calls, `sender` sends them,
`futures` is what callers await.
"""
