import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { CAMPAIGN, client, plain, plant, SKIP, spentToday } from "./support.js";

describe("holds and refunds on a real server", { skip: SKIP }, () => {
  beforeEach(() => plant("10000000", ""));

  test("a hold takes room from tries, is settled at the real price, and the rest is free again", async () => {
    const bidder = client();
    const held = await bidder.reserve({ campaignId: CAMPAIGN, amount: "6", ttlS: 60 });
    assert.deepEqual([held.outcome, held.ok, held.dailySpend], ["accepted", true, "0.000000"]);
    const refused = await bidder.reserve({ campaignId: CAMPAIGN, amount: "4.000001" });
    assert.deepEqual([refused.outcome, refused.reasons], ["refused", ["daily_budget"]]);
    assert.equal((await bidder.trySpend({ campaignId: CAMPAIGN, amount: "5" })).outcome, "refused");
    const settled = await bidder.settle(held.holdId, { amount: "2.5" });
    assert.deepEqual([settled.outcome, settled.mark, settled.dailyRemaining], ["settled", "", "7.500000"]);
    assert.equal((await bidder.settle(held.holdId, { amount: "2.5" })).ok, true);
    assert.equal((await bidder.settle(held.holdId, { amount: "2" })).outcome, "conflict");
    assert.equal((await bidder.trySpend({ campaignId: CAMPAIGN, amount: "7.5" })).outcome, "accepted");
    assert.equal(await spentToday(), 10_000_000);
  });

  test("a released hold gives everything back, and a price above it or without one is marked", async () => {
    const bidder = client();
    const { holdId } = await bidder.reserve({ campaignId: CAMPAIGN, amount: "10", holdId: "bid-1" });
    assert.equal(holdId, `${CAMPAIGN}:bid-1`);
    assert.equal((await bidder.release(holdId)).outcome, "released");
    const after = await bidder.settle(holdId, { amount: "1" });
    assert.deepEqual([after.outcome, after.mark, after.ok], ["settled", "late", true]);
    assert.equal((await bidder.release(`${CAMPAIGN}:never`)).outcome, "unknown_hold");
    await bidder.reserve({ campaignId: CAMPAIGN, amountMicros: 5, holdId: "bid-2" });
    assert.equal((await bidder.settle(`${CAMPAIGN}:bid-2`, { amountMicros: 6 })).mark, "over");
    assert.equal(await spentToday(), 1_000_006);
  });

  test("a hold whose time is over comes back by itself", async () => {
    const bidder = client();
    const { holdId } = await bidder.reserve({ campaignId: CAMPAIGN, amount: "10", ttlS: 0.02 });
    await new Promise((resolve) => setTimeout(resolve, 40));
    assert.equal((await bidder.trySpend({ campaignId: CAMPAIGN, amount: "10" })).outcome, "accepted");
    assert.equal((await bidder.release(holdId)).outcome, "expired");
  });

  test("a refund is paid once, in parts too, and never more than was spent", async () => {
    const bidder = client();
    await bidder.recordSpend({ campaignId: CAMPAIGN, amount: "3", eventId: "win" });
    const part = { campaignId: CAMPAIGN, amount: "1", eventId: "win", refundId: "a" };
    for (let times = 0; times < 2; times++) {
      const result = await bidder.refund(part);
      assert.deepEqual([result.outcome, result.ok, result.detail], ["refunded", true, ""]);
    }
    assert.equal(await spentToday(), 2_000_000);
    const more = await bidder.refund({ ...part, refundId: "b", amount: "2.000001" });
    assert.equal(more.outcome, "conflict");
    assert.match(more.detail, /more than was spent/);
    const never = { campaignId: CAMPAIGN, amount: "1", eventId: "never" };
    assert.equal((await bidder.refund(never)).outcome, "unknown_event");
    const today = new Date().toISOString().slice(0, 10);
    assert.equal((await bidder.refund({ ...never, spentOn: today })).outcome, "pending");
    await assert.rejects(bidder.refund({ ...never, spentOn: "2999-01-01" }), {
      name: "InvalidInput",
      field: "spentOn",
      message: /until today by the clock of brand 81: /,
    });
    assert.equal(await spentToday(), 2_000_000);
  });

  test("a shard that is not ready takes no hold and no refund", async () => {
    await plain().hdel("budget:{17}:shard", "mark");
    const bidder = client();
    const held = await bidder.reserve({ campaignId: CAMPAIGN, amount: "1" });
    const refund = await bidder.refund({ campaignId: CAMPAIGN, amount: "1", eventId: "e" });
    assert.deepEqual(
      [held.outcome, held.ok, refund.outcome, refund.detail],
      ["not_ready", false, "not_ready", "unmarked"],
    );
  });
});
