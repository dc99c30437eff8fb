"""Rings the periodic jobs: `python scheduler.py`, the same as `budget-engine scheduler`."""

from engine.processes import scheduler

if __name__ == "__main__":
    scheduler()
