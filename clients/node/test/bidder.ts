/**
 * One bidder of the soak (tests/soak): `node dist-test/bidder.js FOLDER NAME SEED URL`. It writes each call to its file
 * before it sends it, and each result afterwards; each line is one write, so a kill leaves no part of one.
 */

import { existsSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { BudgetClient, type Spend, Unavailable } from "budget-engine-client";

type Row = readonly [campaign: number, micros: number, event: string | null];

interface Call {
  readonly id: string;
  readonly do: "record" | "try" | "reserve" | "settle" | "release" | "refund";
  readonly spends: readonly Row[];
  readonly hold?: string;
}

const TRIES = 4;
const OPEN = new Set(["not_ready", "unknown_campaign", "expired"]);
const [, , FOLDER = "", NAME = "", SEED = "1", URL_OF_REDIS = ""] = process.argv;

const plan = JSON.parse(readFileSync(`${FOLDER}/plan.json`, "utf8")) as {
  readonly facts: number[];
  readonly asked: number[];
  readonly held: number[];
  readonly age_s: number;
};
const client = BudgetClient.fromUrl(URL_OF_REDIS, { timeoutMs: 400 });
const file = openSync(`${FOLDER}/${NAME}.jsonl`, "a");
const events: { readonly row: Row; readonly from: number }[] = [];
const repeatable: { readonly call: Call; readonly got: readonly string[]; readonly from: number }[] = [];
const holds: Row[] = [];
let seed = (Number(SEED) * 31 + NAME.length * 7919 + 1) % 2147483647;
let number = 0;

const chance = (): number => {
  seed = (seed * 48271) % 2147483647;
  return seed / 2147483647;
};
const between = (low: number, high: number): number => low + Math.floor(chance() * (high - low + 1));
const one = <Item>(items: readonly Item[]): Item => items[Math.floor(chance() * items.length)];
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const ripe = <Item extends { readonly from: number }>(items: readonly Item[]): Item[] => {
  const now = Date.now();
  return items.slice(-500).filter(({ from }) => from + plan.age_s * 1000 <= now);
};

function write(line: object): void {
  writeSync(file, `${JSON.stringify(line)}\n`);
}

/** Sends a call once. Its outcomes, or undefined when it must be repeated. */
async function send(call: Call): Promise<string[] | undefined> {
  try {
    const outcomes = await outcomesOf(call);
    return outcomes.some((outcome) => OPEN.has(outcome)) ? undefined : outcomes;
  } catch (error) {
    if (error instanceof Unavailable) {
      return undefined;
    }
    throw error;
  }
}

async function outcomesOf({ id, do: kind, spends, hold }: Call): Promise<string[]> {
  const batch: Spend[] = spends.map(([campaignId, amountMicros, event]) => ({
    campaignId,
    amountMicros,
    eventId: event ?? undefined,
  }));
  const [first] = batch;
  const holdId = `${first.campaignId}:${hold}`;
  switch (kind) {
    case "record":
    case "try": {
      const options = { requestId: id };
      if (batch.length > 1) {
        const results = kind === "record" ? client.recordSpends(batch, options) : client.trySpends(batch, options);
        return (await results).map((result) => result.outcome);
      }
      return [
        (await (kind === "record" ? client.recordSpend(first, options) : client.trySpend(first, options))).outcome,
      ];
    }
    case "reserve":
      return [(await client.reserve({ ...first, ttlS: 7200, holdId: hold })).outcome];
    case "settle":
      return [(await client.settle(holdId, first)).outcome];
    case "release":
      return [(await client.release(holdId)).outcome];
    case "refund":
      return [(await client.refund({ ...first, eventId: first.eventId ?? "" })).outcome];
  }
}

function next(): Call {
  const id = `${NAME}-${number}`;
  const kind = chance();
  const spend = (event: string | null): Row => [one(plan.facts), between(1, 1_000_000), event];
  const old = ripe(events);
  if (kind < 0.25) {
    return { id, do: "record", spends: [spend(chance() < 0.5 ? `${id}e` : null)] };
  }
  if (kind < 0.45) {
    const every = between(1, 3);
    return {
      id,
      do: "record",
      spends: Array.from({ length: between(2, 40) }, (_, i) => spend(i % every === 0 ? `${id}e${i}` : null)),
    };
  }
  if (kind < 0.52 && old.length > 0) {
    const [campaign, micros, event] = one(old).row;
    return { id, do: "record", spends: [[campaign, micros + between(0, 1), event]] };
  }
  if (kind < 0.6 && old.length > 0) {
    const taken = one(old);
    events.splice(events.indexOf(taken), 1);
    return { id, do: "refund", spends: [taken.row] };
  }
  if (kind < 0.85) {
    const size = chance() < 0.5 ? 1 : between(2, 20);
    return {
      id,
      do: "try",
      spends: Array.from({ length: size }, () => [one(plan.asked), between(1, 20_000), null] as const),
    };
  }
  const held = kind < 0.95 ? holds.shift() : undefined;
  if (held !== undefined) {
    const [campaign, micros, hold] = held;
    const settles = chance() < 0.7;
    const row: Row = [campaign, settles ? between(1, micros) : 0, null];
    return { id, do: settles ? "settle" : "release", hold: hold ?? "", spends: [row] };
  }
  return { id, do: "reserve", hold: id, spends: [[one(plan.held), between(1, 20_000), null]] };
}

function learn(call: Call, got: readonly string[]): void {
  call.spends.forEach((row, i) => {
    const [campaign, micros, event] = row;
    if (got[i] === "recorded" && event !== null) {
      events.push({ row, from: Date.now() });
    } else if (got[i] === "accepted" && call.do === "reserve") {
      holds.push([campaign, micros, call.hold ?? ""]);
    }
  });
  if (!got.includes("refused") && (call.do === "record" || call.do === "try")) {
    repeatable.push({ call, got, from: Date.now() });
    repeatable.splice(0, repeatable.length - 500);
  }
}

/** A repeat of a call gets the same outcomes; what was refused may differ, because a rebuild forgets refusals. */
async function repeat(): Promise<boolean> {
  const old = ripe(repeatable);
  if (old.length === 0 || chance() >= 0.05) {
    return false;
  }
  const { call, got } = one(old);
  const again = await send(call);
  if (again !== undefined && got.some((outcome, i) => outcome !== "refused" && outcome !== again[i])) {
    write({ id: call.id, changed: [got, again] });
  }
  return true;
}

async function bid(): Promise<void> {
  if (await repeat()) {
    return;
  }
  const call = next();
  write(call);
  for (let tries = 0; tries < TRIES; tries++) {
    const got = await send(call);
    if (got !== undefined) {
      write({ id: call.id, got });
      learn(call, got);
      return;
    }
    await pause(50);
  }
}

while (!existsSync(`${FOLDER}/stop`)) {
  if (existsSync(`${FOLDER}/pause`)) {
    writeFileSync(`${FOLDER}/${NAME}.paused`, "");
    await pause(20);
  } else {
    number += 1;
    await bid();
    await pause(2);
  }
}
await client.close();
