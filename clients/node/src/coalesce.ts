/**
 * Spends that are open at the same time share one script call a shard, as a batch does. A spend alone is sent at once;
 * while calls of its shard are under way, the next ones gather.
 */

import { callOfOne, callsOf, countedWord, type Piece, piecesOf, type Verb } from "./batches.js";
import { InvalidId, Overloaded, shown } from "./errors.js";
import { brandOf, nextId, shardOf } from "./ids.js";
import { type Reply, SpendResult, spendResults } from "./replies.js";
import { lineOf } from "./spends.js";
import { type Call, NoAnswer } from "./transport.js";

/** Separates a shared call's id and a spend's place in it. No id may have it, so every other client refuses it. */
const PLACE = "#";
const AT_ONCE = 2;
const KEPT_MS = 300_000;

/** The fields of a checked spend. */
export type Checked = readonly [number, number, string | undefined, number | undefined];

/** What the coalescer needs of its client. */
export interface Sender {
  send(call: Call): Promise<Reply>;
  /** The error of a spend without an answer, or with one that cannot be read. */
  failed(error: unknown, what: string, request: string, here: boolean): unknown;
}

interface Pending {
  readonly spend: Checked;
  resolve(result: SpendResult): void;
  reject(error: unknown): void;
}

/** A shared call that got no answer: it can be repeated for a while. */
interface Kept {
  readonly call: Call;
  readonly piece: Piece;
  readonly verb: Verb;
  readonly spends: readonly Checked[];
  readonly until: number;
}

class Lane {
  waiting: Pending[] = [];
  underWay = 0;
  planned = false;

  constructor(readonly verb: Verb) {}
}

export class Coalescer {
  readonly #lanes = new Map<string, Lane>();
  readonly #kept = new Map<string, Kept>();
  #open = 0;

  constructor(
    private readonly sender: Sender,
    private readonly maxWaiting: number,
  ) {}

  /** The result of one spend. Rejects with Overloaded, and what `Sender.failed` makes. */
  spend(verb: Verb, spend: Checked): Promise<SpendResult> {
    if (this.#open >= this.maxWaiting) {
      throw new Overloaded(`${this.#open} spends are open: slow down, or raise maxWaiting; this one was not taken`);
    }
    this.#open += 1;
    const [id, , event, occurred] = spend;
    // Spends of one kind can be packed together.
    const name = `${verb}${shardOf(brandOf(id))}${event === undefined ? "" : "e"}${occurred === undefined ? "" : "o"}`;
    let lane = this.#lanes.get(name);
    if (lane === undefined) {
      lane = new Lane(verb);
      this.#lanes.set(name, lane);
    }
    const { waiting } = lane;
    const result = new Promise<SpendResult>((resolve, reject) => {
      waiting.push({ spend, resolve, reject });
    });
    this.#plan(lane);
    return result;
  }

  /** The result of a spend of a shared call that got no answer, by the id that its error had. */
  async again(verb: Verb, spend: Checked, request: string): Promise<SpendResult> {
    const mark = request.indexOf(PLACE);
    const kept = this.#kept.get(request.slice(0, mark));
    const place = Number(request.slice(mark + 1));
    const before = kept?.spends[place];
    if (kept === undefined || before === undefined || kept.until < Date.now()) {
      throw new InvalidId(
        `requestId ${shown(request)} is of a call that this client does not have: give the requestId of an error that it` +
          " threw in the last five minutes, or repeat with an id of your own",
        "requestId",
      );
    }
    if (kept.verb !== verb || before.some((field, i) => field !== spend[i])) {
      return new SpendResult(spend[0], "conflict", []);
    }
    try {
      const reply = await this.sender.send(kept.call);
      return spendResults(reply, kept.piece.campaignIds, countedWord(verb))[place];
    } catch (error) {
      throw this.sender.failed(error, `a spend of campaign ${spend[0]}`, request, true);
    }
  }

  #plan(lane: Lane): void {
    if (!lane.planned && lane.underWay < AT_ONCE && lane.waiting.length > 0) {
      lane.planned = true;
      queueMicrotask(() => {
        lane.planned = false;
        this.#flush(lane);
      });
    }
  }

  #flush(lane: Lane): void {
    const group = lane.waiting;
    lane.waiting = [];
    if (group.length === 1) {
      void this.#sendOne(lane, group[0]);
      return;
    }
    const spends = group.map(({ spend }) => spend);
    const named = spends[0][2] !== undefined;
    const timed = spends[0][3] !== undefined;
    const columns = {
      campaignIds: spends.map(([id]) => id),
      micros: spends.map(([, micros]) => micros),
      events: named ? spends.map(([, , event]) => event) : undefined,
      occurred: timed ? spends.map(([, , , occurred]) => occurred) : undefined,
    };
    for (const piece of piecesOf(columns, lane.verb)) {
      void this.#send(lane, piece, group);
    }
  }

  async #sendOne(lane: Lane, { spend, resolve, reject }: Pending): Promise<void> {
    const { verb } = lane;
    const request = nextId();
    lane.underWay += 1;
    try {
      const reply = await this.sender.send(callOfOne(verb, spend[0], request, lineOf(...spend)));
      resolve(spendResults(reply, [spend[0]], countedWord(verb))[0]);
    } catch (error) {
      reject(this.sender.failed(error, `a spend of campaign ${spend[0]}`, request, false));
    }
    this.#open -= 1;
    lane.underWay -= 1;
    this.#plan(lane);
  }

  async #send(lane: Lane, piece: Piece, group: readonly Pending[]): Promise<void> {
    const { verb } = lane;
    const request = nextId();
    const pending = piece.places?.map((place) => group[place]) ?? group;
    lane.underWay += 1;
    try {
      const [call] = callsOf(verb, [piece], request);
      try {
        const reply = await this.sender.send(call);
        const results = spendResults(reply, piece.campaignIds, countedWord(verb));
        for (let i = 0; i < pending.length; i++) {
          pending[i].resolve(results[i]);
        }
      } catch (error) {
        this.#fail(error, { call, piece, verb, spends: pending.map(({ spend }) => spend), until: 0 }, request, pending);
      }
    } finally {
      this.#open -= pending.length;
      lane.underWay -= 1;
      this.#plan(lane);
    }
  }

  #fail(error: unknown, lost: Kept, request: string, pending: readonly Pending[]): void {
    const shared = pending.length > 1;
    if (shared && error instanceof NoAnswer) {
      this.#keep(request, lost);
    }
    pending.forEach(({ spend, reject }, place) => {
      const name = shared ? `${request}${PLACE}${place}` : request;
      reject(this.sender.failed(error, `a spend of campaign ${spend[0]}`, name, shared));
    });
  }

  #keep(request: string, lost: Kept): void {
    const now = Date.now();
    for (const [name, { until }] of this.#kept) {
      if (until >= now) {
        break;
      }
      this.#kept.delete(name);
    }
    this.#kept.set(request, { ...lost, until: now + KEPT_MS });
  }
}

/** Whether a request id is of a shared call. */
export function isShared(request: unknown): request is string {
  return typeof request === "string" && request.includes(PLACE);
}
