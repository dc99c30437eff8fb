/**
 * `make node-bench`: single spends and batches beside the same library's INCRBY, each pair in turn, on the server of
 * REDIS_URL. The campaigns of BENCH_CAMPAIGNS are published there. Prints a table.
 */

import { BudgetClient, type SpendResult } from "budget-engine-client";
import { Redis } from "ioredis";

const URL_OF_REDIS = process.env.REDIS_URL ?? "";
const CAMPAIGNS = (process.env.BENCH_CAMPAIGNS ?? "").split(",").map(Number);
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 15);
const SINGLES = 2000;
const BATCH = 1000;
const BATCHES = 100;
const OPEN = 4;
const PIPELINE = 100;
/** With --floors a ratio may be a third of what it must be: it detects a path that became slow, on any machine. */
const MARGIN = process.argv.includes("--floors") ? 3 : 1;

interface Row {
  readonly what: string;
  readonly against: string;
  readonly needed: number | undefined;
  ours(): Promise<number>;
  peer(): Promise<number>;
}

const redis = new Redis(URL_OF_REDIS, { protocol: 2 });
const client = BudgetClient.fromUrl(URL_OF_REDIS, { timeoutMs: 20_000 });
let made = 0;

const campaignOf = (i: number): number => CAMPAIGNS[i % CAMPAIGNS.length];

function counted(results: readonly SpendResult[]): void {
  if (!results.every((result) => result.ok)) {
    throw new Error(`not counted: ${results.find((result) => !result.ok)?.outcome}`);
  }
}

/** How many operations a second a round makes. */
async function rate(operations: number, round: () => Promise<void>): Promise<number> {
  const began = process.hrtime.bigint();
  await round();
  return operations / (Number(process.hrtime.bigint() - began) / 1e9);
}

const incrby = (): Promise<number> =>
  rate(SINGLES, async () => {
    for (let i = 0; i < SINGLES; i++) {
      await redis.incrby(`bench:${i % 20}`, 7);
    }
  });

const pipelined = (): Promise<number> =>
  rate(20_000, async () => {
    for (let start = 0; start < 20_000; start += PIPELINE) {
      const pipeline = redis.pipeline();
      for (let i = 0; i < PIPELINE; i++) {
        pipeline.incrby(`bench:${i % 20}`, 7);
      }
      await pipeline.exec();
    }
  });

const awaited = (): Promise<number> =>
  rate(20_000, async () => {
    for (let start = 0; start < 20_000; start += BATCH) {
      await Promise.all(Array.from({ length: BATCH }, (_, i) => redis.incrby(`bench:${i % 20}`, 7)));
    }
  });

const singles = (verb: "recordSpend" | "trySpend") => (): Promise<number> =>
  rate(SINGLES, async () => {
    for (let i = 0; i < SINGLES; i++) {
      counted([await client[verb]({ campaignId: campaignOf(i), amountMicros: 1 + i })]);
    }
  });

const together = (): Promise<number> =>
  rate(20_000, async () => {
    for (let start = 0; start < 20_000; start += BATCH) {
      const spends = Array.from({ length: BATCH }, (_, i) =>
        client.trySpend({ campaignId: campaignOf(i), amountMicros: 1 + i }),
      );
      counted(await Promise.all(spends));
    }
  });

const batches = (spend: (i: number) => Promise<SpendResult[]>) => (): Promise<number> =>
  rate(BATCH * BATCHES, async () => {
    // As the pipelines are: the client works on one batch while Redis works on another.
    for (let i = 0; i < BATCHES; i += OPEN) {
      await Promise.all(Array.from({ length: OPEN }, async (_, more) => counted(await spend(i + more))));
    }
  });

const places = Array.from({ length: BATCH }, (_, i) => i);
const ids = places.map(campaignOf);
const micros = places.map((i) => 1_000 + i);
const arrays = [Float64Array.from(ids), Float64Array.from(micros)] as const;

const ROWS: readonly Row[] = [
  {
    what: "one recordSpend a round trip",
    against: "incrby",
    needed: undefined,
    ours: singles("recordSpend"),
    peer: incrby,
  },
  { what: "one trySpend a round trip", against: "incrby", needed: undefined, ours: singles("trySpend"), peer: incrby },
  {
    what: "single trySpends, 1,000 open",
    against: "incrby pipelined by 100",
    needed: 0.8,
    ours: together,
    peer: pipelined,
  },
  {
    what: "single trySpends, 1,000 open",
    against: "incrby, 1,000 open",
    needed: undefined,
    ours: together,
    peer: awaited,
  },
  {
    what: "recordSpendColumns of 1,000, 4 open",
    against: "incrby pipelined by 100",
    needed: 8,
    ours: batches(() => client.recordSpendColumns(...arrays)),
    peer: pipelined,
  },
  {
    what: "recordSpends of 1,000, 4 open",
    against: "incrby pipelined by 100",
    needed: 8,
    ours: batches(() => client.recordSpends(places.map((i) => ({ campaignId: ids[i], amountMicros: micros[i] })))),
    peer: pipelined,
  },
  {
    what: "the same, distinct decimal strings",
    against: "incrby pipelined by 100",
    needed: undefined,
    ours: batches(() => client.recordSpends(places.map((i) => ({ campaignId: ids[i], amount: `0.${100_000 + i}` })))),
    peer: pipelined,
  },
  {
    what: "the same, an event id each",
    against: "incrby pipelined by 100",
    needed: undefined,
    ours: batches(() => {
      made += 1;
      return client.recordSpends(
        places.map((i) => ({
          campaignId: ids[i],
          amountMicros: micros[i],
          eventId: `5f0c2b6e9d8a41c7b3e2.${made}.${i}`,
        })),
      );
    }),
    peer: pipelined,
  },
];

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}

async function measure({ what, against, needed, ours, peer }: Row): Promise<boolean> {
  await ours();
  await peer();
  const pairs: [number, number][] = [];
  for (let round = 0; round < ROUNDS; round++) {
    pairs.push([await ours(), await peer()]);
  }
  const ratios = pairs.map(([mine, its]) => mine / its);
  const ratio = median(ratios);
  const well = needed === undefined || ratio >= needed / MARGIN;
  const shown = (values: number[]): string => `${Math.round(median(values)).toLocaleString("en")}/s`;
  console.log(
    `| ${what} | ${against} | ${shown(pairs.map(([mine]) => mine))} | ${shown(pairs.map(([, its]) => its))}` +
      ` | ${ratio.toFixed(2)} | ${Math.min(...ratios).toFixed(2)}-${Math.max(...ratios).toFixed(2)} | ${needed ?? ""} |`,
  );
  return well;
}

console.log(`Node ${process.version}, ${ROUNDS} rounds\n`);
console.log("| what | against | ours | peer | ratio | spread | needed |");
console.log("| --- | --- | ---: | ---: | ---: | --- | ---: |");
let well = true;
for (const row of ROWS) {
  well = (await measure(row)) && well;
}
redis.disconnect();
await client.close();
process.exitCode = well ? 0 : 1;
