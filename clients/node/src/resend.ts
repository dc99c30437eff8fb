/**
 * Acknowledged calls of the last seconds, sent again when their shard may have lost them: a replica that takes over may
 * lack what its primary acknowledged last. Every call carries an id, so only what was lost is counted.
 */

import type { Redis } from "ioredis";
import { keysOf } from "./batches.js";
import { InvalidInput, shown } from "./errors.js";
import { brandOf, shardOf } from "./ids.js";
import type { Reply } from "./replies.js";
import { LAYOUT, script } from "./scripts.js";
import { type Call, NoAnswer, type Transport } from "./transport.js";

/** How long a replica may lag behind before something is lost. */
export const KEEP_S = 5;
const MOST_S = 60;
const CHECK_MS = 1000;
const ANSWER_MS = 2000;
/** Kept calls of one shard. Of a busier client the oldest go first. */
const MOST_CALLS = 20_000;
/** Calls of one shard, and shards, that are sent again at a time: each call is to be answered within ANSWER_MS. */
const TOGETHER = 16;
const SHARDS_TOGETHER = 8;
/** How long `close` looks and sends again at most, where a shard is away or was lost. */
const CLOSE_MS = 5000;
const CLOSE_EACH_MS = 100;
/** The calls that write, and the letters of their replies where they did. */
const WRITES: Readonly<Record<string, RegExp>> = {
  record_spends: /[kd]/,
  try_spends: /[kd]/,
  holds: /[asotl]/,
  refund: /[kw]/,
};

interface Kept {
  readonly call: Call;
  readonly outcomes: string;
  readonly at: number;
  /** The server that acknowledged it last; "" when that may have lost it since. */
  home: string;
}

/** A shard with kept calls. `clock`: milliseconds for which it has answered; while it is away, nothing grows old. */
interface Shard {
  calls: Kept[];
  clock: number;
  checkedAt: number | undefined;
  mark: string;
  n: number;
}

/** Seconds to keep calls for; 5 where another server may take over. Throws InvalidInput. */
export function checkedKeepS(value: unknown, routed: boolean): number {
  if (value === undefined) {
    return routed ? KEEP_S : 0;
  }
  if (typeof value !== "number" || !(value >= 0 && value <= MOST_S)) {
    throw new InvalidInput(`resendS ${shown(value)} is not a number of seconds from 0 to ${MOST_S}`, "resendS");
  }
  return value;
}

/** A transport around another that keeps what its calls changed. */
export class ResendingTransport implements Transport {
  readonly #shards = new Map<string, Shard>();
  #timer: NodeJS.Timeout | undefined;
  #checking: Promise<void> | undefined;
  #lookAgain = false;
  #closing: Promise<void> | undefined;
  #closed = false;

  constructor(
    private readonly inner: Transport,
    private readonly keepS: number,
  ) {}

  get where(): string {
    return this.inner.where;
  }

  async call(call: Call, timeoutMs: number): Promise<Reply> {
    if (this.#closing !== undefined) {
      throw new NoAnswer("the client is closed");
    }
    const reply = await this.inner.call(call, timeoutMs);
    this.#note(call, reply);
    return reply;
  }

  ready(timeoutMs: number): Promise<void> {
    return this.inner.ready(timeoutMs);
  }

  home(key: string): string {
    return this.inner.home(key);
  }

  subscriber(): Redis {
    return this.inner.subscriber();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Looks at the shards once more, and as long as one is away or was lost, for at most CLOSE_MS. */
  async #close(): Promise<void> {
    clearInterval(this.#timer);
    const until = performance.now() + CLOSE_MS;
    while (this.#shards.size > 0) {
      await this.#checking;
      await this.#check();
      if (!this.#unsure() || performance.now() > until) {
        break;
      }
      await new Promise((resolve) => setTimeout(resolve, CLOSE_EACH_MS));
    }
    this.#closed = true;
    await this.inner.close();
  }

  /** Whether kept calls may be lost by what the last look saw. */
  #unsure(): boolean {
    return [...this.#shards].some(
      ([key, { calls, checkedAt }]) =>
        calls.length > 0 && (checkedAt === undefined || calls.some(({ home }) => home !== this.inner.home(key))),
    );
  }

  #note(call: Call, reply: Reply): void {
    const outcomes = String(reply[1]);
    if (reply[0] !== "ok" || !WRITES[call.script.name]?.test(outcomes) || this.#closed) {
      return;
    }
    const [key] = call.keys;
    let shard = this.#shards.get(key);
    if (shard === undefined) {
      shard = { calls: [], clock: 0, checkedAt: undefined, mark: "", n: 0 };
      this.#shards.set(key, shard);
      // Its state is to be known before it can change.
      setImmediate(() => void this.#check());
    }
    shard.calls.push({ call, outcomes, at: shard.clock, home: this.inner.home(key) });
    if (shard.calls.length > 2 * MOST_CALLS) {
      shard.calls = shard.calls.slice(-MOST_CALLS);
    }
    this.#timer ??= setInterval(() => void this.#check(), CHECK_MS).unref();
  }

  /** Looks at the shards once, and sends again what they may have lost. */
  async #check(): Promise<void> {
    if (this.#checking !== undefined) {
      this.#lookAgain = true;
      return;
    }
    this.#checking = this.#checkAll().finally(() => {
      this.#checking = undefined;
    });
    await this.#checking;
  }

  async #checkAll(): Promise<void> {
    do {
      this.#lookAgain = false;
      const used = [...this.#shards].filter(([, { calls }]) => calls.length > 0);
      await Promise.all(used.map(([key, shard]) => this.#look(key, shard)));
      const next = used.values();
      await Promise.all(Array.from({ length: SHARDS_TOGETHER }, () => this.#sendDue(next)));
    } while (this.#lookAgain && !this.#closed);
  }

  async #look(key: string, shard: Shard): Promise<void> {
    const reply = await this.#ask({ script: script("read_watched"), keys: [key], args: [LAYOUT] });
    if (reply?.[0] !== "ok") {
      shard.checkedAt = undefined;
      return;
    }
    const [mark, n, now] = [String(reply[1]), Number(reply[3]), performance.now()];
    if (shard.mark !== "" && (mark !== shard.mark || n < shard.n)) {
      // It was rebuilt, or it fell back.
      for (const kept of shard.calls) {
        kept.home = "";
      }
    }
    if (shard.checkedAt !== undefined) {
      shard.clock += Math.min(now - shard.checkedAt, 2 * CHECK_MS);
    }
    Object.assign(shard, { mark, n, checkedAt: now });
    const home = this.inner.home(key);
    if (shard.calls.every((kept) => kept.home === home)) {
      const oldest = shard.clock - this.keepS * 1000;
      const young = shard.calls.findIndex(({ at }) => at >= oldest);
      shard.calls.splice(0, young < 0 ? shard.calls.length : young);
    }
  }

  /** Sends again what another server acknowledged than the one that has the shard now. What was answered stays answered. */
  async #sendDue(shards: Iterator<[string, Shard]>): Promise<void> {
    for (let next = shards.next(); !next.done && !this.#closed; next = shards.next()) {
      const [key, shard] = next.value;
      const home = this.inner.home(key);
      const due = shard.checkedAt === undefined ? [] : shard.calls.filter((kept) => kept.home !== home);
      for (let at = 0, well = true; at < due.length && well && !this.#closed; at += TOGETHER) {
        const some = due.slice(at, at + TOGETHER);
        const sent = await Promise.all(some.map((kept) => this.#again(kept)));
        // Behind another change of servers it is not known which of them answered: all are sent once more.
        well = this.inner.home(key) === home;
        some.forEach((kept, i) => {
          if (well && sent[i]) {
            kept.home = home;
          }
        });
        well &&= sent.every(Boolean);
      }
    }
  }

  /** Sends a kept call again; whether it was answered. */
  async #again({ call, outcomes }: Kept): Promise<boolean> {
    const before = eachOf(outcomes);
    const tried = call.script.name === "try_spends";
    const counted = before.flatMap((outcome, place) => (outcome === "k" || outcome === "d" ? [place] : []));
    if (tried && counted.length < before.length) {
      // What was counted of a try that was refused in part: the whole of it might be accepted by now.
      return answered(await this.#ask(recordOf(call, counted, "")));
    }
    const reply = await this.#ask(call);
    if (!answered(reply) || !tried || reply === undefined || reply[1] === outcomes) {
      return answered(reply);
    }
    // What had been accepted, was lost, and no longer fits: its money is spent, so it is recorded.
    const now = eachOf(String(reply[1]));
    const lost = before.flatMap((outcome, place) => (outcome === "k" && now[place]?.startsWith("x") ? [place] : []));
    return lost.length === 0 || answered(await this.#ask(recordOf(call, lost, "/lost")));
  }

  async #ask(call: Call): Promise<Reply | undefined> {
    try {
      return await this.inner.call(call, ANSWER_MS);
    } catch {
      return undefined;
    }
  }
}

/** Whether a repeat had its answer; a shard that is being rebuilt has none yet. */
function answered(reply: Reply | undefined): boolean {
  return reply !== undefined && reply[0] !== "not_ready";
}

/** The outcome of each spend. */
function eachOf(outcomes: string): string[] {
  return outcomes.split(",").flatMap((run) => {
    const [code, times] = run.split("*");
    return new Array<string>(Number(times ?? 0)).fill(code);
  });
}

/** Some spends of a call as a record call. `more`: of the request id. */
function recordOf(call: Call, places: readonly number[], more: string): Call {
  const [, request, ...body] = call.args;
  const lines = linesOf(body);
  const chosen = places.map((place) => lines[place]);
  const campaigns = [...new Set(chosen.map((line) => Number(line.split(",")[0])))].sort((a, b) => a - b);
  const keys = keysOf("record_spends", shardOf(brandOf(campaigns[0])), campaigns);
  return { script: script("record_spends"), keys, args: [LAYOUT, `${request}${more}`, chosen.join("")] };
}

/** The single spends of a call's arguments after its request id, as text. */
function linesOf([text, log, , names]: Call["args"]): string[] {
  const parts = String(text)
    .split(";")
    .filter((part) => part !== "");
  if (!(log instanceof Buffer)) {
    return parts.map((part) => `${part};`);
  }
  const campaigns = parts.map((part) => part.split(",")[0]);
  const size = parts.reduce((sum, part) => sum + Number(part.split(",")[2]), 0);
  const events = names === undefined ? undefined : String(names).split(",");
  const width = log[1];
  return Array.from({ length: size }, (_, i) => {
    const at = 2 + size + i * width;
    const micros = width === 4 ? log.readUInt32LE(at) : log.readBigUInt64LE(at);
    const name = events?.[i] ?? "";
    return `${campaigns[log[2 + i]]},${micros},${name.slice(name.indexOf(":") + 1)},;`;
  });
}
