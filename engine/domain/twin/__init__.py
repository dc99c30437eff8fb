"""The rules as pure Python: a model of one installation that answers as Redis must.

Read it in this order: `plan` (budgets and causes), `spends`, `holds`, `refunds`, `publishing`, `decisions`, then `memory`, `journal` and `rebuilding`.
"""

from engine.domain.twin.answers import Answer, Figures
from engine.domain.twin.holds import Operation
from engine.domain.twin.journal import Asked, Change, Entry, Row, Spend, Step, Verdict
from engine.domain.twin.leases import Drawing, Granted, Leasing
from engine.domain.twin.publishing import BrandPlan, CampaignPlan
from engine.domain.twin.shard import NotReady, Shard
from engine.domain.twin.twin import Twin

__all__ = [
    "Answer",
    "Asked",
    "BrandPlan",
    "CampaignPlan",
    "Change",
    "Drawing",
    "Entry",
    "Figures",
    "Granted",
    "Leasing",
    "NotReady",
    "Operation",
    "Row",
    "Shard",
    "Spend",
    "Step",
    "Twin",
    "Verdict",
]
