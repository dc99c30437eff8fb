/** On a cluster, or behind Sentinel: every shard is found, watched, and named when it is away. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { client } from "./support.js";

const CLUSTER = process.env.BUDGET_TEST_CLUSTER_URL ?? "";
const ALL = Array.from({ length: 64 }, (_, shard) => (shard === 0 ? 64 : shard) * 65536 + 1);

describe("servers that a URL finds", {
  skip: CLUSTER === "" ? "BUDGET_TEST_CLUSTER_URL is not set: run `make node`" : false,
}, () => {
  test("a batch over all shards is counted once, wherever they are", async () => {
    const bidder = client({ timeoutMs: 20_000 }, CLUSTER);
    const spends = [...ALL, ...ALL].map((campaignId, i) => ({ campaignId, amountMicros: 5, eventId: `c-${i}` }));
    for (let times = 0; times < 2; times++) {
      const results = await bidder.recordSpends(spends, { requestId: "everywhere" });
      assert.ok(results.every((result) => result.outcome === "recorded"));
      assert.ok(results.every((result) => result.dailySpend === "0.000010"));
    }
    const single = await Promise.all(ALL.map((campaignId) => bidder.trySpend({ campaignId, amountMicros: 1 })));
    assert.ok(single.every((result) => result.outcome === "accepted"));
  });

  test("holds, refunds and status find the campaign's server", async () => {
    const bidder = client({ timeoutMs: 20_000 }, CLUSTER);
    for (const campaignId of ALL.slice(0, 12)) {
      const held = await bidder.reserve({ campaignId, amount: "1" });
      assert.equal((await bidder.settle(held.holdId, { amount: "0.5" })).outcome, "settled");
      await bidder.recordSpend({ campaignId, amount: "1", eventId: "back" });
      assert.equal((await bidder.refund({ campaignId, amount: "1", eventId: "back" })).outcome, "refunded");
      assert.equal((await bidder.status(campaignId)).status, "active");
    }
  });

  test("a watch hears every shard over one connection", async () => {
    const watch = client({}, CLUSTER).watch();
    try {
      assert.ok(await watch.waitReady(20_000), watch.why);
      assert.ok(ALL.every((campaignId) => watch.mayBid(campaignId)));
    } finally {
      watch.close();
    }
  });
});
