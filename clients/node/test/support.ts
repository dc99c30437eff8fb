/** What the tests share: the server under test, its data, and the golden vectors. */

import { readFileSync } from "node:fs";
import { after } from "node:test";
import { BudgetClient, type ClientOptions } from "budget-engine-client";
import { Redis } from "ioredis";
import { type ScriptName, script } from "../dist/scripts.js";

export const BRAND = 81;
export const CAMPAIGN = 5308417;
export const NEXT_CAMPAIGN = CAMPAIGN + 1;
export const DAY_MS = 86_400_000;

/** The server that `make node` started. */
export const URL_OF_REDIS = process.env.BUDGET_TEST_REDIS_URL ?? "";
export const SKIP = URL_OF_REDIS === "" ? "BUDGET_TEST_REDIS_URL is not set: run `make node`" : false;

export interface Step {
  readonly at: number;
  readonly script: ScriptName;
  readonly keys: readonly string[];
  readonly argv: readonly (string | { readonly hex: string })[];
  readonly reply: (string | number)[] | { readonly error: string };
  readonly any_order?: readonly number[];
}

export interface Case {
  readonly name: string;
  readonly begin: Readonly<Record<string, unknown>>;
  readonly steps: readonly Step[];
}

export interface Golden {
  readonly layout: string;
  readonly clock: { readonly key: string; readonly find: string; readonly replace: string };
  readonly cases: readonly Case[];
}

export function golden(): Golden {
  return JSON.parse(readFileSync(new URL("../scripts/golden.json", import.meta.url), "utf8")) as Golden;
}

/** An argument of a golden step as it is sent. */
export function rawOf(value: string | { readonly hex: string }): string | Buffer {
  return typeof value === "string" ? value : Buffer.from(value.hex, "hex");
}

let shared: Redis | undefined;

/** A plain connection to the server. */
export function plain(): Redis {
  shared ??= new Redis(URL_OF_REDIS, { protocol: 2 });
  return shared;
}

const clients: BudgetClient[] = [];

/** A client that is closed after the tests of the file. */
export function client(options: ClientOptions = {}, url = URL_OF_REDIS): BudgetClient {
  const made = BudgetClient.fromUrl(url, { timeoutMs: 5000, ...options });
  clients.push(made);
  return made;
}

after(async () => {
  await Promise.all(clients.map((made) => made.close()));
  shared?.disconnect();
});

/** The keys of a shard that is ready, as of the first start. */
export async function plantShard(
  redis: Pick<Redis, "hset" | "xadd">,
  shard: number,
  brands: Record<number, number>,
): Promise<void> {
  const now = Date.now();
  const tag = `budget:{${shard}}:`;
  await redis.hset(`${tag}shard`, {
    mark: "11111111-2222-4333-8444-555555555555:1",
    owner: "11111111-2222-4333-8444-555555555555",
    layout: "1",
    n: "1",
    now: String(now),
    req_active: "0",
    req_until: String(now + 600_000),
    req_window: "600000",
    ev_active: "0",
    ev_until: String(now + 3_600_000),
    ev_window: "3600000",
  });
  await redis.hset(`${tag}registry`, { "#": "1", ...Object.fromEntries(Object.entries(brands)) });
  for (const name of ["requests:0", "requests:1", "events:0", "events:1"]) {
    await redis.hset(tag + name, "#", "1");
  }
  await redis.xadd(`${tag}journal`, `${now}-0`, "f", "1", "n", "1", "g", "1");
}

/** A brand with its campaigns. Limits are micros, empty is none. */
export async function plantBrand(
  redis: Pick<Redis, "hset">,
  brand: number,
  campaigns: number,
  daily = "",
  monthly = "",
): Promise<void> {
  const tag = `budget:{${brand % 64}}:`;
  await redis.hset(`${tag}brand:${brand}`, { v: "1", daily, monthly, archived: "0" });
  for (let ordinal = 1; ordinal <= campaigns; ordinal++) {
    await redis.hset(`${tag}campaign:${brand * 65536 + ordinal}`, { v: "1", on: "1", archived: "0", schedule: "" });
  }
}

/** An empty server with one brand in its shard. */
export async function plant(daily = "", monthly = "", campaigns = 2): Promise<void> {
  await plain().flushdb();
  await plantShard(plain(), BRAND % 64, { [BRAND]: campaigns });
  await plantBrand(plain(), BRAND, campaigns, daily, monthly);
}

/** What a campaign has spent today, by its own counter. */
export async function spentToday(campaign = CAMPAIGN): Promise<number> {
  const brand = Math.floor(campaign / 65536);
  const day = Math.floor(Date.now() / DAY_MS);
  return Number((await plain().hget(`budget:{${brand % 64}}:campaign:${campaign}`, `d:${day}`)) ?? 0);
}

/** Every entry of a shard's journal. */
export async function journal(shard = BRAND % 64): Promise<Record<string, string>[]> {
  const entries = await plain().xrange(`budget:{${shard}}:journal`, "-", "+");
  return entries.map(([, fields]) => {
    const found: Record<string, string> = {};
    for (let i = 0; i < fields.length; i += 2) {
      found[fields[i]] = fields[i + 1];
    }
    return found;
  });
}

/** A script whose time is that of the golden clock. */
export function withClock(name: ScriptName, { clock }: Golden): string {
  return script(name).text.replace(clock.find, clock.replace);
}
