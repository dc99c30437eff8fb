/** The wire is cut at every byte of a call and of its reply, or goes silent: each spend counts once all the same. */

import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import { type BudgetClient, type SpendResult, Unavailable } from "budget-engine-client";
import { Relay, type Side } from "./relay.js";
import {
  CAMPAIGN,
  client,
  journal,
  plain,
  plant,
  plantBrand,
  plantShard,
  SKIP,
  spentToday,
  URL_OF_REDIS,
} from "./support.js";

/** What is cut at every byte is a single spend and a batch; the other calls go the same way. */
const STEP = 5;

type Outcome = { readonly ok: boolean };

describe("a wire that fails", { skip: SKIP }, () => {
  let relay: Relay;
  before(async () => {
    relay = await Relay.to(URL_OF_REDIS);
  });
  beforeEach(() => plant("", "", 8));
  after(() => relay.close());

  /** Cuts one call at each byte of a side, or each `step`th; `call` gets a number of its own. Returns how many calls. */
  async function cutEverywhere(
    side: Side,
    step: number,
    call: (n: number) => Promise<Outcome | Outcome[]>,
  ): Promise<number> {
    await call(0);
    let calls = 1;
    for (let byte = 1; ; byte += step) {
      const cuts = relay.cuts;
      relay.cut(side, byte);
      const results = [await call(calls)].flat();
      calls += 1;
      assert.ok(
        results.every((result) => result.ok),
        `${side} byte ${byte}`,
      );
      if (relay.cuts === cuts) {
        relay.cut(side, Number.POSITIVE_INFINITY);
        return calls;
      }
    }
  }

  for (const side of ["request", "reply"] as const) {
    test(`a spend whose ${side} is cut at any byte counts once`, async () => {
      const bidder = client({}, relay.of(URL_OF_REDIS));
      const calls = await cutEverywhere(side, 1, () => bidder.recordSpend({ campaignId: CAMPAIGN, amountMicros: 3 }));
      assert.ok(calls > (side === "request" ? 300 : 40), `${calls} calls`);
      assert.equal(await spentToday(), 3 * calls);
      assert.equal((await journal()).length, calls + 1);
    });

    test(`a packed batch whose ${side} is cut at any byte counts once`, async () => {
      const bidder = client({}, relay.of(URL_OF_REDIS));
      const calls = await cutEverywhere(side, 1, (n) =>
        bidder.recordSpends(
          Array.from({ length: 8 }, (_, i) => ({ campaignId: CAMPAIGN, amountMicros: 1 + i, eventId: `${n}.${i}` })),
        ),
      );
      assert.equal(await spentToday(), 36 * calls);
    });

    test(`spends that share a call whose ${side} is cut at any byte count once`, async () => {
      const bidder = client({}, relay.of(URL_OF_REDIS));
      const calls = await cutEverywhere(side, STEP, () =>
        Promise.all([1, 2, 3].map((micros) => bidder.trySpend({ campaignId: CAMPAIGN, amountMicros: micros }))),
      );
      assert.equal(await spentToday(), 6 * calls);
    });

    test(`a hold whose ${side} is cut at any byte is set aside once, and settled once`, async () => {
      const bidder = client({}, relay.of(URL_OF_REDIS));
      const calls = await cutEverywhere(side, STEP, async (n) => {
        const held = await bidder.reserve({ campaignId: CAMPAIGN, amountMicros: 10, holdId: `h${n}` });
        return [held, await bidder.settle(held.holdId, { amountMicros: 7 })];
      });
      assert.equal(await spentToday(), 7 * calls);
      assert.equal(await plain().exists("budget:{17}:holds:81"), 0);
    });

    test(`a refund whose ${side} is cut at any byte is paid once`, async () => {
      const bidder = client({}, relay.of(URL_OF_REDIS));
      let most = 0;
      const calls = await cutEverywhere(side, STEP, async (n) => {
        most = n;
        const event = { campaignId: CAMPAIGN, amountMicros: 5, eventId: `e${n}` };
        return [await bidder.recordSpend(event), await bidder.refund({ ...event, amountMicros: 2 })];
      });
      assert.equal(most, calls - 1);
      assert.equal(await spentToday(), 3 * calls);
    });
  }

  test("a batch over shards that gets some answers is Unavailable with these, and a repeat counts nothing twice", async () => {
    await plantShard(plain(), 82 % 64, { 82: 1 });
    await plantBrand(plain(), 82, 1);
    const bidder = client({ timeoutMs: 300 }, relay.of(URL_OF_REDIS));
    await bidder.recordSpend({ campaignId: CAMPAIGN, amountMicros: 1 });
    const other = 82 * 65536 + 1;
    await client().recordSpend({ campaignId: other, amountMicros: 1 });
    const spends = Array.from({ length: 20 }, (_, i) => ({ campaignId: i % 2 ? other : CAMPAIGN, amountMicros: 10 }));
    const failed = await halfAnswered(bidder, spends);
    assert.equal(failed.requestId, "half");
    assert.equal(failed.answers.length, 20);
    const told = failed.answers.filter((answer): answer is SpendResult => answer !== null);
    assert.ok(told.every((answer) => answer.outcome === "recorded"));
    relay.silent = false;
    const again = await client().recordSpends(spends, { requestId: "half" });
    assert.ok(again.every((result) => result.outcome === "recorded"));
    assert.deepEqual([await spentToday(), await spentToday(other)], [101, 101]);
  });

  async function halfAnswered(
    bidder: BudgetClient,
    spends: { campaignId: number; amountMicros: number }[],
  ): Promise<Unavailable> {
    const sent = bidder.recordSpends(spends, { requestId: "half" }).catch((error: unknown) => error);
    relay.silent = true;
    const error = await sent;
    assert.ok(error instanceof Unavailable, String(error));
    return error;
  }

  test("spends that shared a silent call are repeated on this client, each by its own id", async () => {
    const bidder = client({ timeoutMs: 300 }, relay.of(URL_OF_REDIS));
    await bidder.recordSpend({ campaignId: CAMPAIGN, amountMicros: 1 });
    relay.silent = true;
    const spends = [5, 6, 7].map((amountMicros) => ({ campaignId: CAMPAIGN, amountMicros }));
    const failed = await Promise.allSettled(spends.map((spend) => bidder.recordSpend(spend)));
    relay.silent = false;
    const ids = failed.map((each) => (each.status === "rejected" ? (each.reason as Unavailable).requestId : ""));
    assert.ok(
      ids.every((id, i) => id.endsWith(`#${i}`)),
      String(ids),
    );
    for (let round = 0; round < 2; round++) {
      const again = await Promise.all(spends.map((spend, i) => bidder.recordSpend(spend, { requestId: ids[i] })));
      assert.ok(again.every((result) => result.outcome === "recorded"));
    }
    assert.equal((await bidder.recordSpend(spends[0], { requestId: ids[1] })).outcome, "conflict");
    await assert.rejects(client().recordSpend(spends[0], { requestId: ids[0] }), { name: "InvalidId" });
    assert.equal(await spentToday(), 19);
  });
});
