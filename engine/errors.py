"""Every error that the engine raises, in one tree.

A refusal (budget used up, campaign paused) is a result, never an exception. Errors are failures and bad input. Each
message is one line that says what was wrong, with which value, and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence

_SHOWN = 80


def shown(value: object) -> str:
    """A value as an error message shows it: one line, at most 80 characters, invisible characters escaped."""
    try:
        # Letters of every script stay as they are; controls, direction marks and unusual spaces do not.
        text = repr(value)
    except ValueError:  # an int of more than 4,300 digits, which Python refuses to write out
        text = f"a number of {value.bit_length()} bits" if isinstance(value, int) else f"a {type(value).__name__}"
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


class BudgetError(Exception):
    """The root: `except BudgetError` catches everything that the engine raises on purpose."""


class InvalidInput(BudgetError):
    """An invalid value from outside; `field` names it as the caller does."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class InvalidAmount(InvalidInput):
    """An amount that is not a positive decimal of at most six places, or is above 1,000,000."""


class InvalidBudget(InvalidInput):
    """A budget that is neither `none` nor a decimal from 0 to 9,000,000,000."""


class InvalidId(InvalidInput):
    """An id of a brand, campaign, event or request that breaks its grammar."""


class InvalidSchedule(InvalidInput):
    """A dayparting schedule with a field that is wrong; `field` is its path, as in `schedule[1].start_time`."""


class InvalidName(InvalidInput):
    """A name of a brand or campaign that is blank, too long or has an invisible character."""


class InvalidSetting(InvalidInput):
    """A setting (environment or .env) with a wrong value; `field` is its name."""


class NotFound(BudgetError):
    """No such brand or campaign."""


class TooLittleHistory(BudgetError):
    """Too few days with spend to learn or forecast from: how many there are, and how many are needed."""


class Conflict(BudgetError):
    """The name or external id is taken, the brand is archived or full, or another change came first. `field` names the
    field in conflict, where there is one.
    """

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class ServerAway(BudgetError):
    """A server cannot be reached: which one, its address (password masked), and what to do."""

    def __init__(self, part: str, where: str, hint: str, *, partial: bool = False) -> None:
        """partial: one of several servers of that part, and the others may answer."""
        super().__init__(f"{part} cannot be reached at {where}: {hint}")
        self.partial = partial
        self.part = part
        self.where = where
        self.hint = hint


class ServerHangs(ServerAway):
    """A server accepts connections and has not answered for `silent_s` seconds: which one, its address, and what to
    do.
    """

    def __init__(self, part: str, where: str, silent_s: float, hint: str, *, partial: bool = False) -> None:
        super().__init__(part, where, hint, partial=partial)
        self.silent_s = silent_s
        self.args = (f"{part} hangs at {where}: no answer for {silent_s:.1f} s; {hint}",)


class Unavailable(BudgetError):
    """The call's deadline passed without a complete reply. Repeating it with `request_id` is safe: nothing is counted
    twice.

    request_id: of spends; for a hold its `hold_id`, for a refund its event id, empty where nothing would count.
    `answers` has one entry a spend: its SpendResult where the reply arrived, else None.
    """

    def __init__(self, message: str, request_id: str, answers: Sequence[object | None] = ()) -> None:
        super().__init__(message)
        self.request_id = request_id
        self.answers = list(answers)


class UnreadableReply(Unavailable):
    """A reply is not one that the script gives: stored values are damaged, or another program answers at this
    address.

    The call may have been counted; repeating it with `request_id` is safe, as for every `Unavailable`.
    """


class Overloaded(BudgetError):
    """The client already has as many spends waiting as it may; this one was not taken. Slow down, or raise
    `max_waiting`.
    """


class WrongVersion(BudgetError):
    """Redis has another layout than this program, or the installed redis-py is not supported: upgrade the older of
    the two.
    """


class ServerRefuses(BudgetError):
    """A server's answer that no caller can mend; the message names the server and is for who runs it."""


class NotReady(BudgetError):
    """A shard of Redis lacks the mark of a finished rebuild, or has another instance's; nothing was read or written."""


class Refused(BudgetError):
    """An operation that would do harm in the present state (a second `up` on the same data, a demo on a production
    catalog).
    """
