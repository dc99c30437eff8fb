"""Eligibility in memory: `watch` has the threads, `eligibility` the rules, `messages` parses what scripts publish,
`snapshot` reads a whole shard.
"""
