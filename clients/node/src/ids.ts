/** Ids contain their place: a campaign's id gives its brand, and a brand's id its shard. */

import { randomBytes } from "node:crypto";
import { InvalidId, shown } from "./errors.js";

const ORDINALS = 65_536;
export const SHARDS = 64;
const MAX_BRAND_ID = 2 ** 37 - 1;
const TEXT_ID = /^[A-Za-z0-9._:/+=@~-]{1,64}$/;

export function brandOf(campaignId: number): number {
  return Math.floor(campaignId / ORDINALS);
}

export function shardOf(brandId: number): number {
  return brandId % SHARDS;
}

/** The ids of a brand's campaigns up to its highest ordinal. */
export function campaignsOf(brandId: number, highest: number): number[] {
  return Array.from({ length: highest }, (_, i) => brandId * ORDINALS + i + 1);
}

/** The id, if it can be one of a brand. Throws InvalidId. */
export function checkBrandId(value: unknown, field = "brandId"): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < 1 || value > MAX_BRAND_ID) {
    throw new InvalidId(
      `${field} ${shown(value)} is not a brand id: give the whole number that \`brand list\` shows`,
      field,
    );
  }
  return value;
}

/** Whether a value can be the id of a campaign. */
export function isCampaignId(value: unknown): value is number {
  return (
    typeof value === "number" &&
    Number.isInteger(value) &&
    value > ORDINALS &&
    value < (MAX_BRAND_ID + 1) * ORDINALS &&
    value % ORDINALS !== 0
  );
}

/** The id, if it can be one of a campaign. Throws InvalidId. */
export function checkCampaignId(value: unknown, field = "campaignId"): number {
  if (!isCampaignId(value)) {
    throw new InvalidId(
      `${field} ${shown(value)} is not a campaign id: give the whole number that \`campaign list\` shows`,
      field,
    );
  }
  return value;
}

/** An event, request, hold or refund id: 1 to 64 of letters, digits and ._:/+=@~-. Throws InvalidId. */
export function checkTextId(value: unknown, field: string): string {
  if (typeof value !== "string" || !TEXT_ID.test(value)) {
    const use = "1 to 64 letters, digits or . _ : / + = @ ~ -";
    throw new InvalidId(
      value === ""
        ? `${field} is empty: give ${use}, or leave it out`
        : `${field} ${shown(value)} is not an id: use ${use}`,
      field,
    );
  }
  return value;
}

const PREFIX = randomBytes(9).toString("hex");
let made = 0;

/** An id that no other call has: a random prefix of this process and a counter. */
export function nextId(): string {
  made += 1;
  return `${PREFIX}.${made}`;
}
