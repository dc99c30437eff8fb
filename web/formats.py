"""Formats figures and instants for people: exact digits, thousands separated, two to six decimals. Instants are UTC;
app.js adds the viewer's own time.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from flask import Flask
from markupsafe import Markup

from engine.domain.flights import instant_text
from engine.domain.money import MICROS, NO_LIMIT_WORD, to_decimal
from engine.domain.periods import MINUTE_MS, at_ms, ms_of
from engine.domain.zone_text import IN_UTC, Local, offset_text
from engine.domain.zones import names
from web import week_grid

NO_LIMIT = "no limit"
_INSTANT: Final = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:\d\d)")
_EXACT: Final = re.compile(r"\b[0-9]{1,16}\.[0-9]{6}\b")


def money(micros: int) -> str:
    """Micros as money: 12500000 -> "12.50", 1234567125000 -> "1,234,567.125". All digits, at least two decimals."""
    whole, _, decimals = places(micros).partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(2, '0')}"


def places(micros: int) -> str:
    """Micros with six decimals, so that the decimal points of a column align."""
    return f"{to_decimal(micros):,.6f}"


def short(micros: int) -> Markup:
    """Micros for a live figure: from 1 up with two decimals, truncated, and the exact figure as the tooltip."""
    exact = money(micros)
    whole, _, decimals = exact.partition(".")
    if abs(micros) < MICROS or len(decimals) == 2:
        return Markup("{}").format(exact)
    return Markup('<span title="{}">{}.{}</span>').format(exact, whole, decimals[:2])


def cents(micros: int) -> Markup:
    """Micros for a column: two decimals, truncated, and the exact figure as the tooltip where it has more."""
    exact = money(micros)
    whole, _, decimals = exact.partition(".")
    if len(decimals) == 2:
        return Markup("{}").format(exact)
    return Markup('<span title="{}">{}.{}</span>').format(exact, whole, decimals[:2])


def about(micros: int) -> str:
    """Micros of a projection, which is not exact: two decimals below a thousand, whole units above."""
    return f"{micros / MICROS:,.0f}" if abs(micros) >= 1000 * MICROS else f"{micros / MICROS:,.2f}"


def plain(micros: int | None) -> str:
    """A budget for a form field: `none` for no limit, no thousands separators."""
    return NO_LIMIT_WORD if micros is None else money(micros).replace(",", "")


def percent(spent: int, budget: int) -> str:
    """The share of a budget that is spent, truncated: 99.97 % does not become 100 %."""
    tenths = spent * 1000 // budget
    return f"{tenths // 10:,} %" if tenths % 10 == 0 or tenths >= 2000 else f"{tenths // 10}.{tenths % 10} %"


def signed(thousandths: int) -> str:
    """A difference in whole per cent with its sign: "+12 %", "-3 %"; from ten times as much on "over +900 %"."""
    if thousandths >= 9_000:
        return "over +900 %"
    return f"{int(thousandths / 10):+,} %".replace("+0 %", "0 %")


def clock(ms: int, local: Local = IN_UTC) -> str:
    """The time of an instant by a brand's clock: 16:40."""
    return local.words(ms, "%H:%M").split(" ")[0]


def count(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun: "1 campaign", "1,200 campaigns"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def duration(ms: int) -> str:
    """How long something was, in its two largest units: "2 d 3 h", "14 h 20 min", "45 s"."""
    minutes = ms // 60_000
    if minutes < 1:
        return f"{ms // 1000} s"
    days, hours = divmod(minutes // 60, 24)
    if days:
        return f"{days} d {hours} h" if hours else f"{days} d"
    return " ".join(f"{n} {unit}" for n, unit in ((hours, "h"), (minutes % 60, "min")) if n)


def since(ms: int, now_ms: int) -> str:
    """How long ago an instant was, in the largest whole unit. Both are epoch milliseconds."""
    seconds = max(0, now_ms - ms) // 1000
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def moment(at: int | datetime, how: str = "time", local: Local = IN_UTC) -> Markup:
    """An instant by a brand's clock, else in UTC, after which app.js writes the viewer's own time.

    at: epoch milliseconds or a datetime. how: "time" 14:03:07, "minute" 14:03, "date" 23 Nov 14:03:07.
    """
    ms = at if isinstance(at, int) else ms_of(at)
    pattern = {"time": "%H:%M:%S", "minute": "%H:%M", "date": "%d %b %H:%M:%S"}[how]
    utc = at_ms(ms)
    return Markup('<time datetime="{}" data-how="{}">{}</time><span class="zone" hx-morph-skip></span>').format(
        f"{utc:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z", how, local.words(ms, pattern)
    )


def instant(ms: int, local: Local = IN_UTC) -> str:
    """An instant to the minute by a brand's clock, with its offset; in UTC as it is typed into a form."""
    if local == IN_UTC:
        return instant_text(ms)
    shown_ms = local.zone.local_ms(ms)
    return f"{instant_text(shown_ms).removesuffix('Z')}{offset_text(shown_ms - ms)}"


def when(ms: int, local: Local = IN_UTC) -> str:
    """An instant for reading, by a brand's clock: "01 Dec 2026 10:30 Europe/Berlin", with its seconds where it has some."""
    return local.words(ms, "%d %b %Y %H:%M:%S" if ms % MINUTE_MS else "%d %b %Y %H:%M")


def readable(text: str, local: Local = IN_UTC) -> str:
    """A sentence of the engine with its instants and amounts as people read them: 2026-12-01T05:00Z is "01 Dec 2026 05:00 UTC", and
    80.000000 is 80.00.
    """
    text = _INSTANT.sub(lambda found: when(ms_of(datetime.fromisoformat(found[0])), local), text)
    return _EXACT.sub(lambda found: money(int(found[0].replace(".", ""))), text)


def commands(text: str) -> Markup:
    """A message whose commands stand between backticks, with these as code."""
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else part for place, part in enumerate(text.split("`"))
    )


def install(app: Flask) -> None:
    """Registers the functions as template filters."""
    app.jinja_env.filters.update(
        commands=commands,
        money=money,
        places=places,
        short=short,
        about=about,
        cents=cents,
        duration=duration,
        cell_clock=week_grid.clock,
        zip=zip,
        percent=percent,
        signed=signed,
        clock=clock,
        count=count,
        since=since,
        moment=moment,
        instant=instant,
        readable=readable,
        when=when,
        plain=plain,
    )
    app.jinja_env.globals["zone_names"] = names
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
