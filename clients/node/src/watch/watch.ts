/**
 * Eligibility in the bidder's memory: `client.watch()`. One subscribed connection hears the shards' messages, calls read
 * snapshots and marks, and timers keep windows, days and Redis' silence.
 */

import { performance } from "node:perf_hooks";
import type { Redis } from "ioredis";
import { type Cause, reasonsOf } from "../causes.js";
import { BudgetError, NotFound, NotReady } from "../errors.js";
import { brandOf, checkBrandId, checkCampaignId, shardOf } from "../ids.js";
import { shardKeys } from "../keys.js";
import { head, type Reply, whole } from "../replies.js";
import { LAYOUT, script } from "../scripts.js";
import { type Call, NoAnswer, type Transport } from "../transport.js";
import { RedisClock } from "./clock.js";
import { readMessage } from "./messages.js";
import { readSnapshot, ShardNotReady } from "./snapshot.js";
import { View } from "./view.js";
import { Wanted } from "./wanted.js";

export interface WatchOptions {
  /** Watch only these brands, and with `campaigns` both; all where both are left out. */
  readonly brands?: readonly number[] | undefined;
  readonly campaigns?: readonly number[] | undefined;
  /** While a part is stale, keep its last known answers; else its campaigns may not bid. */
  readonly failOpen?: boolean | undefined;
}

/** Whether a campaign may run, as far as the watch knows; `stale` is added where the watch fails closed. */
export interface WatchedStatus {
  readonly status: "active" | "paused";
  readonly reasons: readonly (Cause | "stale")[];
}

const BEAT_MS = 1000;
const ANSWER_MS = 2000;
/** Silence after which the view counts as out of date. A connection that breaks counts at once. */
const STALE_AFTER_MS = 3000;
/** Marks checked at each beat: keys that are deleted from outside announce nothing. */
const SHARDS_A_BEAT = 16;
const PAUSES_MS = [50, 100, 200, 500];
const LONGEST_TIMER_MS = 86_400_000;

/**
 * Which campaigns may run now, from memory. `mayBid` costs no network call. It decides nothing about money: `trySpend`
 * and `reserve` do. Close it when it is no longer needed.
 */
export class Watch {
  readonly #transport: Transport;
  readonly #wanted: Wanted;
  readonly #view: View;
  readonly #clock = new RedisClock();
  /** Watched shards that are not fresh, and why. */
  readonly #missing = new Map<number, string>();
  readonly #marks = new Map<number, string>();
  readonly #homes = new Map<number, string>();
  readonly #loading = new Set<number>();
  readonly #again = new Set<number>();
  #waiting: (() => void)[] = [];
  #subscriber: Redis | undefined;
  #connection = 0;
  #tries = 0;
  #heard = performance.now();
  #beatAt = 0;
  #restarted = false;
  #ended = "";
  #beat: NodeJS.Timeout | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** @internal Use `BudgetClient.watch`. */
  constructor(transport: Transport, { brands, campaigns, failOpen = false }: WatchOptions = {}) {
    this.#transport = transport;
    this.#wanted = new Wanted(
      brands?.map((id) => checkBrandId(id, "brands")),
      campaigns?.map((id) => checkCampaignId(id, "campaigns")),
    );
    this.#view = new View(failOpen, this.#wanted);
    for (const shard of this.#wanted.shards) {
      this.#missing.set(shard, "the first snapshot is being read");
    }
    void this.#connect();
  }

  /** Whether the campaign may run, as far as this process knows; false for an unknown one. */
  mayBid(campaignId: number): boolean {
    return this.#view.running.has(campaignId);
  }

  /** Whether any part of the view may be out of date; `why` has the reason. */
  get stale(): boolean {
    return this.why !== "";
  }

  /** Why the view is stale; empty when it is not. */
  get why(): string {
    const [first] = this.#missing.values();
    return this.#ended || (first ?? "");
  }

  /** Milliseconds since Redis' last message or reply. */
  get ageMs(): number {
    return performance.now() - this.#heard;
  }

  /** How many campaigns are known. */
  get size(): number {
    return this.#view.size;
  }

  /** Waits for a complete view; false when it is not in time. */
  async waitReady(timeoutMs: number): Promise<boolean> {
    const deadline = performance.now() + timeoutMs;
    while (this.stale && this.#ended === "") {
      const left = deadline - performance.now();
      if (left <= 0) {
        return false;
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#waiting.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
    return !this.stale;
  }

  /** As `BudgetClient.status`, from memory: active where, and only where, `mayBid` is true. Throws NotFound, NotReady. */
  status(campaignId: number): WatchedStatus {
    const shard = shardOf(brandOf(checkCampaignId(campaignId)));
    const mask = this.#view.mask(campaignId);
    const stale = this.#ended !== "" || (this.#missing.has(shard) && (mask === undefined || !this.#view.failOpen));
    if (mask === undefined) {
      throw stale
        ? new NotReady(`campaign ${campaignId} was not seen yet: ${this.why}`)
        : new NotFound(`campaign ${campaignId} is not known or not watched: check the id with \`campaign list\``);
    }
    const reasons = stale ? [...reasonsOf(mask), "stale" as const] : reasonsOf(mask);
    return { status: reasons.length === 0 ? "active" : "paused", reasons };
  }

  /** Ends the watch: no campaign may run any more. */
  close(): void {
    this.#ended ||= "the watch is closed";
    this.#connection += 1;
    this.#view.end();
    clearInterval(this.#beat);
    clearTimeout(this.#timer);
    this.#subscriber?.disconnect();
    this.#tell();
  }

  /** Subscribes before it reads snapshots, so that no change is missed. */
  async #connect(): Promise<void> {
    this.#connection += 1;
    const mine = this.#connection;
    try {
      await this.#transport.ready(ANSWER_MS);
      if (mine !== this.#connection) {
        return;
      }
      const subscriber = this.#transport.subscriber();
      this.#subscriber = subscriber;
      const lost = (error?: Error): void => this.#lost(mine, error?.message ?? "the connection was closed");
      subscriber.on("error", lost);
      subscriber.on("close", () => lost());
      subscriber.on("message", (channel: string, message: string) => this.#hear(channel, message));
      await within(subscriber.connect(), ANSWER_MS);
      await within(subscriber.subscribe(...this.#wanted.shards.map((shard) => shardKeys(shard).changes)), ANSWER_MS);
      if (mine !== this.#connection) {
        return;
      }
      this.#heard = performance.now();
      this.#clock.restart();
      this.#restarted = false;
      this.#marks.clear();
      this.#loading.clear();
      this.#again.clear();
      clearInterval(this.#beat);
      this.#beat = setInterval(() => void this.#check(mine), BEAT_MS);
      await Promise.all(this.#wanted.shards.map((shard) => this.#load(shard, mine)));
      this.#tries = this.#missing.size === 0 ? 0 : this.#tries;
    } catch (error) {
      this.#lost(mine, reasonOf(error));
    }
  }

  /** The connection is lost: everything is stale until a new one has read it. */
  #lost(mine: number, why: string): void {
    if (mine !== this.#connection || this.#ended !== "") {
      return;
    }
    this.#connection += 1;
    clearInterval(this.#beat);
    this.#subscriber?.disconnect();
    this.#view.markAllStale();
    for (const shard of this.#wanted.shards) {
      this.#missing.set(shard, `Redis at ${this.#transport.where}: ${why}`);
    }
    const pause = PAUSES_MS[Math.min(this.#tries, PAUSES_MS.length - 1)];
    this.#tries += 1;
    this.#beat = setTimeout(() => void this.#connect(), pause);
  }

  /** Reads a shard into the view; while that is under way, once more afterwards. */
  async #load(shard: number, mine: number): Promise<void> {
    if (this.#loading.has(shard)) {
      this.#again.add(shard);
      return;
    }
    this.#loading.add(shard);
    try {
      const home = this.#transport.home(shardKeys(shard).shard);
      const [mark, snapshot] = await readSnapshot((call) => this.#ask(call), this.#wanted, shard);
      if (mine !== this.#connection || this.#again.has(shard)) {
        return; // a message came meanwhile, which this snapshot may lack: it is read once more
      }
      if (!this.#restarted) {
        this.#restarted = true;
        this.#view.restart(this.#clock.nowMs());
      }
      this.#view.load(shard, snapshot);
      this.#marks.set(shard, mark);
      this.#homes.set(shard, home);
      this.#missing.delete(shard);
      this.#wake();
    } catch (error) {
      if (mine === this.#connection) {
        this.#shardStale(shard, reasonOf(error), error instanceof ShardNotReady);
      }
    } finally {
      if (mine === this.#connection) {
        this.#loading.delete(shard);
        if (this.#again.delete(shard)) {
          void this.#load(shard, mine);
        }
        if (this.#missing.size === 0) {
          this.#tell();
        }
      }
    }
  }

  #shardStale(shard: number, why: string, rebuilt: boolean): void {
    this.#view.markStale(shard);
    this.#missing.set(
      shard,
      rebuilt ? `shard ${shard} is not ready (${why}): it is being rebuilt from PostgreSQL` : `shard ${shard}: ${why}`,
    );
  }

  #hear(channel: string, message: string): void {
    this.#heard = performance.now();
    const shard = Number(/\{(\d+)\}/.exec(channel)?.[1]);
    const mine = this.#connection;
    try {
      const change = readMessage(message);
      if (change.kind !== "shard") {
        this.#view.apply(change);
        this.#wake();
      } else if (change.ready) {
        void this.#load(shard, mine);
      } else {
        this.#shardStale(shard, "it lost its mark", true);
      }
    } catch {
      void this.#load(shard, mine);
    }
    // A snapshot that is under way may be older than this message, which was ignored meanwhile.
    if (this.#loading.has(shard)) {
      this.#again.add(shard);
    }
  }

  /** Checks the connection, the marks of some shards, and whether a shard has moved to another server. */
  async #check(mine: number): Promise<void> {
    if (performance.now() - this.#heard > STALE_AFTER_MS) {
      this.#lost(mine, `nothing was heard for ${STALE_AFTER_MS / 1000} s`);
      return;
    }
    try {
      await within<unknown>(this.#subscriber?.ping() ?? Promise.resolve(), ANSWER_MS);
    } catch (error) {
      this.#lost(mine, reasonOf(error));
      return;
    }
    if (mine !== this.#connection) {
      return;
    }
    this.#heard = performance.now();
    const { shards } = this.#wanted;
    const some = Array.from(
      { length: Math.min(SHARDS_A_BEAT, shards.length) },
      (_, i) => shards[(this.#beatAt + i) % shards.length],
    );
    this.#beatAt += some.length;
    const moved = shards.filter(
      (shard) => this.#homes.has(shard) && this.#homes.get(shard) !== this.#transport.home(shardKeys(shard).shard),
    );
    await Promise.all(
      [...new Set([...some, ...this.#missing.keys(), ...moved])].map((shard) =>
        this.#checkShard(shard, mine, moved.includes(shard)),
      ),
    );
  }

  async #checkShard(shard: number, mine: number, moved: boolean): Promise<void> {
    try {
      const reply = await this.#ask({ script: script("read_watched"), keys: [shardKeys(shard).shard], args: [LAYOUT] });
      if (mine !== this.#connection) {
        return;
      }
      if (head(reply) === "not_ready") {
        this.#shardStale(shard, String(reply[1]), true);
      } else if (moved || this.#missing.has(shard) || reply[1] !== this.#marks.get(shard)) {
        await this.#load(shard, mine);
      }
    } catch (error) {
      if (mine === this.#connection) {
        this.#shardStale(shard, reasonOf(error), false);
      }
    }
  }

  async #ask(call: Call): Promise<Reply> {
    const sent = performance.now();
    const reply = await this.#transport.call(call, ANSWER_MS);
    if (head(reply) === "ok") {
      this.#heard = performance.now();
      this.#clock.heard(sent, this.#heard, whole(String(reply[2])));
    }
    return reply;
  }

  /** Applies what is due, and waits for the next instant at which anything changes. */
  #wake(): void {
    clearTimeout(this.#timer);
    if (this.#ended === "" && this.#clock.known) {
      const nowMs = this.#clock.nowMs();
      const dueMs = this.#view.advance(nowMs);
      this.#timer = setTimeout(() => this.#wake(), Math.min(Math.max(dueMs - nowMs, 1), LONGEST_TIMER_MS));
      this.#timer.unref();
    }
  }

  #tell(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) {
      resolve();
    }
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof NoAnswer) {
    return error.why;
  }
  return error instanceof BudgetError || error instanceof Error ? error.message : String(error);
}

async function within<Value>(promise: Promise<Value>, timeoutMs: number): Promise<Value> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer in ${timeoutMs} ms`)), timeoutMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
