"""A message that comes again and again is one line, then one now and then with its count."""

from __future__ import annotations

from engine.domain.seldom import Seldom


def test_the_first_message_is_due_and_the_next_ones_are_counted_until_one_is_due_again() -> None:
    now = [100.0]
    seldom = Seldom(30, clock=lambda: now[0])
    assert seldom.due("no answer after 300 ms") == ""
    for _ in range(7):
        now[0] += 1
        assert seldom.due("no answer after 301 ms") is None, "another number is no other message"
    assert seldom.due("another reason") == ""
    assert seldom.due("no answer after 300 ms", of=5) == "", "of each by itself"
    now[0] = 130.0
    assert seldom.due("no answer after 302 ms") == " (7 times more in the last 30 s)"
    now[0] = 1000.0
    assert seldom.due("no answer after 303 ms") == "", "a message after a long silence is a first one"


def test_messages_that_are_all_different_take_no_more_memory_than_some() -> None:
    seldom = Seldom(30)
    for i in range(10_000):
        seldom.due("x" * (i % 1000), of=i)
    assert len(seldom._said) <= 256
