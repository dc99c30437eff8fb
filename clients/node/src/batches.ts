/** What a batch of spends becomes: script calls, one a shard where they fit, and the answers in the batch's order. */

import { InvalidInput, shown } from "./errors.js";
import { brandOf, shardOf } from "./ids.js";
import { brandKey, campaignKey, holdKeys, shardKeys } from "./keys.js";
import { NAMED, PLAIN, pack } from "./packed.js";
import { type CountedWord, ownCauses, type Reply, type SpendResult, spendResults } from "./replies.js";
import { LAYOUT, script } from "./scripts.js";
import { type Columns, lineOf } from "./spends.js";
import type { Arg, Call } from "./transport.js";

export type Verb = "record_spends" | "try_spends";

const MAX_SPENDS = 1000;
const MAX_SPENDS_WITH_IDS = 500;
const MAX_CAMPAIGNS = 100;
const MAX_BRANDS = 50;
const IDS_A_CAMPAIGN = 4;
const MAX_WORK = 734;
/** Smaller batches go as text: nothing is gained by packing them. */
const PACKED_FROM = 8;

/** The outcome of a counted spend of a verb. */
export function countedWord(verb: Verb): CountedWord {
  return verb === "record_spends" ? "recorded" : "accepted";
}

/** The spends of one script call. `places`: where each stands in the batch; undefined is the whole of it, in order. */
export interface Piece {
  readonly shard: number;
  readonly chunk: number;
  readonly places: readonly number[] | undefined;
  readonly campaignIds: ArrayLike<number>;
  readonly campaigns: readonly number[];
  args(): Arg[];
}

/** How many spends one call may carry, for Redis to be held for less than 5 ms. */
export function mostSpends(campaigns: number, withIds: boolean, judged: boolean): number {
  if (!withIds) {
    return MAX_SPENDS;
  }
  const most = Math.min(MAX_WORK - campaigns * IDS_A_CAMPAIGN, MAX_SPENDS_WITH_IDS);
  return judged ? Math.floor((most * 2) / 5) : most;
}

/** The KEYS of a charge: those of the shard, of each brand, and of each campaign once. */
export function keysOf(verb: Verb, shard: number, campaigns: readonly number[]): string[] {
  const keys = [...shardKeys(shard).fixed];
  for (const brand of new Set(campaigns.map(brandOf))) {
    keys.push(brandKey(brand));
    if (verb === "try_spends") {
      keys.push(...holdKeys(brand));
    }
  }
  for (const campaign of campaigns) {
    keys.push(campaignKey(campaign));
  }
  return keys;
}

class Group {
  readonly places: number[] = [];
  readonly brands = new Set<number>();
  withIds = false;

  constructor(
    readonly shard: number,
    readonly chunk: number,
    /** Given for the group of a whole batch, which needs no places. */
    readonly campaigns = new Set<number>(),
  ) {}

  /** Whether one more spend fits. */
  takes(campaign: number, brand: number, withId: boolean, judged: boolean): boolean {
    const campaigns = this.campaigns.size + (this.campaigns.has(campaign) ? 0 : 1);
    const brands = this.brands.size + (this.brands.has(brand) ? 0 : 1);
    return (
      this.places.length < mostSpends(campaigns, withId || this.withIds, judged) &&
      campaigns <= MAX_CAMPAIGNS &&
      brands <= MAX_BRANDS
    );
  }
}

/** The pieces of a batch that is checked, order kept in each shard. */
export function piecesOf(columns: Columns, verb: Verb): Piece[] {
  const { campaignIds, events, occurred } = columns;
  const size = campaignIds.length;
  const named = events === undefined ? 0 : events.reduce((sum, event) => sum + (event === undefined ? 0 : 1), 0);
  const packed = size >= PACKED_FROM && occurred === undefined && (named === 0 || named === size);
  // The same cuts as the Python client's, so that a batch can be repeated from either.
  const judged = verb === "try_spends" || (packed && named > 0 && events !== undefined && repeats(events));
  const groups = packed ? cutBySize(columns, named > 0, judged) : undefined;
  return (groups ?? cut(columns, judged)).map((group) => pieceOf(columns, group, packed, named > 0));
}

/** The groups of a batch of one shard whose campaigns fit into one call: it is cut by its size alone. */
function cutBySize({ campaignIds }: Columns, named: boolean, judged: boolean): Group[] | undefined {
  const size = campaignIds.length;
  const campaigns = new Set<number>();
  for (let i = 0; i < size; i++) {
    campaigns.add(campaignIds[i]);
  }
  const brands = new Set([...campaigns].map(brandOf));
  const shards = new Set([...brands].map(shardOf));
  if (shards.size !== 1 || campaigns.size > MAX_CAMPAIGNS || brands.size > MAX_BRANDS) {
    return undefined;
  }
  const most = mostSpends(campaigns.size, named, judged);
  const [shard] = shards;
  if (size <= most) {
    return [new Group(shard, 0, campaigns)];
  }
  return Array.from({ length: Math.ceil(size / most) }, (_, chunk) => {
    const group = new Group(shard, chunk);
    for (let i = chunk * most; i < Math.min((chunk + 1) * most, size); i++) {
      group.places.push(i);
      group.campaigns.add(campaignIds[i]);
    }
    return group;
  });
}

function repeats(events: readonly (string | undefined)[]): boolean {
  const given = events.filter((event) => event !== undefined);
  return new Set(given).size < given.length;
}

function cut({ campaignIds, events }: Columns, judged: boolean): Group[] {
  const groups: Group[] = [];
  const open = new Map<number, Group>();
  let last = -1;
  let brand = 0;
  let shard = 0;
  for (let i = 0; i < campaignIds.length; i++) {
    const id = campaignIds[i];
    if (id !== last) {
      last = id;
      brand = brandOf(id);
      shard = shardOf(brand);
    }
    const withId = events?.[i] !== undefined;
    let group = open.get(shard);
    if (group === undefined || !group.takes(id, brand, withId, judged)) {
      group = new Group(shard, group === undefined ? 0 : group.chunk + 1);
      open.set(shard, group);
      groups.push(group);
    }
    group.places.push(i);
    group.campaigns.add(id);
    group.brands.add(brand);
    group.withIds ||= withId;
  }
  return groups;
}

function pieceOf(columns: Columns, group: Group, packed: boolean, named: boolean): Piece {
  const { shard, chunk } = group;
  const places = group.places.length === 0 ? undefined : group.places;
  const campaigns = [...group.campaigns].sort((a, b) => a - b);
  const of = <Value>(column: ArrayLike<Value>): ArrayLike<Value> =>
    places === undefined ? column : places.map((place) => column[place]);
  const campaignIds = of(columns.campaignIds);
  const args = (): Arg[] => {
    const micros = of(columns.micros);
    if (packed && !named) {
      return pack(campaignIds, campaigns, micros, PLAIN);
    }
    const events = of(columns.events ?? []);
    if (!packed) {
      const occurred = of(columns.occurred ?? []);
      return [each(campaignIds, (id, i) => lineOf(id, micros[i], events[i], occurred[i])).join("")];
    }
    const day = today();
    return [
      ...pack(campaignIds, campaigns, micros, NAMED),
      day,
      each(campaignIds, (id, i) => `${brandOf(id)}:${events[i]}`).join(","),
      each(campaignIds, (id, i) => `${id},${micros[i]},${day}`).join(";"),
    ];
  };
  return { shard, chunk, places, campaignIds, campaigns, args };
}

function each(ids: ArrayLike<number>, text: (id: number, place: number) => string): string[] {
  return Array.from(ids, text);
}

/** The UTC day's number by this machine's clock; where Redis' day is another, the script makes the values itself. */
function today(): string {
  return String(Math.floor(Date.now() / 86_400_000));
}

/** The KEYS of a charge of one campaign, kept: a bidder's calls are of the same campaigns again and again. */
const KEYS: Readonly<Record<Verb, Map<number, readonly string[]>>> = {
  record_spends: new Map(),
  try_spends: new Map(),
};
const KEPT_CAMPAIGNS = 16_384;

/** The call of one spend, as text. */
export function callOfOne(verb: Verb, campaignId: number, request: string, line: string): Call {
  const kept = KEYS[verb];
  let keys = kept.get(campaignId);
  if (keys === undefined) {
    keys = keysOf(verb, shardOf(brandOf(campaignId)), [campaignId]);
    if (kept.size >= KEPT_CAMPAIGNS) {
      kept.clear();
    }
    kept.set(campaignId, keys);
  }
  return { script: script(verb), keys, args: [LAYOUT, request, line] };
}

/** The calls of a batch. One that needs several names them `<request id>/<shard>/<chunk>`. */
export function callsOf(verb: Verb, pieces: readonly Piece[], request: string): Call[] {
  const code = script(verb);
  return pieces.map((piece) => ({
    script: code,
    keys: keysOf(verb, piece.shard, piece.campaigns),
    args: [LAYOUT, pieces.length === 1 ? request : `${request}/${piece.shard}/${piece.chunk}`, ...piece.args()],
  }));
}

/**
 * The answers in the order of the batch, with the figures after the last piece of their brand; null where no reply
 * came. Throws what `spendResults` throws.
 */
export function inOrder(
  pieces: readonly Piece[],
  replies: readonly (Reply | undefined)[],
  word: CountedWord,
  size: number,
): (SpendResult | null)[] {
  const found = pieces.map((piece, i) => {
    const reply = replies[i];
    return reply === undefined ? undefined : spendResults(reply, piece.campaignIds, word);
  });
  if (found.length === 1 && found[0] !== undefined) {
    return found[0];
  }
  if (new Set(pieces.map((piece) => piece.shard)).size < pieces.length) {
    seeLast(found);
  }
  const answers = new Array<SpendResult | null>(size).fill(null);
  pieces.forEach(({ places }, i) => {
    const results = found[i];
    if (results !== undefined) {
      places?.forEach((place, at) => {
        answers[place] = results[at];
      });
    }
  });
  return answers;
}

function seeLast(found: readonly (readonly SpendResult[] | undefined)[]): void {
  const all = found.flatMap((results) => (results === undefined ? [] : [...new Set(results)]));
  const told = all.filter((result) => result.seen !== undefined);
  const last = new Map(told.map((result) => [brandOf(result.campaignId), result.seen]));
  const own = new Map(
    all.filter((result) => result.outcome !== "refused").map((result) => [result.campaignId, ownCauses(result)]),
  );
  for (const result of all) {
    result.see(last.get(brandOf(result.campaignId)), own.get(result.campaignId) ?? []);
  }
}

/** Throws InvalidInput for a whole number of milliseconds that is none. */
export function checkedMs(value: unknown, field: string): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value <= 0) {
    throw new InvalidInput(`${field} ${shown(value)} is not a whole number of milliseconds above 0`, field);
  }
  return value;
}
