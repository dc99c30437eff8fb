"""What a batch becomes: how it is cut into calls, and what is refused before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest

from engine.client import batches
from engine.client.batches import PACKED_FROM, pieces_of
from engine.client.spends import Spend
from engine.client.sync import BudgetClient
from engine.domain.ids import ORDINALS, SHARDS
from engine.errors import InvalidInput
from engine.live.scripts import RECORD, TRY
from tests.live.plant import BRAND, CAMPAIGN, Plant


@pytest.mark.parametrize(
    ("brands", "each", "cut"), [(1, 120, [100, 20]), (120, 1, [50, 50, 20]), (50, 2, [100]), (60, 2, [100, 20])]
)
def test_a_call_carries_at_most_a_hundred_campaigns_of_fifty_brands(brands: int, each: int, cut: list[int]) -> None:
    campaigns = [(BRAND + SHARDS * b) * ORDINALS + ordinal for b in range(brands) for ordinal in range(1, each + 1)]
    pieces, size = pieces_of([Spend(campaign, None, None, 5) for campaign in campaigns])
    assert [len(piece.campaign_ids) for piece in pieces] == cut
    assert size == sum(cut)
    assert all(len({c // ORDINALS for c in piece.campaigns}) <= batches.MAX_BRANDS_A_CALL for piece in pieces)


@pytest.mark.parametrize(
    ("verb", "campaigns", "twice", "cut"),
    [
        (RECORD, 20, False, [500, 500]),
        (RECORD, 100, False, [334, 334, 332]),
        (RECORD, 20, True, [200] * 5),
        (TRY, 20, False, [200] * 5),
        (TRY, 100, False, [133] * 7 + [69]),
    ],
)
def test_spends_with_event_ids_are_cut_so_that_no_call_holds_redis_for_long(
    verb: str, campaigns: int, twice: bool, cut: list[int]
) -> None:
    batch = [Spend(CAMPAIGN + i % campaigns, None, f"win-{i}", 5) for i in range(999)]
    batch.append(batch[0] if twice else Spend(CAMPAIGN, None, "win-999", 5))
    pieces, size = pieces_of(batch, verb)
    assert ([len(piece.places) for piece in pieces], size) == (cut, 1000)
    # The same where they are sorted out by shard.
    other = Spend(CAMPAIGN + 65536, None, "win-1000", 5)
    pieces, _ = pieces_of([*batch, other], verb)
    assert [len(piece.places) for piece in pieces] == [*cut, 1]


NO_SPENDS: tuple[tuple[Any, ...], ...] = (
    (None,),
    (7,),
    ("abcde",),
    ((),),
    ((CAMPAIGN,),),
    ((CAMPAIGN, "1", None, None, None, None),),
    ((CAMPAIGN, None, None, 1, None, None),),
    # Together they are as long as two spends, and each column of them looks right.
    ((CAMPAIGN, None, None, 1), (None, CAMPAIGN, None, None, 1, None)),
    ((CAMPAIGN, None, None, 1, None, CAMPAIGN), (None, None, 1, None)),
)


@pytest.mark.parametrize("strange", NO_SPENDS, ids=str)
def test_a_batch_with_something_that_is_no_spend_is_refused_with_its_index_and_nothing_is_counted(
    plant: Plant, client: BudgetClient, strange: tuple[Any, ...]
) -> None:
    plant.brand()
    batch = [*[Spend(CAMPAIGN, None, None, 5)] * PACKED_FROM, *strange]
    with pytest.raises(InvalidInput, match=rf"^spends\[{PACKED_FROM}\]"):
        client.record_spends(batch)
    assert plant.spent() == 0


@pytest.mark.parametrize("form", ["the same", "an event id on the first"])
def test_a_repeated_batch_that_can_no_longer_be_packed_is_a_conflict_on_every_shard_and_counts_nothing(
    plant: Plant, client: BudgetClient, form: str
) -> None:
    other = BRAND + 1
    plant.brand()
    plant.brand(brand_id=other)
    batch = [Spend(brand * ORDINALS + 1, amount_micros=7) for brand in (BRAND, other)] * (PACKED_FROM // 2)
    client.record_spends(batch, request_id="batch")
    again = batch if form == "the same" else [batch[0]._replace(event_id="win"), *batch[1:]]
    told = {answer.outcome for answer in client.record_spends(again, request_id="batch")}
    assert told == {"recorded" if form == "the same" else "conflict"}
    assert [plant.spent(brand) for brand in (BRAND, other)] == [7 * PACKED_FROM // 2] * 2
