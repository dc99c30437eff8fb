/** What bidders import: `BudgetClient`. */

import { callOfOne, callsOf, checkedMs, countedWord, inOrder, type Piece, piecesOf, type Verb } from "./batches.js";
import { type Cause, reasonsOf } from "./causes.js";
import { type Checked, Coalescer, isShared } from "./coalesce.js";
import { BudgetError, InvalidSetting, NotFound, NotReady, shown, Unavailable, UnreadableReply } from "./errors.js";
import {
  type Asked,
  asksRefund,
  asksRelease,
  asksReserve,
  asksSettle,
  type HoldResult,
  type Refund,
  type RefundResult,
  type Reserve,
} from "./holds.js";
import { brandOf, checkCampaignId, checkTextId, nextId, shardOf } from "./ids.js";
import { brandKey, campaignKey, shardKeys } from "./keys.js";
import type { Amount } from "./money.js";
import { head, type Reply, type SpendResult, spendResults } from "./replies.js";
import { checkedKeepS, ResendingTransport } from "./resend.js";
import { LAYOUT, script } from "./scripts.js";
import { type Columns, checkedColumns, checkedSpend, columnsOf, type IntColumn, lineOf, type Spend } from "./spends.js";
import { type Call, NoAnswer, openTransport, type Transport } from "./transport.js";
import { placesOf } from "./url.js";
import { Watch, type WatchOptions } from "./watch/watch.js";

export interface ClientOptions {
  /** The deadline of a call, retries included; 250 where left out. */
  readonly timeoutMs?: number;
  /**
   * Seconds for which acknowledged calls are kept, to be sent again under their ids after another server took over; 0 to
   * 60. Where left out 5 for a cluster or Sentinel, and 0 for one server.
   */
  readonly resendS?: number;
  /** How many single spends may be open before another one throws Overloaded; 10,000 where left out. */
  readonly maxWaiting?: number;
}

export interface CallOptions {
  /** Names the call, so that a repeat counts once; made when none is given. */
  readonly requestId?: string | undefined;
}

export interface ColumnOptions extends CallOptions {
  readonly eventIds?: readonly (string | null | undefined)[] | undefined;
  readonly occurredAt?: readonly (Date | null | undefined)[] | undefined;
}

/** Whether a campaign runs now, and if not why. */
export interface CampaignStatus {
  readonly status: "active" | "paused";
  readonly reasons: readonly Cause[];
}

/** Calls of one batch that are on their way at once; a server works for others in between. */
const WINDOW = 8;
const PASSING: ReadonlySet<string> = new Set(["pacing", "rate"]);

/** Reports spends to the budget engine. Every call is bounded by `timeoutMs`, retries included. */
export class BudgetClient {
  readonly #transport: Transport;
  readonly #timeoutMs: number;
  readonly #coalescer: Coalescer;

  /** @internal Use `fromUrl`. */
  constructor(transport: Transport, options: ClientOptions = {}) {
    this.#transport = transport;
    this.#timeoutMs = checkedMs(options.timeoutMs ?? 250, "timeoutMs");
    this.#coalescer = new Coalescer(
      {
        send: (call) => this.#send(call),
        failed: (error, what, request, here) => this.#failed(error, what, request, [null], here),
      },
      checkedMs(options.maxWaiting ?? 10_000, "maxWaiting"),
    );
  }

  /**
   * A client for a Redis, a cluster (`redis+cluster://host:port,host:port`) or Sentinel's primary
   * (`redis+sentinel://host:port,host:port/master-name/db`); with `rediss` in place of `redis` over TLS. It connects
   * with the first call. Throws InvalidSetting, InvalidInput.
   */
  static fromUrl(url: string, options: ClientOptions = {}): BudgetClient {
    const places = placesOf(url);
    const keepS = checkedKeepS(options.resendS, places.kind !== "one");
    const transport = openTransport(places);
    return new BudgetClient(keepS > 0 ? new ResendingTransport(transport, keepS) : transport, options);
  }

  /** A client for REDIS_URL of the environment. Throws InvalidSetting. */
  static fromEnv(options: ClientOptions = {}): BudgetClient {
    const url = process.env.REDIS_URL;
    if (url === undefined || url === "") {
      throw new InvalidSetting(
        "REDIS_URL is not set: give the URL of Redis, as `budget-engine env` prints it",
        "REDIS_URL",
      );
    }
    return BudgetClient.fromUrl(url, options);
  }

  /**
   * Records money that was spent: counted even past a budget or of a paused campaign; the result shows it. Rejects with
   * InvalidAmount, InvalidId, Unavailable, WrongVersion, Overloaded.
   */
  async recordSpend(spend: Spend, options: CallOptions = {}): Promise<SpendResult> {
    return this.#one("record_spends", spend, options.requestId);
  }

  /** Tries to spend: `accepted` and counted, or `refused` with its causes. It never exceeds a budget. Else as above. */
  async trySpend(spend: Spend, options: CallOptions = {}): Promise<SpendResult> {
    return this.#one("try_spends", spend, options.requestId);
  }

  /**
   * Records many spends of any brands: one result a spend, in order, with figures after the whole batch. All are checked
   * before anything is sent; the error names the index.
   */
  async recordSpends(spends: Iterable<Spend>, options: CallOptions = {}): Promise<SpendResult[]> {
    return this.#many("record_spends", columnsOf(spends), options.requestId);
  }

  /** Tries many spends; as `recordSpends`. Each is evaluated after those before it. */
  async trySpends(spends: Iterable<Spend>, options: CallOptions = {}): Promise<SpendResult[]> {
    return this.#many("try_spends", columnsOf(spends), options.requestId);
  }

  /** `recordSpends` of columns of one length, arrays or typed arrays, without an object a spend. */
  async recordSpendColumns(
    campaignIds: IntColumn,
    amountsMicros: IntColumn,
    options: ColumnOptions = {},
  ): Promise<SpendResult[]> {
    const columns = checkedColumns(campaignIds, amountsMicros, options.eventIds, options.occurredAt);
    return this.#many("record_spends", columns, options.requestId);
  }

  /** `trySpends` of columns. */
  async trySpendColumns(
    campaignIds: IntColumn,
    amountsMicros: IntColumn,
    options: ColumnOptions = {},
  ): Promise<SpendResult[]> {
    const columns = checkedColumns(campaignIds, amountsMicros, options.eventIds, options.occurredAt);
    return this.#many("try_spends", columns, options.requestId);
  }

  /** Holds an amount for some seconds: accepted, or refused with its causes. The same id again gets the same result. */
  async reserve(asked: Reserve): Promise<HoldResult> {
    return this.#ask(asksReserve(asked));
  }

  /** Counts the real price and gives the rest of the hold back; after the hold's end it counts too, marked `late`. */
  async settle(holdId: string, price: Amount): Promise<HoldResult> {
    return this.#ask(asksSettle(holdId, price));
  }

  /** Gives the whole hold back. */
  async release(holdId: string): Promise<HoldResult> {
    return this.#ask(asksRelease(holdId));
  }

  /** Gives back a spend, or a part of it: once, however often it is called, and never more than was spent. */
  async refund(asked: Refund): Promise<RefundResult> {
    return this.#ask(asksRefund(asked));
  }

  /** Whether the campaign may run now, and if not why. Rejects with NotFound, NotReady, InvalidId, Unavailable. */
  async status(campaignId: number): Promise<CampaignStatus> {
    const brand = brandOf(checkCampaignId(campaignId));
    const keys = [shardKeys(shardOf(brand)).shard, brandKey(brand), campaignKey(campaignId)];
    try {
      const reply = await this.#send({ script: script("read_plan"), keys, args: [LAYOUT] });
      if (head(reply) === "not_ready") {
        throw new NotReady(`Redis is not ready (${reply[1]}): it is being rebuilt from PostgreSQL, repeat in a moment`);
      }
      const line = String(reply[4]);
      if (line === "") {
        throw new NotFound(`campaign ${campaignId} is not known: create it, or check the id with \`campaign list\``);
      }
      const reasons = reasonsOf(Number(line.split(":")[2]));
      return { status: reasons.some((reason) => !PASSING.has(reason)) ? "paused" : "active", reasons };
    } catch (error) {
      if (error instanceof NoAnswer) {
        const Kind = error.unreadable ? UnreadableReply : Unavailable;
        throw new Kind(`status of campaign ${campaignId} is not known: ${error.why}`, "");
      }
      throw error instanceof BudgetError
        ? error
        : new UnreadableReply(`the answer to status of campaign ${campaignId} cannot be read (${shown(error)})`, "");
    }
  }

  /**
   * A local view of the campaigns that may run: `watch.mayBid(campaignId)` costs no network call. Close it when it is no
   * longer needed. The snapshot is read in the background: `watch.waitReady(ms)` waits for it. Throws InvalidId.
   */
  watch(options: WatchOptions = {}): Watch {
    return new Watch(this.#transport, options);
  }

  /**
   * Closes the connections. Calls under way reject with Unavailable. On a cluster or behind Sentinel, calls that a
   * failover may have lost are sent again first, for at most 5 seconds: await it.
   */
  async close(): Promise<void> {
    await this.#transport.close();
  }

  async #one(verb: Verb, spend: Spend, requestId: string | undefined): Promise<SpendResult> {
    const checked = checkedSpend(spend);
    if (requestId === undefined) {
      return this.#coalescer.spend(verb, checked);
    }
    if (isShared(requestId)) {
      return this.#coalescer.again(verb, checked, requestId);
    }
    return this.#alone(verb, checked, checkTextId(requestId, "requestId"));
  }

  /** One spend in a call of its own. */
  async #alone(verb: Verb, [id, micros, event, occurred]: Checked, request: string): Promise<SpendResult> {
    const call = callOfOne(verb, id, request, lineOf(id, micros, event, occurred));
    try {
      return spendResults(await this.#send(call), [id], countedWord(verb))[0];
    } catch (error) {
      throw this.#failed(error, `a spend of campaign ${id}`, request, [null], false);
    }
  }

  async #many(verb: Verb, columns: Columns, requestId: string | undefined): Promise<SpendResult[]> {
    const request = requestId === undefined ? nextId() : checkTextId(requestId, "requestId");
    const size = columns.campaignIds.length;
    const pieces = piecesOf(columns, verb);
    const replies = new Array<Reply | undefined>(pieces.length).fill(undefined);
    let failure: unknown;
    await inWindow(callsOf(verb, pieces, request), async (call, i) => {
      try {
        replies[i] = await this.#send(call);
      } catch (error) {
        failure ??= error;
      }
    });
    const what = `a batch of ${size} spends`;
    if (failure !== undefined && !(failure instanceof NoAnswer)) {
      throw failure;
    }
    const [answers, unreadable] = this.#read(pieces, replies, verb, size);
    if (failure !== undefined || unreadable !== undefined) {
      throw this.#failed(failure ?? unreadable, what, request, answers, false);
    }
    return answers as SpendResult[];
  }

  /** The answers of a batch, and the first error of a reply that cannot be read. */
  #read(
    pieces: readonly Piece[],
    replies: (Reply | undefined)[],
    verb: Verb,
    size: number,
  ): readonly [readonly (SpendResult | null)[], unknown] {
    const word = countedWord(verb);
    try {
      return [inOrder(pieces, replies, word, size), undefined];
    } catch (error) {
      if (error instanceof BudgetError) {
        throw error;
      }
      const readable = pieces.map(({ campaignIds }, i) => {
        const reply = replies[i];
        try {
          return reply === undefined || spendResults(reply, campaignIds, word) === undefined ? undefined : reply;
        } catch {
          return undefined;
        }
      });
      return [inOrder(pieces, readable, word, size), error];
    }
  }

  async #ask<Result>(asked: Asked<Result>): Promise<Result> {
    let reply: Reply;
    try {
      reply = await this.#send(asked.call);
    } catch (error) {
      if (error instanceof NoAnswer) {
        const Kind = error.unreadable ? UnreadableReply : Unavailable;
        throw new Kind(`${asked.what} is not known: ${error.why}; repeat it, nothing is counted twice`, asked.ownId);
      }
      throw error;
    }
    try {
      return asked.read(reply);
    } catch (error) {
      if (error instanceof BudgetError) {
        throw error;
      }
      const why = error instanceof Error ? error.message : shown(error);
      throw new UnreadableReply(
        `the answer to ${asked.what} cannot be read (${why}); it may have been counted: repeat it, nothing is counted twice`,
        asked.ownId,
      );
    }
  }

  #send(call: Call): Promise<Reply> {
    return this.#transport.call(call, this.#timeoutMs);
  }

  /** The error for the caller of spends. `here`: only this client can repeat it. */
  #failed(
    error: unknown,
    what: string,
    request: string,
    answers: readonly (SpendResult | null)[],
    here: boolean,
  ): unknown {
    if (error instanceof BudgetError) {
      return error;
    }
    const under = request === "" ? "" : ` with requestId ${request}${here ? " on this client" : ""}`;
    if (error instanceof NoAnswer) {
      const Kind = error.unreadable ? UnreadableReply : Unavailable;
      return new Kind(`${error.why}; repeat${under}: nothing is counted twice`, request, answers);
    }
    const why = error instanceof Error ? error.message : shown(error);
    return new UnreadableReply(
      `the answer to ${what} cannot be read (${why}); it may have been counted: repeat it${under}, nothing is counted twice`,
      request,
      answers,
    );
  }
}

/** Runs a task for each item, in order, some at a time. */
async function inWindow<Item>(
  items: readonly Item[],
  task: (item: Item, index: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < items.length) {
      const index = next;
      next += 1;
      await task(items[index], index);
    }
  };
  await Promise.all(Array.from({ length: Math.min(WINDOW, items.length) }, worker));
}
