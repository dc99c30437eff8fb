/** Holds and refunds: their calls, and what is read from the replies. */

import { type Cause, reasonsOf } from "./causes.js";
import { InvalidId, InvalidInput, shown } from "./errors.js";
import { brandOf, checkCampaignId, checkTextId, nextId, shardOf } from "./ids.js";
import { brandKey, campaignKey, holdKeys, shardKeys } from "./keys.js";
import { type Amount, microsOf } from "./money.js";
import { Answered, type Figures, head, type Reply, readFigures } from "./replies.js";
import { LAYOUT, script } from "./scripts.js";
import type { Call } from "./transport.js";

export type HoldOutcome =
  | "accepted"
  | "refused"
  | "settled"
  | "released"
  | "expired"
  | "unknown_hold"
  | "conflict"
  | "unknown_campaign"
  | "not_ready";

export type RefundOutcome =
  | "refunded"
  | "pending"
  | "conflict"
  | "refused"
  | "unknown_event"
  | "unknown_campaign"
  | "not_ready";

/** `late`: settled after the hold's end, or never held. `over`: settled above what was held. */
export type Mark = "" | "late" | "over";

const MAX_TTL_S = 86_400;
const HOLDS: Readonly<Record<string, readonly [HoldOutcome, Mark]>> = {
  a: ["accepted", ""],
  s: ["settled", ""],
  o: ["settled", "over"],
  t: ["settled", "late"],
  l: ["released", ""],
  e: ["expired", ""],
  n: ["unknown_hold", ""],
  c: ["conflict", ""],
  u: ["unknown_campaign", ""],
};
const REFUNDS: Readonly<Record<string, RefundOutcome>> = {
  k: "refunded",
  w: "pending",
  c: "conflict",
  x: "refused",
  n: "unknown_event",
  u: "unknown_campaign",
};
const WHY: Readonly<Record<string, string>> = {
  ca: "this refund was asked for before with another amount: give a part of a spend a refundId of its own",
  cc: "the spend, or its refund before, is of another campaign",
  cm: "it would be more than was spent, with what was refunded of this event before",
  xd: "it is more than the campaign has spent on that day",
  xm: "it is more than the campaign has spent in that month",
  xl: "it is more than one of the campaign's own budgets has counted",
  xb: "it is more than the brand has spent in that day or month",
  xu: "the spend log has no spend of this event on that day",
  xy: "the spend log has this event on the day before or after: give the day of the spend by its brand's clock",
  xc: "the spend log has this event for another campaign",
  xs: "it is more than was spent, with what was refunded of this event before",
  xe: "that day is before the brand began",
  xq: "the event stands in a journal entry that was given up in quarantine: a person must look",
  w: "the event is older than its window, so the spend log decides within seconds: ask again",
  n: "no such event is remembered: where it is older than its window, give the day of the spend (spentOn)",
};

/** The result of reserve, settle or release. `ok`: the outcome is what the call wanted. */
export class HoldResult extends Answered {
  constructor(
    campaignId: number,
    readonly outcome: HoldOutcome,
    reasons: readonly Cause[],
    figures: Figures | undefined,
    detail: string,
    /** The whole id, which settle and release take. */
    readonly holdId: string,
    readonly mark: Mark,
    private readonly wanted: HoldOutcome,
  ) {
    super(campaignId, reasons, figures, detail);
  }

  override get ok(): boolean {
    return this.outcome === this.wanted;
  }
}

/** The result of refund. `ok`: money went back. `pending`: the spend log decides, the same call again gets to know. */
export class RefundResult extends Answered {
  constructor(
    campaignId: number,
    readonly outcome: RefundOutcome,
    reasons: readonly Cause[],
    figures: Figures | undefined,
    detail: string,
  ) {
    super(campaignId, reasons, figures, detail);
  }

  override get ok(): boolean {
    return this.outcome === "refunded";
  }
}

/** A checked call, its name in messages, and how its reply is read. */
export interface Asked<Result> {
  readonly call: Call;
  /** The id of the hold or the event: the same call with it counts once. */
  readonly ownId: string;
  readonly what: string;
  read(reply: Reply): Result;
}

export interface Reserve extends Amount {
  readonly campaignId: number;
  /** Seconds after which the hold comes back by itself, a day at most; 60 where left out. */
  readonly ttlS?: number | undefined;
  /** Names the hold; made when none is given. */
  readonly holdId?: string | undefined;
}

export interface Refund extends Amount {
  readonly campaignId: number;
  /** The event id of the spend. */
  readonly eventId: string;
  /** The day of the spend by its brand's clock as "2026-11-28", needed when its event id is outside the dedup window. */
  readonly spentOn?: string | undefined;
  /** Names a part of the spend; without it an event has one refund. */
  readonly refundId?: string | undefined;
}

export function asksReserve(asked: Reserve): Asked<HoldResult> {
  const id = checkCampaignId(asked.campaignId);
  const micros = microsOf(asked.amount, asked.amountMicros);
  const name = asked.holdId === undefined ? nextId() : ownPart(asked.holdId, id);
  return asksHold(id, name, `R,${id},${name},${micros},${ttlMs(asked.ttlS)};`, "accepted");
}

export function asksSettle(holdId: string, price: Amount): Asked<HoldResult> {
  const [id, name] = parts(holdId);
  return asksHold(id, name, `S,${id},${name},${microsOf(price.amount, price.amountMicros)},;`, "settled");
}

export function asksRelease(holdId: string): Asked<HoldResult> {
  const [id, name] = parts(holdId);
  return asksHold(id, name, `L,${id},${name},,;`, "released");
}

export function asksRefund(asked: Refund): Asked<RefundResult> {
  const id = checkCampaignId(asked.campaignId);
  const event = checkTextId(asked.eventId, "eventId");
  const part = asked.refundId === undefined ? "" : checkTextId(asked.refundId, "refundId");
  const day = asked.spentOn === undefined ? "" : String(dayNumber(asked.spentOn));
  const micros = microsOf(asked.amount, asked.amountMicros);
  const brand = brandOf(id);
  const keys = [...shardKeys(shardOf(brand)).fixed, brandKey(brand), campaignKey(id)];
  const call = { script: script("refund"), keys, args: [LAYOUT, String(id), event, String(micros), day, part] };
  const read = (reply: Reply): RefundResult => {
    if (reply[0] === "invalid" && reply[2] === "day") {
      throw new InvalidInput(
        `spentOn ${asked.spentOn} is not a day of a spend, which is from 2020 on and until today by the clock of brand` +
          ` ${brand}: give the day of the spend; nothing was written`,
        "spentOn",
      );
    }
    if (head(reply) === "not_ready") {
      return new RefundResult(id, "not_ready", [], undefined, String(reply[1]));
    }
    const code = String(reply[1]);
    const outcome = REFUNDS[code[0]];
    if (outcome === undefined || (code.length > 1 && WHY[code] === undefined)) {
      throw new Error(`${shown(code)} is not what becomes of a refund`);
    }
    const [figures, masks] = readFigures(reply);
    return new RefundResult(id, outcome, reasonsOf(masks.get(id) ?? 0), figures.get(brand), WHY[code] ?? "");
  };
  return { call, ownId: event, what: `refund of ${event}`, read };
}

function asksHold(id: number, name: string, operation: string, wanted: HoldOutcome): Asked<HoldResult> {
  const brand = brandOf(id);
  const holdId = `${id}:${name}`;
  const keys = [...shardKeys(shardOf(brand)).fixed, brandKey(brand), campaignKey(id), ...holdKeys(brand)];
  const read = (reply: Reply): HoldResult => {
    if (head(reply) === "not_ready") {
      return new HoldResult(id, "not_ready", [], undefined, String(reply[1]), holdId, "", wanted);
    }
    const code = String(reply[1]);
    const [figures, masks] = readFigures(reply);
    if (/^x\d+$/.test(code)) {
      const causes = reasonsOf(Number(code.slice(1)));
      return new HoldResult(id, "refused", causes, figures.get(brand), "", holdId, "", wanted);
    }
    const [outcome, mark] = HOLDS[code] ?? [];
    if (outcome === undefined || mark === undefined) {
      throw new Error(`${shown(code)} is not what becomes of a hold`);
    }
    return new HoldResult(id, outcome, reasonsOf(masks.get(id) ?? 0), figures.get(brand), "", holdId, mark, wanted);
  };
  const call = { script: script("holds"), keys, args: [LAYOUT, operation] };
  return { call, ownId: holdId, what: `hold ${holdId}`, read };
}

function ttlMs(ttl: unknown = 60): number {
  if (typeof ttl !== "number" || !(ttl >= 0.001 && ttl <= MAX_TTL_S)) {
    throw new InvalidInput(`ttlS ${shown(ttl)} is not a time to live: give seconds from 0.001 to ${MAX_TTL_S}`, "ttlS");
  }
  return Math.round(ttl * 1000);
}

/** The number of a day since 1970-01-01. */
function dayNumber(day: unknown): number {
  const ms = typeof day === "string" && /^\d{4}-\d\d-\d\d$/.test(day) ? Date.parse(`${day}T00:00:00Z`) : Number.NaN;
  if (Number.isNaN(ms) || new Date(ms).toISOString().slice(0, 10) !== day) {
    throw new InvalidInput(
      `spentOn ${shown(day)} is not a day: give the day of the spend by its brand's clock, as "2026-11-28"`,
      "spentOn",
    );
  }
  if (ms < 0) {
    throw new InvalidInput(`spentOn ${shown(day)} is before 1970: give the day of the spend`, "spentOn");
  }
  return ms / 86_400_000;
}

/** A hold's id without its campaign, which it may have already. */
function ownPart(holdId: unknown, campaignId: number): string {
  const prefix = `${campaignId}:`;
  return checkTextId(
    typeof holdId === "string" && holdId.startsWith(prefix) ? holdId.slice(prefix.length) : holdId,
    "holdId",
  );
}

function parts(holdId: unknown): [number, string] {
  const found = typeof holdId === "string" ? /^(\d{1,16}):([\s\S]*)$/.exec(holdId) : null;
  if (found === null) {
    throw new InvalidId(
      `holdId ${shown(holdId)} does not carry its campaign: use the holdId that reserve answered (\`5308417:...\`)`,
      "holdId",
    );
  }
  return [checkCampaignId(Number(found[1]), "holdId"), checkTextId(found[2], "holdId")];
}
