"""The rules as pure Python: a model of one installation that answers as Redis must.

Read it in this order: `plan` (budgets and causes), `spends`, `holds`, `refunds`, `publishing`, `decisions`, then `memory`, `journal`, `closing` and
`rebuilding`.
"""

from tests.model.answers import Answer, Figures
from tests.model.holds import Operation
from tests.model.journal import Asked, Change, Entry, Row, Spend, Step, Verdict
from tests.model.leases import Drawing, Granted, Leasing
from tests.model.publishing import BrandPlan, CampaignPlan
from tests.model.shard import NotReady, Shard
from tests.model.twin import ReferenceModel

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
    "ReferenceModel",
    "Row",
    "Shard",
    "Spend",
    "Step",
    "Verdict",
]
