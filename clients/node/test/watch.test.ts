/** The view is what Redis answers: whatever is published, spent, lost and cut, and however the clock goes on. */

import assert from "node:assert/strict";
import { after, beforeEach, describe, test } from "node:test";
import type { Watch } from "budget-engine-client";
import { script } from "../dist/scripts.js";
import { Hours } from "../dist/watch/hours.js";
import { readBrand, readCampaign, readMessage } from "../dist/watch/messages.js";
import { View } from "../dist/watch/view.js";
import { Wanted } from "../dist/watch/wanted.js";
import {
  BRAND,
  CAMPAIGN,
  client,
  DAY_MS,
  NEXT_CAMPAIGN,
  plain,
  plant,
  plantBrand,
  plantShard,
  SKIP,
} from "./support.js";

const SHARD = BRAND % 64;
const TAG = `budget:{${SHARD}}:`;
const watches: Watch[] = [];

after(() => {
  for (const watch of watches) {
    watch.close();
  }
});

async function until(true_: () => boolean, what: string): Promise<void> {
  const began = Date.now();
  while (!true_()) {
    assert.ok(Date.now() - began < 20_000, `it did not come: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

async function ready(watch: Watch): Promise<Watch> {
  watches.push(watch);
  assert.ok(await watch.waitReady(20_000), watch.why);
  return watch;
}

/** The engine's own call that publishes plans: of the brand, and of campaigns by id. */
async function publish(
  version: number,
  daily: string,
  campaigns: readonly (readonly [number, string, string])[],
): Promise<void> {
  const { text } = script("publish" as "record_spends");
  const keys = [
    `${TAG}shard`,
    `${TAG}registry`,
    `${TAG}journal`,
    `${TAG}brand:${BRAND}`,
    ...campaigns.map(([id]) => `${TAG}campaign:${id}`),
  ];
  const argv = ["1", "11111111-2222-4333-8444-555555555555", String(BRAND), String(version), daily, "", "0", "1"];
  for (const [id, on, schedule] of campaigns) {
    argv.push(String(id), String(version), on, "0", schedule, "1");
  }
  const reply = (await plain().eval(text, keys.length, ...keys, ...argv)) as string[];
  assert.equal(reply[0], "ok");
}

describe("a watch of a real server", { skip: SKIP }, () => {
  beforeEach(() => plant("10000000", ""));

  test("a used-up budget, a pause, a raised budget and a new campaign are seen by their messages", async () => {
    const bidder = client();
    const watch = await ready(bidder.watch({ brands: [BRAND] }));
    assert.equal(watch.mayBid(CAMPAIGN), true);
    assert.deepEqual(watch.status(CAMPAIGN), { status: "active", reasons: [] });
    await bidder.recordSpend({ campaignId: CAMPAIGN, amount: "10" });
    await until(() => !watch.mayBid(CAMPAIGN) && !watch.mayBid(NEXT_CAMPAIGN), "the used-up budget");
    assert.deepEqual(watch.status(CAMPAIGN), { status: "paused", reasons: ["daily_budget"] });
    await publish(2, "20000000", [
      [CAMPAIGN, "0", ""],
      [CAMPAIGN + 2, "1", ""],
    ]);
    await until(() => watch.mayBid(NEXT_CAMPAIGN) && watch.mayBid(CAMPAIGN + 2), "the raised budget");
    assert.equal(watch.mayBid(CAMPAIGN), false);
    assert.deepEqual(watch.status(CAMPAIGN).reasons, ["manual"]);
    assert.throws(() => watch.status(CAMPAIGN + 9), { name: "NotFound" });
  });

  test("a watch of some campaigns has no others", async () => {
    const watch = await ready(client().watch({ campaigns: [NEXT_CAMPAIGN] }));
    assert.deepEqual([watch.mayBid(CAMPAIGN), watch.mayBid(NEXT_CAMPAIGN), watch.size], [false, true, 1]);
  });

  test("a shard that lost its mark is stale until it is whole again, and fails closed", async () => {
    const watch = await ready(client().watch({ brands: [BRAND] }));
    const open = await ready(client().watch({ brands: [BRAND], failOpen: true }));
    const mark = String(await plain().hget(`${TAG}shard`, "mark"));
    await plain().hdel(`${TAG}shard`, "mark");
    await until(() => watch.stale && open.stale, "the lost mark");
    assert.match(watch.why, /shard 17 is not ready \(unmarked\)/);
    assert.deepEqual([watch.mayBid(CAMPAIGN), open.mayBid(CAMPAIGN)], [false, true]);
    assert.deepEqual(watch.status(CAMPAIGN).reasons, ["stale"]);
    await plain().hset(`${TAG}shard`, "mark", mark);
    await until(() => !watch.stale && watch.mayBid(CAMPAIGN), "the mark");
  });

  test("a connection that is cut is stale at once, and a new one reads everything again", async () => {
    const watch = await ready(client().watch({ brands: [BRAND] }));
    let seen = false;
    const looking = setInterval(() => {
      seen ||= watch.stale;
    }, 1);
    await plain().call("CLIENT", ["KILL", "TYPE", "pubsub"]);
    await plain().hset(`${TAG}campaign:${CAMPAIGN}`, "on", "0");
    await until(() => seen, "the cut");
    await until(() => !watch.stale, "the new connection");
    clearInterval(looking);
    assert.deepEqual([watch.mayBid(CAMPAIGN), watch.mayBid(NEXT_CAMPAIGN)], [false, true]);
  });

  test("a watch of everything reads every shard, and a closed one lets nothing bid", async () => {
    await plain().flushdb();
    for (let shard = 0; shard < 64; shard++) {
      await plantShard(plain(), shard, { [64 + shard]: 1 });
      await plantBrand(plain(), 64 + shard, 1);
    }
    const watch = await ready(client().watch());
    assert.equal(watch.size, 64);
    assert.ok(Array.from({ length: 64 }, (_, i) => watch.mayBid((64 + i) * 65536 + 1)).every(Boolean));
    watch.close();
    assert.equal(watch.mayBid(65 * 65536 + 1), false);
    assert.equal(watch.stale, true);
  });

  test("the view agrees with the scripts about every campaign, step by step", async () => {
    const bidder = client();
    const watch = await ready(bidder.watch({ brands: [BRAND] }));
    let seed = 7;
    const chance = (n: number): number => {
      seed = (seed * 48271) % 2147483647;
      return seed % n;
    };
    for (let step = 1; step <= 60; step++) {
      const campaign = CAMPAIGN + chance(3);
      if (chance(3) === 0) {
        const daily = ["", "0", String(1 + chance(40) * 1_000_000)][chance(3)];
        await publish(step + 1, daily, [[campaign, String(chance(2)), ["", "1234567@0-1440", "1@0-1"][chance(3)]]]);
      } else {
        await bidder.recordSpend({ campaignId: campaign, amountMicros: 1 + chance(4_000_000) });
      }
      for (const each of [CAMPAIGN, NEXT_CAMPAIGN, CAMPAIGN + 2]) {
        const status = await bidder.status(each).catch(() => undefined);
        if (status !== undefined) {
          await until(() => watch.mayBid(each) === (status.status === "active"), `${step} ${each} ${status.reasons}`);
          assert.deepEqual(watch.status(each).reasons, status.reasons);
        }
      }
    }
  });
});

test("a day's end frees a daily budget, a month's a monthly one, and a limit of 0 stays used up", () => {
  const view = new View(false, new Wanted([BRAND], undefined));
  const noon = Date.UTC(2026, 10, 29, 12);
  const text = "1:0:10:20:1:0";
  view.restart(noon);
  view.load(SHARD, [[BRAND, readBrand(1, noon, text), [readCampaign(CAMPAIGN, "1:1:0:", 1, noon)]]]);
  assert.deepEqual([view.running.has(CAMPAIGN), view.mask(CAMPAIGN)], [false, 8]);
  assert.equal(view.advance(noon), Math.floor(noon / DAY_MS) * DAY_MS + DAY_MS);
  view.advance(Date.UTC(2026, 10, 30));
  assert.equal(view.running.has(CAMPAIGN), true);
  const month = readMessage(`${BRAND} monthly_budget exhausted ${noon + DAY_MS} 2`);
  assert.equal(month.kind, "budget");
  view.apply(month as Exclude<typeof month, { kind: "shard" }>);
  assert.equal(view.mask(CAMPAIGN), 16);
  view.advance(Date.UTC(2026, 11, 1));
  assert.equal(view.running.has(CAMPAIGN), true);
  const zero = readMessage(`${BRAND} plan published ${noon + 2 * DAY_MS} 3 2:0:0::1:0`);
  view.apply(zero as Exclude<typeof zero, { kind: "shard" }>);
  view.advance(Date.UTC(2026, 11, 25));
  assert.equal(view.mask(CAMPAIGN), 8);
});

test("an older message overwrites nothing, and an older plan neither", () => {
  const view = new View(false, new Wanted(undefined, undefined));
  const now = Date.UTC(2026, 10, 29, 12);
  view.restart(now);
  view.load(SHARD, [[BRAND, readBrand(5, now, "3:0:10::0:0"), [readCampaign(CAMPAIGN, "3:1:0:", 5, now)]]]);
  for (const text of [
    `${BRAND} daily_budget exhausted ${now} 4`,
    `${BRAND} plan published ${now} 4 2:1:10::1:0 ${CAMPAIGN}:2:0:1:`,
  ]) {
    view.apply(readMessage(text) as never);
    assert.equal(view.running.has(CAMPAIGN), true, text);
  }
  view.apply(readMessage(`${BRAND} later_budget exhausted ${now} 6`) as never);
  assert.equal(view.mask(CAMPAIGN), 2 ** 52);
  assert.throws(() => readMessage("what is this"));
});

test("own budgets, flights and the breaker stop a campaign alone", () => {
  const view = new View(false, new Wanted(undefined, undefined));
  const now = Date.UTC(2026, 10, 29, 12);
  const own = (id: number, more: string): ReturnType<typeof readCampaign> => readCampaign(id, `1:1:0:${more}`, 1, now);
  view.restart(now);
  const flights = `::::0:0:0:1,1,${now - 1000},${now + 1000},9:2,2,${now + 5000},${now + 9000},9:0:0`;
  view.load(SHARD, [
    [
      BRAND,
      readBrand(1, now, "1:0:::0:0"),
      [
        own(CAMPAIGN, ":9:::1:0:0"),
        own(NEXT_CAMPAIGN, flights),
        own(CAMPAIGN + 2, "::::0:0:0:bk=5"),
        own(CAMPAIGN + 3, "::::0:0:0"),
      ],
    ],
  ]);
  assert.deepEqual(
    [0, 1, 2, 3].map((i) => view.mask(CAMPAIGN + i)),
    [32, 0, 2048, 0],
  );
  view.apply(readMessage(`${NEXT_CAMPAIGN} flight_budget exhausted ${now} 2`) as never);
  assert.equal(view.mask(NEXT_CAMPAIGN), 128);
  assert.equal(view.advance(now), now + 1000);
  view.advance(now + 1000);
  assert.equal(view.mask(NEXT_CAMPAIGN), 256);
  view.advance(now + 5000);
  assert.equal(view.running.has(NEXT_CAMPAIGN), true);
  view.apply(readMessage(`${CAMPAIGN + 3} breaker exhausted ${now} 3`) as never);
  assert.equal(view.running.has(CAMPAIGN + 3), false);
});

test("a brand with a time zone has its own days, months and windows, also where its offset changes", () => {
  const view = new View(false, new Wanted(undefined, undefined));
  const HOUR = 3_600_000;
  const change = Date.UTC(2027, 2, 28, 1);
  const now = Date.UTC(2027, 2, 27, 22, 30);
  const berlin = `zone=${HOUR},${change},${2 * HOUR}`;
  view.restart(now);
  const morning = readCampaign(NEXT_CAMPAIGN, "1:1:0:7@180-240", 1, now);
  view.load(SHARD, [
    [BRAND, readBrand(1, now, `1:0:10:20:1:0:${berlin}`), [readCampaign(CAMPAIGN, "1:1:0:", 1, now), morning]],
  ]);
  assert.equal(view.mask(CAMPAIGN), 8);
  // Midnight in Berlin is 23:00 UTC; 03:00 there on that Sunday is 01:00 UTC, when the clocks go ahead.
  assert.equal(view.advance(now), Date.UTC(2027, 2, 27, 23));
  view.advance(Date.UTC(2027, 2, 27, 23));
  assert.deepEqual([view.mask(CAMPAIGN), view.mask(NEXT_CAMPAIGN)], [0, 4]);
  view.advance(change);
  assert.equal(view.running.has(NEXT_CAMPAIGN), true);
  view.advance(change + HOUR);
  assert.equal(view.running.has(NEXT_CAMPAIGN), false);
  view.apply(readMessage(`${BRAND} monthly_budget exhausted ${change + HOUR} 2`) as never);
  assert.equal(view.mask(CAMPAIGN), 16);
  view.advance(Date.UTC(2027, 2, 31, 21, 59));
  assert.equal(view.mask(CAMPAIGN), 16);
  view.advance(Date.UTC(2027, 2, 31, 22));
  assert.equal(view.mask(CAMPAIGN), 0);
  view.apply(readMessage(`${BRAND} plan published ${change} 3 2:0:10:20:0:0`) as never);
  assert.equal(view.mask(NEXT_CAMPAIGN), 4);
  view.apply(readMessage(`${BRAND} pass_rate:500000 restored ${change} 4`) as never);
  assert.equal(view.running.has(CAMPAIGN), true);
});

test("a schedule opens and closes to the minute, over midnight and over the week's end", () => {
  const monday = Date.UTC(2026, 10, 30);
  const MINUTE = 60_000;
  const office = new Hours("12345@540-1020");
  assert.deepEqual(
    [539, 540, 1019, 1020].map((minute) => office.isOpen(monday + minute * MINUTE)),
    [false, true, true, false],
  );
  assert.equal(office.nextChangeMs(monday), monday + 540 * MINUTE);
  assert.equal(office.nextChangeMs(monday + 1020 * MINUTE), monday + DAY_MS + 540 * MINUTE);
  assert.equal(office.nextChangeMs(monday + 5 * DAY_MS), monday + 7 * DAY_MS + 540 * MINUTE);
  const weekend = new Hours("7@1320-1440;1@0-120");
  assert.equal(weekend.nextChangeMs(monday - 10 * MINUTE), monday + 120 * MINUTE);
  assert.equal(weekend.nextChangeMs(monday + 120 * MINUTE), monday + 6 * DAY_MS + 1320 * MINUTE);
  assert.equal(new Hours("").nextChangeMs(monday), undefined);
  assert.equal(new Hours("1234567@0-1440").nextChangeMs(monday), undefined);
  assert.equal(new Hours("odd").isOpen(monday), false);
});
