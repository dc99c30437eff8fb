"""A small evaluator of the alert rules: enough of PromQL for `ops/alerts.yml`, which keeps to it.

absent(metric) | [time() -] metric[{label="value"}] [/ metric] (> | < | == | >= | <= | !=) number
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from prometheus_client.parser import text_string_to_metric_families

PLACE: Final = Path(__file__).resolve().parents[2] / "ops" / "alerts.yml"
Labels = frozenset[tuple[str, str]]
Scrape = dict[str, dict[Labels, float]]
_COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    ">": operator.gt, "<": operator.lt, "==": operator.eq, ">=": operator.ge, "<=": operator.le, "!=": operator.ne,
}  # fmt: skip
_SELECTOR: Final = r"([a-z_]+)(?:\{([^}]*)\})?"
_ABSENT: Final = re.compile(rf"absent\({_SELECTOR}\)")
_RULE: Final = re.compile(rf"(time\(\) - )?{_SELECTOR}(?: / {_SELECTOR})? (>=|<=|==|!=|>|<) ([0-9.]+)")


class Rule(NamedTuple):
    """One alert."""

    name: str
    expression: str


def rules() -> list[Rule]:
    """The rules of the file."""
    found = re.findall(r"- alert: (\w+)\n +expr: (.+)\n", PLACE.read_text(encoding="utf-8"))
    return [Rule(*pair) for pair in found]


def scraped(text: str) -> Scrape:
    """A /metrics page as samples by name."""
    samples: Scrape = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return samples


def names_in(expression: str) -> set[str]:
    """The metrics that an expression names."""
    return set(re.findall(r"budget_engine_[a-z_]+", expression))


def fires(expression: str, samples: Scrape, now_s: float) -> bool:
    """Whether an expression selects anything. Raises ValueError for one beyond the grammar."""
    if absent := _ABSENT.fullmatch(expression):
        return not _select(samples, absent[1], absent[2])
    rule = _RULE.fullmatch(expression)
    if rule is None:
        raise ValueError(f"{expression} is beyond this evaluator")
    age, name, labels, divisor, divisor_labels, compare, limit = rule.groups()
    left = _select(samples, name, labels)
    if divisor:
        right = _select(samples, divisor, divisor_labels)
        left = {key: value / right[key] for key, value in left.items() if key in right}
    if age:
        left = {key: now_s - value for key, value in left.items()}
    return any(_COMPARE[compare](value, float(limit)) for value in left.values())


def _select(samples: Scrape, name: str, labels: str | None) -> dict[Labels, float]:
    wanted = set(re.findall(r'(\w+)="([^"]*)"', labels or ""))
    return {key: value for key, value in samples.get(name, {}).items() if wanted <= key}
