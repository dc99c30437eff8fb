"""The pages of buyers, for faults of servers."""

from __future__ import annotations


def shown_to_buyers(campaign: int) -> list[str]:
    """Pages that name a server which hangs, also where they show nothing of it."""
    brand = campaign >> 16
    of_brand = [
        f"/brands/{brand}{tab}" for tab in ("", "?tab=campaigns", "?tab=days", "?tab=activity", "/notes", "/limits")
    ]
    return [
        "/", "/?q=aurora", *of_brand, f"/campaigns/{campaign}", f"/campaigns/{campaign}/flights", "/system", "/activity", "/alerts",
        "/alerts/history", "/alerts/rules", "/alerts/webhooks", "/import", "/people",
    ]  # fmt: skip
