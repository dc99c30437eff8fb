"""How figures and instants are written for people: exact digits, thousands separated, two to six decimals; UTC, with the viewer's zone added
by app.js."""

from __future__ import annotations

from datetime import datetime

from flask import Flask
from markupsafe import Markup

from engine.domain.money import MICROS, NO_LIMIT_WORD, to_decimal
from engine.domain.periods import at_ms, ms_of

NO_LIMIT = "no limit"


def money(micros: int) -> str:
    """12500000 -> "12.50", 1234567125000 -> "1,234,567.125": all digits that count, at least two."""
    whole, _, decimals = places(micros).partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(2, '0')}"


def places(micros: int) -> str:
    """For columns of money: always six decimals, so that the points stand under each other."""
    return f"{to_decimal(micros):,.6f}"


def short(micros: int) -> Markup:
    """For figures that are watched, not booked: from a hundred up two decimals, cut and never rounded up; the exact figure is the tooltip."""
    exact = money(micros)
    whole, _, decimals = exact.partition(".")
    if abs(micros) < 100 * MICROS or len(decimals) == 2:
        return Markup("{}").format(exact)
    return Markup('<span title="{}">{}.{}</span>').format(exact, whole, decimals[:2])


def about(micros: int) -> str:
    """A projection, which has no exact digits: two decimals below a thousand, whole units above."""
    return f"{micros / MICROS:,.0f}" if abs(micros) >= 1000 * MICROS else f"{micros / MICROS:,.2f}"


def plain(micros: int | None) -> str:
    """A budget as a form field holds it: `none` is no limit, no thousands separators."""
    return NO_LIMIT_WORD if micros is None else money(micros).replace(",", "")


def percent(spent: int, budget: int) -> str:
    """How much of a budget is spent, cut and never rounded up: 99.97 % does not read 100 %."""
    tenths = spent * 1000 // budget
    return f"{tenths // 10:,} %" if tenths % 10 == 0 or tenths >= 2000 else f"{tenths // 10}.{tenths % 10} %"


def count(number: int, one: str, many: str | None = None) -> str:
    """ "1 campaign", "1,200 campaigns"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def since(ms: int, now_ms: int) -> str:
    """How long ago, in the largest whole unit."""
    seconds = max(0, now_ms - ms) // 1000
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def moment(at: int | datetime, how: str = "time") -> Markup:
    """An instant in UTC; app.js writes the viewer's own time after it. how: "time" 14:03:07, "minute" 14:03, "date" 23 Nov 14:03:07."""
    ms = at if isinstance(at, int) else ms_of(at)
    pattern = {"time": "%H:%M:%S", "minute": "%H:%M", "date": "%d %b %H:%M:%S"}[how]
    utc = at_ms(ms)
    return Markup('<time datetime="{}" data-how="{}">{} UTC</time><span class="zone" hx-morph-skip></span>').format(
        f"{utc:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z", how, f"{utc:{pattern}}"
    )


def install(app: Flask) -> None:
    """Makes them filters of the templates."""
    app.jinja_env.filters.update(
        money=money,
        places=places,
        short=short,
        about=about,
        percent=percent,
        count=count,
        since=since,
        moment=moment,
        plain=plain,
    )
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
