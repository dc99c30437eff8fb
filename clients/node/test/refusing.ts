/**
 * `node dist-test/refusing.js URL CAMPAIGN,CAMPAIGN,... PREFIX`: every call of a client to servers of which the first
 * campaign's refuses. A line on stdin begins each step: the calls, all at once, and then the repeats of each, twice, by
 * what its error named. Prints a line when it is ready, and one of JSON for each step.
 */

import { createInterface } from "node:readline";
import { BudgetClient, BudgetError, Unavailable } from "budget-engine-client";

const [, , url = "", list = "", prefix = ""] = process.argv;
const client = BudgetClient.fromUrl(url, { timeoutMs: 3000 });
const campaigns = list.split(",").map(Number);
const one = campaigns[0] ?? 0;
const few = campaigns.map((campaignId) => ({ campaignId, amount: "1" }));
const micros = campaigns.map(() => 1_000_000);
const spend = { campaignId: one, amount: "1" };
const named = { ...spend, eventId: `${prefix}-e` };
const refund = { ...spend, eventId: `${prefix}-refund` };

const calls: Record<string, (requestId?: string) => Promise<unknown>> = {
  record: (requestId) => client.recordSpend(spend, { requestId }),
  try: (requestId) => client.trySpend(spend, { requestId }),
  "record, named": (requestId) => client.recordSpend(spend, { requestId: requestId ?? `${prefix}-named` }),
  "record, event": (requestId) => client.recordSpend(named, { requestId }),
  batch: (requestId) => client.recordSpends(few, { requestId }),
  "try batch": (requestId) => client.trySpends(few, { requestId }),
  columns: (requestId) => client.recordSpendColumns(campaigns, micros, { requestId }),
  "try columns": (requestId) => client.trySpendColumns(campaigns, micros, { requestId }),
  reserve: (holdId) => client.reserve({ ...spend, ...(holdId !== undefined && { holdId }) }),
  settle: (holdId) => client.settle(holdId ?? `${one}:${prefix}-settle`, { amount: "1" }),
  release: (holdId) => client.release(holdId ?? `${one}:${prefix}-release`),
  refund: (eventId) => client.refund({ ...refund, eventId: eventId ?? refund.eventId }),
  status: () => client.status(one),
};

interface Told {
  readonly kind: string;
  readonly said: string;
  readonly requestId: string;
  readonly answers: readonly boolean[];
}

async function told(call: () => Promise<unknown>): Promise<Told | null> {
  try {
    await call();
    return null;
  } catch (error) {
    const kind = error instanceof BudgetError ? error.name : `no error of ours: ${String(error)}`;
    const answers = error instanceof Unavailable ? error.answers.map((answer) => answer !== null) : [];
    return { kind, said: String(error), requestId: error instanceof Unavailable ? error.requestId : "", answers };
  }
}

/** Repeats a call that names what it counts, as bidders do, until it has its answer. */
async function answered(call: () => Promise<unknown>): Promise<Told | null> {
  let last: Told | null = null;
  for (let tries = 0; tries < 20; tries++) {
    last = await told(call);
    if (last?.kind !== "Unavailable") {
      break;
    }
  }
  return last;
}

for (const holdId of [`${prefix}-settle`, `${prefix}-release`]) {
  await answered(() => client.reserve({ campaignId: one, amount: "2", holdId }));
}
await answered(() => client.recordSpend({ ...refund, amount: "5" }));
for (const campaignId of campaigns.slice(1)) {
  await answered(() => client.recordSpend({ campaignId, amount: "1", eventId: `${prefix}-well` }));
}
const steps = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
console.log("ready");
await steps.next();
const found = Object.fromEntries(
  await Promise.all(Object.entries(calls).map(async ([name, call]) => [name, await told(call)] as const)),
) as Record<string, Told | null>;
console.log(JSON.stringify(found));
await steps.next();
const again: Record<string, (Told | null)[]> = {};
for (const [name, call] of Object.entries(calls)) {
  const id = found[name]?.requestId;
  again[name] = [await answered(() => call(id || undefined)), await answered(() => call(id || undefined))];
}
console.log(JSON.stringify(again));
await client.close();
process.exit(0);
