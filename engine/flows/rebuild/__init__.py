"""Rebuilds a lost shard: `rebuilder` has the order, `contents` what a shard must have, `salvage` persists the rest of
its journal, `beside` runs it in a thread.
"""
