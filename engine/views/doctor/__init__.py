"""Doctor: the command that reports what is wrong. It changes nothing, and each finding says what to do."""

from engine.views.doctor.examine import examine
from engine.views.doctor.finding import Finding, State

__all__ = ["Finding", "State", "examine"]
