/** Reads the scripts' replies: results of spends, and the errors that some replies are. */

import { type Cause, inOrder, reasonsOf } from "./causes.js";
import { BudgetError, InvalidInput, shown, WrongVersion } from "./errors.js";
import { brandOf } from "./ids.js";
import { formatMicros } from "./money.js";
import { LAYOUT } from "./scripts.js";

/** A script's reply: texts, and a number where it is `invalid`. Later releases add parts at the end. */
export type Reply = readonly (string | number)[];

export type SpendOutcome =
  | "recorded"
  | "accepted"
  | "refused"
  | "duplicate"
  | "conflict"
  | "unknown_campaign"
  | "not_ready";

/** The outcome of a counted spend, by the verb of its call. */
export type CountedWord = "recorded" | "accepted";

const WORDS: Readonly<Record<string, SpendOutcome>> = { d: "duplicate", c: "conflict", u: "unknown_campaign" };
const COUNTED: ReadonlySet<string> = new Set(["recorded", "accepted", "duplicate"]);
const RUN = /([kdcu]|x\d+)\*(\d+)/g;
/** What a call may begin for one campaign alone; a later piece of a batch may change it. */
const MOVED: ReadonlySet<Cause> = new Set<Cause>([
  "campaign_daily_budget",
  "campaign_monthly_budget",
  "flight_budget",
  "rate",
  "breaker",
]);
const BY_CLOCK: ReadonlySet<string> = new Set(["flight", "pacing", "rate"]);
const NO_STARTS: ReadonlyMap<number, number> = new Map();

/** A brand's spends and limits after a call, parsed on first use, because most callers need the outcome only. */
export class Figures {
  #parsed: readonly [number, number, number | null, number | null] | undefined;

  constructor(
    private readonly line: string,
    /** When campaigns that a passing cause stops may spend again, in epoch milliseconds. */
    public starts: ReadonlyMap<number, number> = NO_STARTS,
  ) {}

  /** Micros spent on the day and in the month, and the limits of both; null is no limit. */
  micros(): readonly [number, number, number | null, number | null] {
    if (this.#parsed === undefined) {
      const [, day, month, daily, monthly] = this.line.split(":");
      this.#parsed = [
        whole(day),
        whole(month),
        daily === "" ? null : whole(daily),
        monthly === "" ? null : whole(monthly),
      ];
    }
    return this.#parsed;
  }

  /** The brand's budgets that are used up. */
  causes(): Cause[] {
    const [day, month, daily, monthly] = this.micros();
    const found: Cause[] = [];
    if (daily !== null && day >= daily) {
      found.push("daily_budget");
    }
    if (monthly !== null && month >= monthly) {
      found.push("monthly_budget");
    }
    return found;
  }
}

/** A whole number in a reply. Throws an Error for anything else. */
export function whole(text: string | undefined): number {
  if (text === undefined || !/^-?\d{1,16}$/.test(text)) {
    throw new Error(`${shown(text)} is not a number`);
  }
  return Number(text);
}

/** The common fields of every result. Spends and remainders are the brand's, decimal strings of six places. */
export abstract class Answered {
  constructor(
    readonly campaignId: number,
    /** Why the campaign is not running after the call, or for `refused` why. */
    public reasons: readonly Cause[],
    protected figures: Figures | undefined,
    /** Why a `not_ready` shard is not ready; of a refund why it was not paid. */
    readonly detail: string,
  ) {}

  /** Whether the call did what it should: a spend is counted, a hold accepted, settled, released, money refunded. */
  abstract get ok(): boolean;

  /** Null where the brand is unknown or nothing was evaluated. */
  get dailySpend(): string | null {
    return this.figures === undefined ? null : formatMicros(this.figures.micros()[0]);
  }

  get monthlySpend(): string | null {
    return this.figures === undefined ? null : formatMicros(this.figures.micros()[1]);
  }

  /** What is left of the daily budget, negative when record calls exceeded it; null without a limit. */
  get dailyRemaining(): string | null {
    return this.#remaining(0);
  }

  get monthlyRemaining(): string | null {
    return this.#remaining(1);
  }

  /** When a call refused for one passing cause alone would be accepted if nothing else were spent until then. */
  get retryAt(): Date | null {
    const ms =
      this.reasons.length === 1 && BY_CLOCK.has(this.reasons[0])
        ? this.figures?.starts.get(this.campaignId)
        : undefined;
    return ms === undefined ? null : new Date(ms);
  }

  #remaining(place: 0 | 1): string | null {
    const micros = this.figures?.micros();
    const limit = micros?.[place + 2];
    return micros === undefined || limit === undefined || limit === null
      ? null
      : formatMicros(limit - (micros[place] ?? 0));
  }
}

/** The result of one spend. `ok`: it is counted, now or by an earlier call. */
export class SpendResult extends Answered {
  constructor(
    campaignId: number,
    readonly outcome: SpendOutcome,
    reasons: readonly Cause[],
    figures?: Figures,
    detail = "",
  ) {
    super(campaignId, reasons, figures, detail);
  }

  override get ok(): boolean {
    return COUNTED.has(this.outcome);
  }

  /** @internal */
  get seen(): Figures | undefined {
    return this.figures;
  }

  /** Takes the figures after a later call of its batch; a refusal keeps its causes. @internal */
  see(later: Figures | undefined, own: readonly Cause[]): void {
    if (later === undefined || this.figures === undefined || later === this.figures) {
      return;
    }
    if (this.figures.starts.size > 0) {
      later.starts = new Map([...this.figures.starts, ...later.starts]);
    }
    this.figures = later;
    if (this.outcome !== "refused") {
      const usedUp = later.causes();
      if (usedUp.length + own.length + this.reasons.length > 0) {
        const kept = this.reasons.filter((r) => !MOVED.has(r) && r !== "daily_budget" && r !== "monthly_budget");
        this.reasons = inOrder([...kept, ...usedUp, ...own]);
      }
    }
  }
}

/** The causes of a campaign alone that its call found. @internal */
export function ownCauses(result: SpendResult): readonly Cause[] {
  return result.reasons.filter((reason) => MOVED.has(reason));
}

/** The status of a reply. Throws WrongVersion, InvalidInput and BudgetError for the replies that are errors. */
export function head(reply: Reply): "ok" | "not_ready" {
  const word = reply[0];
  switch (word) {
    case "ok":
    case "not_ready":
      return word;
    case "wrong_version": {
      const older = Number(reply[1]) > Number(LAYOUT) ? "this program" : "Redis' data";
      throw new WrongVersion(
        `Redis holds layout ${reply[1]}, this program speaks ${LAYOUT}: upgrade ${older}; nothing was written`,
      );
    }
    case "invalid":
      throw new InvalidInput(`Redis refused ${reply[2]} of spend ${reply[1]}: nothing was written`, String(reply[2]));
    case "foreign":
      throw new BudgetError(`Redis is marked by another instance (${reply[1]}): check REDIS_URL`);
    default:
      throw new Error(`${shown(word)} is not a status`);
  }
}

/** The brands' figures and the campaigns' causes of a reply. */
export function readFigures(reply: Reply): readonly [ReadonlyMap<number, Figures>, ReadonlyMap<number, number>] {
  const figures = new Map<number, Figures>();
  const starts = readStarts(reply);
  for (const line of lines(reply[2])) {
    figures.set(whole(line.slice(0, line.indexOf(":"))), new Figures(line, starts));
  }
  const masks = new Map<number, number>();
  for (const line of lines(reply[3])) {
    const [campaign, mask] = line.split(":");
    masks.set(whole(campaign), whole(mask));
  }
  return [figures, masks];
}

function lines(part: string | number | undefined): string[] {
  if (typeof part !== "string") {
    throw new Error(`${shown(part)} are no figures`);
  }
  return part === "" ? [] : part.split(";");
}

/** Parts that do not look like `<campaign>:<ms>` are of a later release. */
function readStarts(reply: Reply): ReadonlyMap<number, number> {
  const part = reply[4];
  if (typeof part !== "string" || part === "") {
    return NO_STARTS;
  }
  const starts = new Map<number, number>();
  for (const pair of part.split(";")) {
    const found = /^(\d+):(\d+)(?::|$)/.exec(pair);
    if (found !== null) {
      starts.set(Number(found[1]), Number(found[2]));
    }
  }
  return starts;
}

/**
 * The results of one call, in the order of its spends; equal results are one object. Throws what `head` throws, and an
 * Error for a reply that does not fit these spends.
 */
export function spendResults(reply: Reply, campaignIds: ArrayLike<number>, word: CountedWord): SpendResult[] {
  const results = new Array<SpendResult>(campaignIds.length);
  if (head(reply) === "not_ready") {
    const made = new Map<number, SpendResult>();
    for (let i = 0; i < campaignIds.length; i++) {
      const id = campaignIds[i];
      let result = made.get(id);
      if (result === undefined) {
        result = new SpendResult(id, "not_ready", [], undefined, String(reply[1]));
        made.set(id, result);
      }
      results[i] = result;
    }
    return results;
  }
  const [figures, masks] = readFigures(reply);
  const codes = String(reply[1]);
  let place = 0;
  for (const [, code, count] of codes.matchAll(RUN)) {
    const end = place + Number(count);
    if (end > campaignIds.length) {
      break;
    }
    const refused = code.startsWith("x") ? reasonsOf(Number(code.slice(1))) : undefined;
    const outcome: SpendOutcome = refused !== undefined ? "refused" : code === "k" ? word : WORDS[code];
    // The campaigns of one reply are few and its spends are many: the last one is tried first.
    const made = new Map<number, SpendResult>();
    let id = -1;
    let result: SpendResult | undefined;
    for (; place < end; place++) {
      if (campaignIds[place] !== id) {
        id = campaignIds[place];
        result = made.get(id);
      }
      if (result === undefined) {
        const mask = masks.get(id);
        if (mask === undefined && code === "k") {
          throw new Error(`${shown(reply[3])} leaves out a campaign that was counted`);
        }
        result = new SpendResult(id, outcome, refused ?? reasonsOf(mask ?? 0), figures.get(brandOf(id)));
        made.set(id, result);
      }
      results[place] = result;
    }
  }
  if (place !== campaignIds.length) {
    throw new Error(`${shown(codes)} are not the outcomes of ${campaignIds.length} spends`);
  }
  return results;
}
