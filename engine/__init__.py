"""The Redis-native budget engine: what a bidder imports. It needs redis-py and nothing else."""
