"""Faults in the door to the compiled steps: what is in use, and what is left to Python."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant as M

DOOR: Final = "tests/speedups/test_door.py::test_"
PACK: Final = "tests/speedups/test_pack.py::test_"

# fmt: off
COMPILED: Final = (
    M("speedups of another release are used", "engine/speedups.py",
      'if getattr(found, "API", None) != _API:', "if False:",
      (DOOR + "what_cannot_be_used_is_left_out_and_its_reason_given",)),
    M("the switch of the speedups switches nothing", "engine/speedups.py",
      'if os.environ.get(_SWITCH) == "0":', "if False:",
      (DOOR + "a_variable_turns_them_off",)),
    M("what the compiled step leaves to Python is sent as nothing", "engine/live/packed.py",
      "micros, version)) is not None:", "micros, version)) is not False:",
      (PACK + "the_client_packs_by_the_compiled_step_where_it_is_in_use",)),
)
