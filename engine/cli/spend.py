"""The command `spend`: sends one spend through the bidder's client."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import click

from engine.cli.app import App, pass_app
from engine.cli.group import Command
from engine.cli.output import NO_LIMIT, print_json, spend_document
from engine.domain.causes import status_of

if TYPE_CHECKING:
    from engine.live.replies import SpendResult


@click.command(cls=Command, any_revision=True, context_settings={"ignore_unknown_options": True})
@click.argument("campaign_id")
@click.argument("amount")
@click.option("--event-id", help="The exchange's id of the win notice: the same one again counts once.")
@click.option(
    "--try", "ask", is_flag=True, help="Ask first: refused, with nothing consumed, if a budget would be exceeded."
)
@pass_app
def spend(app: App, campaign_id: str, amount: str, event_id: str | None, ask: bool) -> int:
    """Report a spend of AMOUNT (such as 0.001234) on a campaign, or with --try ask for it. Exit 1 when it was not counted."""
    verb = app.client.try_spend if ask else app.client.record_spend
    result = verb(app.campaign_id(campaign_id), amount, event_id=event_id)
    if app.json:
        print_json(spend_document(result))
    else:
        click.echo(in_words(result))
    return 0 if result else 1


def in_words(result: SpendResult) -> str:
    """Formats a result as one line for people."""
    text = result.outcome.replace("_", " ")
    if result.detail:
        text += f" ({result.detail})"
    if result.reasons:
        # A passing cause pauses nothing: it refuses what comes for a while.
        now = (
            ""
            if result.outcome == "refused"
            else f"now {'paused' if status_of(result.reasons) == 'paused' else 'held back'}: "
        )
        text += f" ({now}{', '.join(result.reasons)})"
    if result.daily_spend is None:
        return text
    return (
        f"{text}: today {result.daily_spend} spent, {_left(result.daily_remaining)};"
        f" this month {result.monthly_spend} spent, {_left(result.monthly_remaining)}"
    )


def _left(remaining: Decimal | None) -> str:
    return NO_LIMIT if remaining is None else f"{remaining} left"
