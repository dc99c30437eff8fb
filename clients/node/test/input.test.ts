/** What is not money, not an id or not an instant is refused by its name, as in Python, before anything is sent. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { BudgetClient, BudgetError, fromCpm, InvalidInput, type Spend } from "budget-engine-client";
import { formatMicros } from "../dist/money.js";
import { NAMED, PLAIN, pack } from "../dist/packed.js";
import type { Transport } from "../dist/transport.js";
import { placesOf } from "../dist/url.js";

const CAMPAIGN = 5308417;
const BAD_INPUT = process.env.BUDGET_TEST_BAD_INPUT ?? "";

/** A value that Python refused, with its error. `call`: which argument it was. */
interface Refused {
  readonly call: "amount" | "amount_micros" | "event_id" | "request_id" | "campaign_id" | "cpm";
  readonly value: unknown;
  readonly error: string | null;
  readonly micros: number | null;
}

let sent = 0;
const bidder = new BudgetClient({
  where: "nowhere",
  call: async () => {
    sent += 1;
    throw new Error("it was sent");
  },
  close: () => undefined,
} as Partial<Transport> as Transport);

/** Calls that are wrong on purpose are not what the types take. */
function odd(fields: Record<string, unknown>): Spend {
  return fields as unknown as Spend;
}

async function refused(call: () => Promise<unknown>, field: string, name?: string): Promise<void> {
  const error = await call().then(
    () => assert.fail("it was taken"),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof InvalidInput, String(error));
  assert.equal(error.field, field);
  assert.ok(error.message.length < 300 && !error.message.includes("\n"), error.message);
  if (name !== undefined) {
    assert.equal(error.name, name);
  }
  assert.equal(sent, 0, "it was sent");
}

describe("what Python refuses is refused", {
  skip: BAD_INPUT === "" ? "BUDGET_TEST_BAD_INPUT is not set: run `make node`" : false,
}, () => {
  const cases = BAD_INPUT === "" ? [] : (JSON.parse(readFileSync(BAD_INPUT, "utf8")) as Refused[]);
  const good = { campaignId: CAMPAIGN, amount: "1" };
  for (const { call, value, error, micros } of cases) {
    test(`${call} ${JSON.stringify(value).slice(0, 60)}`, async () => {
      if (call === "cpm") {
        if (error === null) {
          assert.equal(fromCpm(String(value)), micros);
        } else {
          assert.throws(() => fromCpm(value as string), { name: error, field: "cpm" });
        }
        return;
      }
      const [field, spend] = {
        amount: ["amount", odd({ campaignId: CAMPAIGN, amount: value })] as const,
        amount_micros: ["amountMicros", odd({ campaignId: CAMPAIGN, amountMicros: value })] as const,
        event_id: ["eventId", odd({ ...good, eventId: value })] as const,
        request_id: ["requestId", good] as const,
        campaign_id: ["campaignId", odd({ amount: "1", campaignId: value })] as const,
      }[call];
      assert.notEqual(error, null);
      const options = call === "request_id" ? { requestId: value as string } : {};
      for (const one of [bidder.recordSpend(spend, options), bidder.trySpend(spend, options)]) {
        await refused(() => one, field, error ?? "");
      }
      const place = call === "request_id" ? field : `spends[1].${field}`;
      await refused(() => bidder.recordSpends([good, spend], options), place, error ?? "");
    });
  }
});

const BAD: readonly (readonly [string, string, () => Promise<unknown>])[] = [
  ["a float", "amount", () => bidder.recordSpend(odd({ campaignId: CAMPAIGN, amount: 1.5 }))],
  ["NaN", "amount", () => bidder.recordSpend(odd({ campaignId: CAMPAIGN, amount: Number.NaN }))],
  ["NaN micros", "amountMicros", () => bidder.trySpend({ campaignId: CAMPAIGN, amountMicros: Number.NaN })],
  [
    "infinite micros",
    "amountMicros",
    () => bidder.trySpend({ campaignId: CAMPAIGN, amountMicros: Number.POSITIVE_INFINITY }),
  ],
  ["half a micro", "amountMicros", () => bidder.trySpend({ campaignId: CAMPAIGN, amountMicros: 0.5 })],
  [
    "a bigint above the limit",
    "amountMicros",
    () => bidder.trySpend({ campaignId: CAMPAIGN, amountMicros: 2n ** 70n }),
  ],
  ["no amount", "amount", () => bidder.recordSpend({ campaignId: CAMPAIGN })],
  ["two amounts", "amountMicros", () => bidder.recordSpend({ campaignId: CAMPAIGN, amount: "1", amountMicros: 1 })],
  [
    "an id of 65 signs",
    "eventId",
    () => bidder.recordSpend({ campaignId: CAMPAIGN, amount: "1", eventId: "e".repeat(65) }),
  ],
  [
    "an id that is a number",
    "eventId",
    () => bidder.recordSpend(odd({ campaignId: CAMPAIGN, amount: "1", eventId: 5 })),
  ],
  [
    "a request id of another client",
    "requestId",
    () => bidder.recordSpend({ campaignId: CAMPAIGN, amount: "1" }, { requestId: "a#1" }),
  ],
  [
    "a text for an instant",
    "occurredAt",
    () => bidder.recordSpend(odd({ campaignId: CAMPAIGN, amount: "1", occurredAt: "now" })),
  ],
  [
    "no instant",
    "occurredAt",
    () => bidder.recordSpend({ campaignId: CAMPAIGN, amount: "1", occurredAt: new Date(Number.NaN) }),
  ],
  [
    "before 1970",
    "occurredAt",
    () => bidder.recordSpend({ campaignId: CAMPAIGN, amount: "1", occurredAt: new Date(-1) }),
  ],
  ["no list", "spends", () => bidder.recordSpends(5 as unknown as Spend[])],
  ["no spend", "spends[1]", () => bidder.trySpends([{ campaignId: CAMPAIGN, amount: "1" }, null as unknown as Spend])],
  ["columns of two lengths", "amountsMicros", () => bidder.recordSpendColumns([CAMPAIGN], [1, 2])],
  ["a float in a column", "amountsMicros[1]", () => bidder.recordSpendColumns([CAMPAIGN, CAMPAIGN], [1, 1.5])],
  ["an odd id in a column", "campaignIds[1]", () => bidder.recordSpendColumns([CAMPAIGN, 65536], [1, 1])],
  [
    "a long id in a column",
    "eventIds[0]",
    () => bidder.recordSpendColumns([CAMPAIGN], [1], { eventIds: ["e".repeat(65)] }),
  ],
  ["a ttl of no time", "ttlS", () => bidder.reserve({ campaignId: CAMPAIGN, amount: "1", ttlS: Number.NaN })],
  ["a ttl of two days", "ttlS", () => bidder.reserve({ campaignId: CAMPAIGN, amount: "1", ttlS: 172_800 })],
  ["a hold without its campaign", "holdId", () => bidder.settle("bid-1", { amount: "1" })],
  ["a hold of no campaign", "holdId", () => bidder.release("65536:bid-1")],
  [
    "a day that is none",
    "spentOn",
    () => bidder.refund({ campaignId: CAMPAIGN, amount: "1", eventId: "e", spentOn: "2026-02-30" }),
  ],
  [
    "a day before 1970",
    "spentOn",
    () => bidder.refund({ campaignId: CAMPAIGN, amount: "1", eventId: "e", spentOn: "1969-12-31" }),
  ],
  [
    "a refund of no event",
    "eventId",
    () => bidder.refund({ campaignId: CAMPAIGN, amount: "1" } as unknown as { campaignId: number; eventId: string }),
  ],
  ["a status of nothing", "campaignId", () => bidder.status(undefined as unknown as number)],
];

for (const [what, field, call] of BAD) {
  test(`${what} is refused before anything is sent`, () => refused(call, field));
}

test("a packed call has its amounts in four bytes, or in eight where one needs them", () => {
  const [sums, log] = pack([CAMPAIGN, CAMPAIGN + 1, CAMPAIGN], [CAMPAIGN, CAMPAIGN + 1], [300, 7, 300], PLAIN);
  assert.equal(sums, `${CAMPAIGN},600,2;${CAMPAIGN + 1},7,1;`);
  assert.equal(log.toString("hex"), "0104000100" + "2c010000" + "07000000" + "2c010000");
  const [wideSums, wide] = pack([CAMPAIGN, CAMPAIGN], [CAMPAIGN], [2 ** 32, 1e12], NAMED);
  assert.equal(wideSums, `${CAMPAIGN},${2 ** 32 + 1e12},2;`);
  assert.equal(wide.toString("hex"), "02080000" + "0000000001000000" + "0010a5d4e8000000");
});

test("money is written with six places, and remainders below zero keep their sign", () => {
  assert.deepEqual([0, 1, 12_500_000, -3_200_000, 9e15].map(formatMicros), [
    "0.000000",
    "0.000001",
    "12.500000",
    "-3.200000",
    "9000000000.000000",
  ]);
});

test("a URL names one server, a cluster or Sentinels, and a wrong one is refused without its password", () => {
  assert.deepEqual(placesOf("redis://:p%40ss@[::1]:7000/3").hosts, [{ host: "::1", port: 7000 }]);
  assert.equal(placesOf("redis://:p%40ss@[::1]:7000/3").password, "p@ss");
  assert.equal(placesOf("redis://h/3").db, 3);
  assert.deepEqual(placesOf("redis+cluster://user:word@a:1,b").hosts, [
    { host: "a", port: 1 },
    { host: "b", port: 6379 },
  ]);
  const watched = placesOf("rediss+sentinel://:p@a,b:2/main/4?sentinel_password=s");
  assert.deepEqual(
    [watched.master, watched.db, watched.sentinelPassword, watched.hosts[0].port],
    ["main", 4, "s", 26379],
  );
  assert.notEqual(watched.tls, undefined);
  assert.equal(placesOf("unix:///run/redis.sock").path, "/run/redis.sock");
  for (const url of [
    "http://h",
    "redis://:secret@h:99999",
    "redis://:sec@ret@h",
    "redis://:secret@a,b",
    "redis+cluster://:secret@h/1",
    "redis+sentinel://:secret@h",
    "redis://:secret@h/x",
    "redis://:secret@h?decode_responses=yes",
    "redis://:secret%ff@h",
  ]) {
    assert.throws(
      () => placesOf(url),
      (error: unknown) => error instanceof BudgetError && error.name === "InvalidSetting" && !/sec/.test(error.message),
      url,
    );
  }
});
