/**
 * `node dist-test/load.js URL`: spends one by one and in batches over all shards until a line comes on
 * stdin, each spend with an event id of its own; then prints what was acknowledged, as a line of JSON. It closes its
 * client when stdin ends. Brand b of 1 to 64 has its first campaign.
 */

import { BudgetClient, type SpendResult } from "budget-engine-client";

const client = BudgetClient.fromUrl(process.argv[2] ?? "", { timeoutMs: 20_000 });
const acknowledged: string[] = [];
const odd = new Set<string>();
let longestMs = 0;
let over = false;

const campaignOf = (shard: number): number => (shard === 0 ? 64 : shard) * 65536 + 1;

function note(events: readonly string[], results: readonly SpendResult[], began: number): void {
  longestMs = Math.max(longestMs, performance.now() - began);
  results.forEach((result, i) => {
    if (result.outcome === "recorded" || result.outcome === "duplicate") {
      acknowledged.push(events[i]);
    } else {
      odd.add(`${result.outcome} ${result.detail}`);
    }
  });
}

async function singles(worker: number): Promise<void> {
  for (let n = 0; !over; n++) {
    const event = `n-${worker}-${n}`;
    const began = performance.now();
    const spend = { campaignId: campaignOf((n + worker * 7) % 64), amountMicros: 1, eventId: event };
    note([event], [await client.recordSpend(spend)], began);
  }
}

async function batches(): Promise<void> {
  for (let n = 0; !over; n++) {
    const events = Array.from({ length: 256 }, (_, i) => `m-${n}-${i}`);
    const began = performance.now();
    const spends = events.map((eventId, i) => ({ campaignId: campaignOf(i % 64), amountMicros: 1, eventId }));
    note(events, await client.recordSpends(spends), began);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const ended = new Promise((resolve) => process.stdin.on("end", resolve));
process.stdin.on("data", () => {
  over = true;
});
console.error("spending");
try {
  await Promise.all([0, 1, 2, 3].map(singles).concat(batches()));
} catch (error) {
  odd.add(String(error));
}
console.log(JSON.stringify({ acknowledged, odd: [...odd], longestMs }));
await ended;
await client.close();
