"""Leases: a slice of a budget in the bidder's memory. `lease` is the public class, `keeper` the thread that refills
and flushes, `slots` where spends wait, `spool` what a dead process left, `calls` the two script calls.
"""
