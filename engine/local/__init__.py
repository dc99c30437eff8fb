"""Embedded servers for a machine that has none, and the supervisor behind `budget-engine up`."""
