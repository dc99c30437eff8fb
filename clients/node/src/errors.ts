/** Every error that the client throws, in one tree. A refusal is a result, never an error. */

import type { SpendResult } from "./replies.js";

const SHOWN = 80;

/** A value as an error message shows it: one line, at most 80 characters. */
export function shown(value: unknown): string {
  let text: string;
  if (typeof value === "string") {
    text = JSON.stringify(value);
  } else if (typeof value === "bigint") {
    text = `${value}n`;
  } else if (typeof value === "object" && value !== null) {
    try {
      text = JSON.stringify(value) ?? "an object";
    } catch {
      text = "an object";
    }
  } else {
    text = String(value);
  }
  return text.length <= SHOWN ? text : `${text.slice(0, SHOWN - 3)}...`;
}

/** The root: catches everything that the client throws on purpose. */
export class BudgetError extends Error {
  constructor(message: string) {
    super(message);
    this.name = new.target.name;
  }
}

/** A wrong value; `field` names it as the caller does. Nothing was sent, or nothing was written. */
export class InvalidInput extends BudgetError {
  constructor(
    message: string,
    readonly field: string,
  ) {
    super(message);
  }
}

/** An amount that is not a positive decimal of at most six places, or is above 1,000,000. */
export class InvalidAmount extends InvalidInput {}

/** An id of a brand, campaign, event, request or hold that breaks its grammar. */
export class InvalidId extends InvalidInput {}

/** A URL or an option of the client with a wrong value. */
export class InvalidSetting extends InvalidInput {}

/** No such campaign. */
export class NotFound extends BudgetError {}

/** A shard of Redis is being rebuilt; nothing was read or written. */
export class NotReady extends BudgetError {}

/** Redis has another layout than this client, or runs no such scripts: upgrade the older of the two. */
export class WrongVersion extends BudgetError {}

/** The client has as many open spends as it may; this one was not taken. Slow down, or raise `maxWaiting`. */
export class Overloaded extends BudgetError {}

/**
 * The call's deadline passed without a complete reply. Repeating it with `requestId` is safe: nothing is counted twice.
 * `requestId` of a hold is its `holdId`, of a refund its event id. `answers` has one entry a spend: its result where the
 * reply arrived, else null.
 */
export class Unavailable extends BudgetError {
  constructor(
    message: string,
    readonly requestId: string,
    readonly answers: readonly (SpendResult | null)[] = [],
  ) {
    super(message);
  }
}

/** A reply that is not one of the script's. The call may have been counted; repeating it is safe. */
export class UnreadableReply extends Unavailable {}
