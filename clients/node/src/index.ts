/** The client of the budget engine for bidders in Node. */

export type { Cause } from "./causes.js";
export {
  BudgetClient,
  type CallOptions,
  type CampaignStatus,
  type ClientOptions,
  type ColumnOptions,
} from "./client.js";
export * from "./errors.js";
export type { HoldOutcome, HoldResult, Mark, Refund, RefundOutcome, RefundResult, Reserve } from "./holds.js";
export { type Amount, fromCpm } from "./money.js";
export type { SpendOutcome, SpendResult } from "./replies.js";
export type { IntColumn, Spend } from "./spends.js";
export type { Watch, WatchedStatus, WatchOptions } from "./watch/watch.js";
