"""A Spend that the compiled step makes is the Spend that Python makes, and what Python refuses stays refused."""

from __future__ import annotations

import copy
import functools
import gc
import inspect
import pickle
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import Spend
from engine.speedups import speedups
from tests.speedups.compiled import EXAMPLES, compiled, new_spend
from tests.speedups.odd import ODD, TextBelow

PLAIN = new_spend()
FIELDS = PLAIN._fields


class Denies(str):
    """Text that is equal to nothing."""

    def __eq__(self, other: object) -> bool:
        return False

    __hash__ = str.__hash__


NAMES = st.sampled_from(
    (*FIELDS, "amount_micro", "", "cls", "self", "_cls", "é", TextBelow("amount"), TextBelow("x"), Denies("amount"))
)
WAYS: tuple[Callable[..., Any], ...] = (
    lambda kind, args, named: kind(*args, **named),
    lambda kind, args, named: functools.partial(kind, *args)(**named),
    lambda kind, args, named: type.__call__(kind, *args, **named),
    lambda kind, args, named: kind.__new__(kind, *args, **named),
    lambda kind, args, named: next(map(functools.partial(kind, **named), *([each] for each in args))),
)


@pytest.fixture(scope="module")
def quick() -> Any:
    """The class whose calls are compiled."""
    made = new_spend()
    compiled().quicken(made)
    return made


def outcome(kind: Any, way: Callable[..., Any], args: list[Any], named: dict[str, Any]) -> tuple[Any, ...]:
    """What a call makes, or the error."""
    try:
        made = way(kind, args, named)
    except Exception as error:
        return type(error), str(error)
    assert type(made) is kind
    return tuple(map(id, made)), len(made), str(made)


def test_both_classes_of_these_tests_are_written_as_the_client_s_own() -> None:
    assert (PLAIN._fields, PLAIN._field_defaults) == (Spend._fields, Spend._field_defaults)
    assert list(PLAIN.__annotations__) == list(Spend.__annotations__)


@settings(max_examples=EXAMPLES * 2, deadline=None)
@given(args=st.lists(ODD, max_size=7), named=st.dictionaries(NAMES, ODD, max_size=6), way=st.sampled_from(WAYS))
def test_any_call_makes_the_same_tuple_or_the_same_error(
    quick: Any, args: list[Any], named: dict[str, Any], way: Any
) -> None:
    assert outcome(quick, way, args, named) == outcome(PLAIN, way, args, named)


def test_a_spend_is_the_same_value_in_every_use(quick: Any) -> None:
    for args, named in (
        ((65537, "1"), {}),
        ((65537,), {"amount_micros": 5, "event_id": "e"}),
        ((), {"campaign_id": 65537}),
    ):
        made, plain = quick(*args, **named), PLAIN(*args, **named)
        assert made == plain == tuple(plain) and hash(made) == hash(plain) == hash(tuple(plain))
        assert repr(made) == repr(plain) and made._asdict() == plain._asdict()
        assert tuple(made._replace(amount="2")) == tuple(plain._replace(amount="2"))
        assert made[1:] == plain[1:] and made.__getnewargs__() == plain.__getnewargs__()
        assert type(copy.copy(made)) is type(copy.deepcopy(made)) is quick and copy.deepcopy(made) == made
    with pytest.raises(AttributeError):
        made.amount = "3"
    with pytest.raises(TypeError, match="Expected 5 arguments, got 1"):
        quick._make([1])
    assert inspect.signature(quick) == inspect.signature(PLAIN)
    match quick(65537, "1"):
        case quick(campaign, amount):
            assert (campaign, amount) == (65537, "1")


def test_the_client_s_own_spend_passes_through_pickle_as_before() -> None:
    made = Spend(65537, None, "e", 5)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        back = pickle.loads(pickle.dumps(made, protocol))
        assert type(back) is Spend and back == made


def test_a_class_below_keeps_its_own_ways(quick: Any) -> None:
    class Below(quick):  # type: ignore[misc]
        def __new__(cls, campaign_id: int, *args: Any) -> Any:
            return super().__new__(cls, campaign_id + 1, *args)

    class Plain(quick):  # type: ignore[misc]
        note = "attributes of its own"

    assert tuple(Below(1, "2")) == (2, "2", None, None, None)
    made = Plain(1)
    made.more = 3
    assert type(made) is Plain and made.more == 3 and tuple(made) == (1, None, None, None, None)


def test_a_class_that_is_another_is_refused_and_stays_as_it_is() -> None:
    class Fewer(PLAIN):  # type: ignore[misc, valid-type]
        pass

    from collections import namedtuple

    class WithAttributes(tuple):
        _fields, _field_defaults = FIELDS, PLAIN._field_defaults

    others = [
        Fewer, WithAttributes, tuple, int, 5, None, namedtuple("Spend", "a b c d e", defaults=(None,) * 4),
        namedtuple("Spend", FIELDS), namedtuple("Spend", FIELDS, defaults=(None, None, None, 0)),
        namedtuple("Spend", FIELDS[:4], defaults=(None,) * 3),
    ]  # fmt: skip
    for other in others:
        with pytest.raises(TypeError, match="not the Spend"):
            compiled().quicken(other)
    assert type(Fewer(1)) is Fewer


def test_the_collector_finds_a_circle_through_a_spend_and_skips_spends_without_one(quick: Any) -> None:
    class Held:
        pass

    held, ring = Held(), []
    spend = quick(65537, ring)
    ring += [spend, held]
    gone = weakref.ref(held)
    assert gc.is_tracked(spend) and not gc.is_tracked(quick(65537, "1", "e", 5))
    del held, ring, spend
    gc.collect()
    assert gone() is None


def test_the_client_s_spend_is_compiled_where_the_speedups_are_in_use() -> None:
    compiled()
    if speedups.pack is None:
        pytest.skip(f"turned off: {speedups.why}")
    # Python tracks what it makes itself.
    assert not gc.is_tracked(Spend(65537, "1"))
    assert gc.is_tracked(PLAIN(65537, "1"))
