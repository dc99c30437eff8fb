"""Leases: a slice of a budget in the bidder's memory. `lease` is what callers see, `keeper` the thread that fills and flushes, `slots` where
spends wait, `spool` what a dead process left, `calls` the two scripts."""
