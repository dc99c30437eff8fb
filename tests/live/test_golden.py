"""The golden vectors are what the scripts answer, and a copy of them goes out with the scripts."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis

from engine.live import scripts
from tools import golden

DOCUMENT: dict[str, Any] = json.loads(golden.PLACE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", DOCUMENT["cases"], ids=lambda case: str(case["name"])[:60])
def test_the_scripts_answer_as_the_golden_vectors_say(case: dict[str, Any], hot_redis: redis.Redis) -> None:
    assert golden.replay(hot_redis, case) == []


def test_the_committed_file_is_what_make_golden_writes(hot_redis: redis.Redis) -> None:
    assert golden.PLACE.read_text(encoding="utf-8") == golden.text_of(golden.make(hot_redis)), "run `make golden`"


def test_every_script_is_called_and_the_clock_can_be_swapped_by_text_alone() -> None:
    called = {step["script"] for case in DOCUMENT["cases"] for step in case["steps"]}
    assert called == set(scripts.NAMES)
    for name in called:
        text = scripts.assemble(name).text
        assert text.count("read_clock()") == 0 or text.count(DOCUMENT["clock"]["find"]) == 1, name
