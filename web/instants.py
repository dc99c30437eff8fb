"""A field for an instant: the browser's own control for the brand's clock, and plain text where the control cannot say it."""

from __future__ import annotations

import re
from typing import Any, Final

from markupsafe import Markup
from wtforms import StringField

from engine.domain.flights import InvalidFlight, instant_text, parse_instant
from engine.domain.zone_text import Local
from web.formats import instant

_ON_THE_CLOCK: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,3})?)?")


class InstantField(StringField):  # type: ignore[misc]  # WTForms has no types
    """Its text is read by `parse_instant`. With a zone, or after a refusal (an hour that the clock shows twice needs its zone), it is typed."""

    def __call__(self, **given: Any) -> Markup:
        """The input."""
        data = self.data or ""
        if self.errors or (data and not _ON_THE_CLOCK.fullmatch(data)):
            given |= {"placeholder": "2026-12-01T18:00Z"}
        else:
            given |= {"type": "datetime-local", "step": "any"}
        html: Markup = super().__call__(**given)
        return html


def on_the_clock(ms: int, local: Local) -> str:
    """An instant as the control takes it; with its zone where the brand's clock shows it twice."""
    text = instant_text(local.zone.local_ms(ms)).removesuffix("Z")
    try:
        once = parse_instant(text, "at", local) == ms
    except InvalidFlight:
        once = False
    return text if once else instant(ms, local)
