"""The examples of the state machines: a fixed set in the suite, so that it is stable; random ones by `make twin`."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings


def drawn(examples: int, steps: int, share: int = 1) -> settings:
    """The suite's settings, or those that `make twin` requests.

    share: divides the requested examples, for a machine that costs that many times as much as the others.
    """
    asked = int(os.environ.get("TWIN_EXAMPLES", "0"))
    return settings(
        max_examples=max(asked // share, 1) if asked else examples,
        stateful_step_count=steps,
        derandomize=not asked,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate,) if os.environ.get("TWIN_SHRINK") == "0" else (Phase.generate, Phase.shrink),
        print_blob=True,
    )
