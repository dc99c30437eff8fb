"""Doctor: the one command that says what is wrong. It looks, changes nothing, and each finding says what to do."""

from engine.flows.doctor.examine import examine
from engine.flows.doctor.finding import Finding, State

__all__ = ["Finding", "State", "examine"]
