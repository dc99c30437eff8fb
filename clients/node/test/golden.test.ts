/** The golden vectors: the client's transport gets each reply, its encoder sends each call, its decoder reads each reply. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { BudgetClient, type Spend } from "budget-engine-client";
import { reasonsOf } from "../dist/causes.js";
import { NAMED, PLAIN, pack } from "../dist/packed.js";
import type { Reply } from "../dist/replies.js";
import { script } from "../dist/scripts.js";
import { type Call, openTransport, type Transport } from "../dist/transport.js";
import { placesOf } from "../dist/url.js";
import { golden, plain, rawOf, SKIP, type Step, URL_OF_REDIS, withClock } from "./support.js";

const VECTORS = golden();
const WORDS: Readonly<Record<string, string>> = {
  a: "accepted",
  s: "settled",
  o: "settled",
  t: "settled",
  l: "released",
  e: "expired",
  n: "unknown_hold",
  c: "conflict",
  u: "unknown_campaign",
};
const REFUNDS: Readonly<Record<string, string>> = {
  k: "refunded",
  w: "pending",
  c: "conflict",
  x: "refused",
  n: "unknown_event",
  u: "unknown_campaign",
};

describe("the golden vectors on a real server", { skip: SKIP }, () => {
  let transport: ReturnType<typeof openTransport>;
  before(() => {
    transport = openTransport(placesOf(URL_OF_REDIS));
  });
  after(() => transport.close());

  for (const { name, begin, steps } of VECTORS.cases) {
    test(name, async () => {
      await plain().flushdb();
      await write(begin);
      for (const step of steps) {
        await plain().set(VECTORS.clock.key, step.at);
        const text = withClock(step.script, VECTORS);
        const code = { name: step.script, text, sha1: createHash("sha1").update(text).digest("hex") };
        const call = { script: code, keys: step.keys, args: step.argv.map(rawOf) };
        if (Array.isArray(step.reply)) {
          assert.deepEqual(ordered(await transport.call(call, 5000), step), ordered(step.reply, step));
        } else {
          await assert.rejects(transport.call(call, 5000), new RegExp(step.reply.error.slice(0, 20)));
        }
      }
    });
  }
});

test("the scripts of the package are those of the manifest, to the byte", () => {
  for (const name of [
    "record_spends",
    "try_spends",
    "holds",
    "refund",
    "read_plan",
    "read_registry",
    "read_watched",
  ] as const) {
    const { text, sha1 } = script(name);
    assert.equal(createHash("sha1").update(text).digest("hex"), sha1);
  }
  const manifest = JSON.parse(readFileSync(new URL("../scripts/manifest.json", import.meta.url), "utf8"));
  assert.equal(VECTORS.layout, manifest.layout);
});

test("the client sends what the golden calls are, and reads their outcomes", async () => {
  const met = new Map<string, number>();
  for (const { steps } of VECTORS.cases) {
    for (const step of steps) {
      const kind = Array.isArray(step.reply) ? await asSent(step, step.reply) : undefined;
      if (kind !== undefined) {
        met.set(kind, (met.get(kind) ?? 0) + 1);
      }
    }
  }
  // As many as there were when this was written, so that no kind falls silent.
  const least = { spend: 102, batch: 15, status: 8, hold: 10, refund: 36, packed: 19, not_ready: 7, wrong_version: 1 };
  for (const [kind, count] of Object.entries(least)) {
    assert.ok((met.get(kind) ?? 0) >= count, `${kind}: ${met.get(kind)} steps, not ${count}`);
  }
});

test("parts and fields of later releases are read over, and an unknown cause is other", async () => {
  const later = [
    "ok",
    "x1099511627784*1",
    "81:1:2:3:4:5:later",
    "5308417:1048576:0.5",
    "5308417:1795000000000:9;what=1",
    "pass=0.5",
  ];
  const { client } = recorder(later);
  const result = await client.trySpend({ campaignId: 5308417, amount: "1" });
  assert.equal(result.outcome, "refused");
  assert.deepEqual(result.reasons, ["daily_budget", "other"]);
  assert.equal(result.monthlyRemaining, "0.000002");
  assert.equal(result.retryAt, null);
});

test("a campaign that only a passing cause stops has the instant of the next try", async () => {
  const { client } = recorder(["ok", "x512*1", "81:1:2::", "5308417:0", "5308417:1795000000000"]);
  const result = await client.trySpend({ campaignId: 5308417, amount: "1" });
  assert.deepEqual(result.retryAt, new Date(1795000000000));
  assert.equal(result.dailyRemaining, null);
});

test("a reply that no script gives is UnreadableReply, with the request id to repeat it", async () => {
  const odd = [
    ["ok"],
    ["what"],
    ["ok", "k*2", "81:1:1::", "5308417:0"],
    ["ok", "k*1", "81:1:1::", ""],
    ["ok", "z*1", "81:1:1::", "5308417:0"],
    ["ok", "k*1", "81:1:1::", "5308417:many"],
  ];
  for (const reply of odd) {
    const { client } = recorder(reply);
    const spend = { campaignId: 5308417, amount: "1" };
    await assert.rejects(client.recordSpend(spend, { requestId: "r" }), { name: "UnreadableReply", requestId: "r" });
    await assert.rejects(client.recordSpends([spend], { requestId: "r" }), {
      name: "UnreadableReply",
      answers: [null],
    });
  }
});

/** A client whose calls go nowhere: they are kept, and all get one reply. */
function recorder(reply: Reply): { readonly client: BudgetClient; readonly calls: Call[] } {
  const calls: Call[] = [];
  const transport = {
    where: "a recorder",
    call: async (call: Call) => {
      calls.push(call);
      return reply;
    },
    close: () => undefined,
  } as Partial<Transport> as Transport;
  return { client: new BudgetClient(transport), calls };
}

/** Sends a step through the client's own calls where it is one of them; returns which. */
async function asSent(step: Step, reply: Reply): Promise<string | undefined> {
  if (reply[0] !== "ok") {
    return inTrouble(step, reply);
  }
  const { client, calls } = recorder(reply);
  const argv = step.argv.map((value) => (typeof value === "string" ? value : ""));
  switch (step.script) {
    case "record_spends":
    case "try_spends":
      if (argv.length > 3) {
        packs(step, argv);
        return "packed";
      }
      return spends(step, reply, client, calls);
    case "holds": {
      const operation = /^([RSL]),(\d+),([^,]+),(\d*),(\d*);$/.exec(argv[1]);
      if (operation === null) {
        return undefined;
      }
      const [, letter, campaign, hold, micros, ms] = operation;
      const campaignId = Number(campaign);
      const price = { amountMicros: Number(micros) };
      const result =
        letter === "R"
          ? await client.reserve({ campaignId, holdId: hold, ttlS: Number(ms) / 1000, ...price })
          : letter === "S"
            ? await client.settle(`${campaign}:${hold}`, price)
            : await client.release(`${campaign}:${hold}`);
      const code = String(reply[1]);
      assert.equal(result.outcome, code.startsWith("x") ? "refused" : WORDS[code]);
      assert.equal(result.holdId, `${campaign}:${hold}`);
      return same(calls, step, argv, "hold");
    }
    case "refund": {
      const [, campaign, eventId, micros, day, part] = argv;
      if (day?.startsWith("0")) {
        return undefined; // a caller's own way to write a day
      }
      const result = await client.refund({
        campaignId: Number(campaign),
        eventId,
        amountMicros: Number(micros),
        spentOn: day ? new Date(Number(day) * 86_400_000).toISOString().slice(0, 10) : undefined,
        refundId: part || undefined,
      });
      const code = String(reply[1]);
      assert.equal(result.outcome, REFUNDS[code[0]]);
      assert.equal(result.detail === "", code === "k" || code === "u");
      return same(calls, step, [...argv.slice(0, 5), part ?? ""], "refund");
    }
    case "read_plan": {
      if (step.keys.length !== 3 || reply[4] === "") {
        return undefined;
      }
      const status = await client.status(Number(step.keys[2].split(":").at(-1)));
      assert.deepEqual(status.reasons, reasonsOf(Number(String(reply[4]).split(":")[2])));
      return same(calls, step, argv, "status");
    }
    default:
      return undefined;
  }
}

/** A step whose reply is no answer: its spend is not counted, or the call is wrong. */
async function inTrouble(step: Step, reply: Reply): Promise<string | undefined> {
  const [, , text] = step.argv as string[];
  if (!step.script.endsWith("_spends") || step.argv.length > 3 || !/^\d+,\d+,,;$/.test(text)) {
    return undefined;
  }
  const { client } = recorder(reply);
  const [campaign, micros] = text.split(",");
  const sent = client.recordSpend({ campaignId: Number(campaign), amountMicros: Number(micros) });
  if (reply[0] === "not_ready") {
    const { outcome, detail, ok } = await sent;
    assert.deepEqual({ outcome, detail, ok }, { outcome: "not_ready", detail: reply[1], ok: false });
  } else {
    await assert.rejects(sent, { name: reply[0] === "invalid" ? "InvalidInput" : "WrongVersion" });
  }
  return String(reply[0]);
}

async function spends(step: Step, reply: Reply, client: BudgetClient, calls: Call[]): Promise<string | undefined> {
  const [, request, text] = step.argv as string[];
  const lines = text.split(";").filter((line) => line !== "");
  if (request.length > 64 || lines.length > 7) {
    return undefined;
  }
  const batch: Spend[] = lines.map((line) => {
    const [campaign, micros, event, ms] = line.split(",");
    return {
      campaignId: Number(campaign),
      amountMicros: Number(micros),
      eventId: event || undefined,
      occurredAt: ms ? new Date(Number(ms)) : undefined,
    };
  });
  const options = { requestId: request };
  const records = step.script === "record_spends";
  const single = batch.length === 1;
  const results = single
    ? [await (records ? client.recordSpend(batch[0], options) : client.trySpend(batch[0], options))]
    : await (records ? client.recordSpends(batch, options) : client.trySpends(batch, options));
  const codes = String(reply[1])
    .split(",")
    .flatMap((run) => {
      const [code, count] = run.split("*");
      return new Array<string>(Number(count)).fill(code);
    });
  const counted = records ? "recorded" : "accepted";
  const words: Record<string, string> = { k: counted, d: "duplicate", c: "conflict", u: "unknown_campaign" };
  results.forEach((result, i) => {
    const code = codes[i];
    assert.equal(result.outcome, words[code] ?? "refused");
    assert.equal(result.campaignId, batch[i].campaignId);
    if (code.startsWith("x")) {
      assert.deepEqual(result.reasons, reasonsOf(Number(code.slice(1))));
    }
    const line = String(reply[2])
      .split(";")
      .find((each) => each.startsWith(`${Math.floor(result.campaignId / 65536)}:`));
    assert.equal(result.dailySpend?.replace(".", "").replace(/^0+(?=\d)/, ""), line?.split(":")[1]);
  });
  return same(calls, step, step.argv as string[], single ? "spend" : "batch");
}

/** The one call of the client is the step's, with its keys in any order. */
function same(calls: readonly Call[], step: Step, argv: readonly string[], kind: string): string | undefined {
  assert.equal(calls.length, 1);
  assert.equal(calls[0].script.name, step.script);
  if (new Set(step.keys).size !== calls[0].keys.length || step.keys.some((key) => !calls[0].keys.includes(key))) {
    return undefined;
  }
  assert.deepEqual(calls[0].args, argv);
  if (step.script !== "read_plan") {
    assert.deepEqual(calls[0].keys.slice(0, 7), step.keys.slice(0, 7));
  }
  return kind;
}

/** The sums and the log of a packed step, packed again from its spends. */
function packs(step: Step, argv: readonly string[]): void {
  const log = rawOf(step.argv[3]);
  const bytes = typeof log === "string" ? Buffer.from(log, "latin1") : log;
  const sums = argv[2].split(";").filter((line) => line !== "");
  const campaigns = sums.map((line) => Number(line.split(",")[0]));
  const size = sums.reduce((total, line) => total + Number(line.split(",")[2]), 0);
  const width = bytes[1];
  const ids = Array.from({ length: size }, (_, i) => campaigns[bytes[2 + i]]);
  const at = (i: number): number => 2 + size + i * width;
  const micros = ids.map((_, i) => (width === 4 ? bytes.readUInt32LE(at(i)) : Number(bytes.readBigUInt64LE(at(i)))));
  const [madeSums, madeLog] = pack(ids, campaigns, micros, bytes[0] === NAMED ? NAMED : PLAIN);
  assert.equal(madeSums, argv[2]);
  if (madeLog[1] === width) {
    assert.deepEqual(madeLog, bytes);
  }
}

/** A reply with the parts that may have any order sorted. */
function ordered(reply: Reply, step: Step): Reply {
  return reply.map((part, i) => (step.any_order?.includes(i) ? String(part).split(";").sort().join(";") : part));
}

/** Writes the keys of a case. */
async function write(keys: Readonly<Record<string, unknown>>): Promise<void> {
  for (const [key, value] of Object.entries(keys)) {
    if (Array.isArray(value)) {
      for (const [id, fields] of value as [string, Record<string, string | { readonly hex: string }>][]) {
        await plain().xadd(key, id, ...Object.entries(fields).flatMap(([field, content]) => [field, rawOf(content)]));
      }
    } else if (typeof (value as { zset?: unknown }).zset === "object") {
      const { zset } = value as { readonly zset: Record<string, number> };
      await plain().zadd(key, ...Object.entries(zset).flatMap(([member, score]) => [score, member]));
    } else {
      await plain().hset(key, value as Record<string, string>);
    }
  }
}
