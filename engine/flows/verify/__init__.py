"""Verify: checks the invariants from outside, on a live system and under load. One module a group; `verifier` has them all in order."""

from engine.flows.verify.findings import FAIL, PASS, SHOWN, Check, summary
from engine.flows.verify.verifier import DAYS, Verifier

__all__ = ["DAYS", "FAIL", "PASS", "SHOWN", "Check", "Verifier", "summary"]
