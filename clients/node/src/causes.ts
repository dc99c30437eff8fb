/** Why a campaign is not running, or a spend was refused: a bit mask in Redis, names outside. */

/** A bit that this release does not know. */
export const OTHER = "other";

/** Append only, in the order of the bits. */
export const CAUSES = [
  "manual",
  "archived",
  "schedule",
  "daily_budget",
  "monthly_budget",
  "campaign_daily_budget",
  "campaign_monthly_budget",
  "flight_budget",
  "flight",
  "pacing",
  "rate",
  "breaker",
  "brand_paused",
] as const;

export type Cause = (typeof CAUSES)[number] | typeof OTHER;

const KNOWN = 2 ** CAUSES.length;
const NONE: readonly Cause[] = Object.freeze([]);
const SEEN = new Map<number, readonly Cause[]>();

/** The causes in a mask, in the listed order; `other`, once, for all unknown bits. */
export function reasonsOf(mask: number): readonly Cause[] {
  if (mask === 0) {
    return NONE;
  }
  let found = SEEN.get(mask);
  if (found === undefined) {
    // A mask may have more than 32 bits, which the operators of bits would cut off.
    const reasons: Cause[] = CAUSES.filter((_, bit) => Math.floor(mask / 2 ** bit) % 2 === 1);
    if (mask >= KNOWN) {
      reasons.push(OTHER);
    }
    found = Object.freeze(reasons);
    if (SEEN.size < 10_000) {
      SEEN.set(mask, found);
    }
  }
  return found;
}

/** The mask of one cause; of an unknown one a bit above all known. */
export function bitOf(cause: string): number {
  const place = (CAUSES as readonly string[]).indexOf(cause);
  return place < 0 ? 2 ** 52 : 2 ** place;
}

/** Causes in the listed order, each once. */
export function inOrder(reasons: Iterable<Cause>): readonly Cause[] {
  const given = new Set(reasons);
  return [...CAUSES, OTHER].filter((name): name is Cause => given.has(name as Cause));
}
