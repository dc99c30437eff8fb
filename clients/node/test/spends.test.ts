import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { BudgetClient, Unavailable } from "budget-engine-client";
import {
  CAMPAIGN,
  client,
  journal,
  NEXT_CAMPAIGN,
  plain,
  plant,
  plantBrand,
  plantShard,
  SKIP,
  spentToday,
} from "./support.js";

describe("spends on a real server", { skip: SKIP }, () => {
  beforeEach(() => plant("10000000", "200000000"));

  test("a recorded spend is counted to the day and the month, and the result has the brand's figures", async () => {
    const result = await client().recordSpend({ campaignId: CAMPAIGN, amount: "2.50", eventId: "win-1" });
    assert.equal(result.outcome, "recorded");
    assert.equal(result.ok, true);
    assert.deepEqual(result.reasons, []);
    assert.equal(result.dailySpend, "2.500000");
    assert.equal(result.monthlySpend, "2.500000");
    assert.equal(result.dailyRemaining, "7.500000");
    assert.equal(result.monthlyRemaining, "197.500000");
    assert.equal(await spentToday(), 2_500_000);
  });

  test("a try above the budget is refused with its cause and consumes nothing", async () => {
    const bidder = client();
    const refused = await bidder.trySpend({ campaignId: CAMPAIGN, amount: "10.000001" });
    assert.equal(refused.outcome, "refused");
    assert.equal(refused.ok, false);
    assert.deepEqual(refused.reasons, ["daily_budget"]);
    assert.equal((await bidder.trySpend({ campaignId: CAMPAIGN, amountMicros: 10_000_000n })).outcome, "accepted");
    assert.equal(await spentToday(), 10_000_000);
  });

  test("a repeat under its request id counts once, and an event id counts once under any", async () => {
    const bidder = client();
    const spend = { campaignId: CAMPAIGN, amount: "1", eventId: "e" };
    const outcomes = [
      await bidder.recordSpend(spend, { requestId: "r" }),
      await bidder.recordSpend(spend, { requestId: "r" }),
      await bidder.recordSpend(spend, { requestId: "s" }),
      await bidder.recordSpend({ ...spend, amount: "2" }),
      await bidder.recordSpend({ campaignId: CAMPAIGN + 7, amount: "1" }),
    ].map((result) => result.outcome);
    assert.deepEqual(outcomes, ["recorded", "recorded", "duplicate", "conflict", "unknown_campaign"]);
    assert.equal(await spentToday(), 1_000_000);
  });

  test("single spends that are open together share a call, and each has its own outcome", async () => {
    const bidder = client();
    const results = await Promise.all(
      Array.from({ length: 100 }, (_, i) => bidder.trySpend({ campaignId: CAMPAIGN + (i % 2), amountMicros: 150_000 })),
    );
    assert.equal(results.filter((result) => result.ok).length, 66);
    assert.equal((await spentToday()) + (await spentToday(NEXT_CAMPAIGN)), 66 * 150_000);
    assert.ok((await journal()).length <= 3, "a hundred spends are one or two calls");
  });

  test("a batch counts each spend in its order, packed or as text, with event ids or without", async () => {
    const bidder = client();
    for (const size of [1, 7, 8, 50]) {
      for (const kind of ["plain", "named", "mixed", "timed"] as const) {
        await plant();
        const spends = Array.from({ length: size }, (_, i) => ({
          campaignId: CAMPAIGN + (i % 2),
          amountMicros: i === 3 ? 5_000_000_000 : 1 + i,
          eventId: kind === "named" || (kind === "mixed" && i % 2 === 0) ? `e${i}` : undefined,
          occurredAt: kind === "timed" ? new Date() : undefined,
        }));
        const before = await bidder.recordSpends(spends, { requestId: "batch" });
        const again = await bidder.recordSpends(spends, { requestId: "batch" });
        assert.deepEqual(new Set([...before, ...again].map((result) => result.outcome)), new Set(["recorded"]));
        assert.equal(before.length, size);
        const total = spends.reduce((sum, spend) => sum + spend.amountMicros, 0);
        assert.equal((await spentToday()) + (await spentToday(NEXT_CAMPAIGN)), total, `${size} ${kind}`);
      }
    }
  });

  test("a batch of columns is what a batch of spends is", async () => {
    const ids = new Float64Array(20).fill(CAMPAIGN);
    const results = await client().trySpendColumns(ids, new Array(20).fill(600_000));
    assert.deepEqual(
      results.map((result) => result.outcome),
      [...new Array(16).fill("accepted"), ...new Array(4).fill("refused")],
    );
    assert.equal(await spentToday(), 9_600_000);
  });

  test("a batch over several shards and calls answers in its order, with the figures after all of it", async () => {
    const campaigns = [82, 83, 84, 85].map((brand) => brand * 65536 + 1);
    for (const brand of [82, 83, 84, 85]) {
      await plantShard(plain(), brand % 64, { [brand]: 1 });
      await plantBrand(plain(), brand, 1, brand === 85 ? "1500" : "");
    }
    const spends = Array.from({ length: 6000 }, (_, i) => ({ campaignId: campaigns[i % 4], amountMicros: 1 }));
    const results = await client().trySpends(spends, { requestId: "many" });
    results.forEach((result, i) => {
      assert.equal(result.campaignId, campaigns[i % 4]);
    });
    assert.equal(results.filter((result) => result.ok).length, 6000);
    assert.equal(results[0].dailySpend, "0.001500");
    assert.deepEqual(results[3].reasons, ["daily_budget"]);
    for (const campaign of campaigns) {
      assert.equal(await spentToday(campaign), 1500);
    }
    assert.deepEqual(
      (await journal(82 % 64)).slice(1).map((entry) => entry.r),
      ["many/18/0", "many/18/1"],
    );
  });

  test("a shard without its mark takes nothing, and a server of another layout is named", async () => {
    await plain().hdel("budget:{17}:shard", "mark");
    const result = await client().recordSpend({ campaignId: CAMPAIGN, amount: "1" });
    assert.equal(result.outcome, "not_ready");
    assert.equal(result.detail, "unmarked");
    assert.equal(result.dailySpend, null);
    await assert.rejects(client().status(CAMPAIGN), { name: "NotReady" });
  });

  test("the status names the causes, and an unknown campaign is not found", async () => {
    const bidder = client();
    assert.deepEqual(await bidder.status(CAMPAIGN), { status: "active", reasons: [] });
    await plain().hset(`budget:{17}:campaign:${CAMPAIGN}`, "on", "0");
    await bidder.recordSpend({ campaignId: CAMPAIGN, amount: "10" });
    assert.deepEqual(await bidder.status(CAMPAIGN), { status: "paused", reasons: ["manual", "daily_budget"] });
    await assert.rejects(bidder.status(CAMPAIGN + 9), { name: "NotFound" });
  });

  test("a script that the server lost is loaded again within the call", async () => {
    const bidder = client();
    await bidder.recordSpend({ campaignId: CAMPAIGN, amount: "1" });
    await plain().script("FLUSH");
    const results = await Promise.all(
      [1, 2, 3].map((n) => bidder.trySpend({ campaignId: CAMPAIGN, amount: `0.${n}` }, { requestId: `n${n}` })),
    );
    assert.ok(results.every((result) => result.ok));
    assert.equal(await spentToday(), 1_600_000);
  });

  test("a server that is away is Unavailable by the deadline, with the request id", async () => {
    const away = client({ timeoutMs: 120 }, "redis://127.0.0.1:1/0");
    const began = Date.now();
    const failed = await away
      .recordSpends([{ campaignId: CAMPAIGN, amount: "1" }], { requestId: "gone" })
      .catch((error) => error);
    assert.ok(failed instanceof Unavailable);
    assert.equal(failed.requestId, "gone");
    assert.deepEqual(failed.answers, [null]);
    assert.match(failed.message, /ECONNREFUSED/);
    assert.ok(Date.now() - began < 2000);
  });

  test("a login that is refused is named at once, without the password", async () => {
    const url = new URL(process.env.BUDGET_TEST_REDIS_URL ?? "");
    url.password = "wrong";
    const stranger = BudgetClient.fromUrl(url.href, { timeoutMs: 5000 });
    const began = Date.now();
    const failed = await stranger.recordSpend({ campaignId: CAMPAIGN, amount: "1" }).catch((error) => error);
    await stranger.close();
    assert.ok(failed instanceof Unavailable);
    assert.match(failed.message, /refuses the login/);
    assert.doesNotMatch(failed.message, /:wrong/);
    assert.ok(Date.now() - began < 4000);
  });
});
