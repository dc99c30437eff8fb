/**
 * Reads the channel's messages and the replies of `read_watched`. Each has its order: budgets the journal number n, a
 * plan its version. So an older message never overwrites a newer state. Fields of later releases are read over.
 */

import { CAUSES } from "../causes.js";
import { brandOf } from "../ids.js";
import { whole } from "../replies.js";
import { UTC, Zone } from "./zone.js";

/** A budget that a cause names, and its period; undefined is a whole life. */
export const BRAND_BUDGETS = [
  ["daily_budget", "day"],
  ["monthly_budget", "month"],
] as const;
export const OWN_BUDGETS = [
  ["campaign_daily_budget", "day"],
  ["campaign_monthly_budget", "month"],
  ["flight_budget", undefined],
] as const;

export interface Flight {
  readonly no: number;
  readonly startsMs: number;
  readonly endsMs: number;
}

/** A campaign's own budgets, flights and breaker at journal number n. */
export interface OwnSeen {
  readonly n: number;
  readonly atMs: number;
  readonly zeroLimits: ReadonlySet<string>;
  readonly usedUp: ReadonlySet<string>;
  readonly flights: readonly (readonly [Flight, boolean])[];
  readonly broken: boolean;
}

/** A campaign's published plan. `own`: undefined where it never had limits of its own. */
export interface CampaignSeen {
  readonly id: number;
  readonly version: number;
  readonly on: boolean;
  readonly archived: boolean;
  readonly schedule: string;
  readonly own: OwnSeen | undefined;
}

/** A brand at journal number n. `usedUp` holds for the periods of `atMs`. */
export interface BrandSeen {
  readonly n: number;
  readonly atMs: number;
  readonly version: number;
  readonly archived: boolean;
  readonly zeroLimits: ReadonlySet<string>;
  readonly usedUp: ReadonlySet<string>;
  readonly zone: Zone;
  readonly paused: boolean;
}

export type Change =
  | { readonly kind: "shard"; readonly ready: boolean }
  | {
      readonly kind: "budget";
      readonly brand: number;
      readonly campaign: number | undefined;
      readonly cause: string;
      readonly usedUp: boolean;
      readonly atMs: number;
      readonly n: number;
    }
  | {
      readonly kind: "plan";
      readonly brand: number;
      readonly seen: BrandSeen;
      readonly campaigns: readonly CampaignSeen[];
    };

const ZONE = "zone=";
const OF_BRAND: ReadonlySet<string> = new Set(BRAND_BUDGETS.map(([cause]) => cause));
const OF_CAMPAIGN: ReadonlySet<string> = new Set([...OWN_BUDGETS.map(([cause]) => cause as string), "breaker"]);
const KNOWN: ReadonlySet<string> = new Set(CAUSES);

/** Reads a message. Throws an Error for an unknown one: read the shard again instead. */
export function readMessage(message: string): Change {
  const words = message.split(" ");
  if (words[0] === "0" && words[1] === "shard") {
    return { kind: "shard", ready: words[2] === "ready" };
  }
  if (words[1] === "plan" && words[2] === "published" && words.length > 5) {
    const [brand, , , ms, n, plan, ...rest] = words;
    const seen = readBrand(whole(n), whole(ms), plan);
    const campaigns = rest.map((word) => {
      const colon = word.indexOf(":");
      return readCampaign(whole(word.slice(0, colon)), word.slice(colon + 1), seen.n, seen.atMs);
    });
    return { kind: "plan", brand: whole(brand), seen, campaigns };
  }
  const [owner, name, direction, at, n] = words;
  if (direction !== "exhausted" && direction !== "restored") {
    throw new Error(`a message that this client does not know: ${message.slice(0, 200)}`);
  }
  // A budget of a later release is the brand's, as far as is known.
  const cause = OF_BRAND.has(name) || OF_CAMPAIGN.has(name) ? name : "other";
  if (cause === "other" && KNOWN.has(name)) {
    throw new Error(`a message about what is no budget: ${message.slice(0, 200)}`);
  }
  const campaign = OF_CAMPAIGN.has(cause) ? whole(owner) : undefined;
  const brand = campaign === undefined ? whole(owner) : brandOf(campaign);
  return { kind: "budget", brand, campaign, cause, usedUp: direction === "exhausted", atMs: whole(at), n: whole(n) };
}

/** `version:archived:daily_limit:monthly_limit:daily used up:monthly used up`, with a zone `:zone=`, paused `:paused=1`. Throws an Error. */
export function readBrand(n: number, atMs: number, text: string): BrandSeen {
  const [version, archived, daily, monthly, dayUsed, monthUsed, ...more] = text.split(":");
  const zone = more.find((word) => word.startsWith(ZONE));
  if (monthUsed === undefined) {
    throw new Error(`a brand that cannot be read: ${text.slice(0, 200)}`);
  }
  return {
    n,
    atMs,
    version: whole(version),
    archived: archived === "1",
    zeroLimits: named(BRAND_BUDGETS, [daily, monthly], "0"),
    usedUp: named(BRAND_BUDGETS, [dayUsed, monthUsed], "1"),
    zone: zone === undefined ? UTC : new Zone(zone.slice(ZONE.length)),
    paused: more.includes("paused=1"),
  };
}

/**
 * `version:on:archived:schedule`; with limits of its own `:daily:monthly:lifetime limit`, then of each `:used up`; with
 * flights `:f1:f2`, then of each `:used up`; with an open breaker `:bk=since`. Throws an Error.
 */
export function readCampaign(id: number, text: string, n: number, atMs: number): CampaignSeen {
  const [version, on, archived, schedule, ...words] = text.split(":");
  if (schedule === undefined) {
    throw new Error(`a campaign that cannot be read: ${text.slice(0, 200)}`);
  }
  const more = words.filter((word) => !word.includes("="));
  const own =
    more.length < 6
      ? undefined
      : {
          n,
          atMs,
          zeroLimits: named(OWN_BUDGETS, more.slice(0, 3), "0"),
          usedUp: named(OWN_BUDGETS, more.slice(3, 6), "1"),
          flights: [0, 1].flatMap((i) => {
            const flight = more[6 + i];
            return flight ? [[readFlight(flight), more[8 + i] === "1"] as const] : [];
          }),
          broken: words.some((word) => word.startsWith("bk=")),
        };
  return { id, version: whole(version), on: on === "1", archived: archived === "1", schedule, own };
}

function readFlight(text: string): Flight {
  const [no, , starts, ends] = text.split(",");
  return { no: whole(no), startsMs: whole(starts), endsMs: whole(ends) };
}

function named(
  budgets: readonly (readonly [string, unknown])[],
  values: readonly string[],
  wanted: string,
): ReadonlySet<string> {
  return new Set(budgets.filter((_, i) => values[i] === wanted).map(([cause]) => cause));
}
