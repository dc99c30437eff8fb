/** What a view knows of each campaign, brand and shard, and what it waits for. */

import { BudgetState, NEVER, type OwnBudgets } from "./budgets.js";
import { Hours } from "./hours.js";
import { BRAND_BUDGETS } from "./messages.js";
import { UTC, type Zone } from "./zone.js";

const DAY_MS = 86_400_000;

/** The campaigns of one compiled schedule in one zone. `ready`: those that only the schedule may stop. */
export class Group {
  readonly hours: Hours;
  readonly ready = new Set<number>();
  open: boolean;
  users = 0;

  constructor(
    readonly text: string,
    readonly zone: Zone,
    nowMs: number,
  ) {
    this.hours = new Hours(text);
    this.open = this.isOpen(nowMs);
  }

  get name(): string {
    return `${this.text}|${this.zone.text}`;
  }

  isOpen(ms: number): boolean {
    return this.hours.isOpen(this.zone.localMs(ms));
  }

  /** When to look again: at its next boundary by the present offset, or at a change of the offset before that. */
  nextChangeMs(ms: number): number | undefined {
    const local = this.zone.localMs(ms);
    const edge = this.hours.nextChangeMs(local);
    return edge === undefined
      ? undefined
      : Math.min(ms + edge - local, this.zone.nextChangeMs(ms) ?? edge + DAY_MS * 2);
  }
}

export class Campaign {
  own: OwnBudgets | undefined;
  ownStops = 0;

  constructor(
    public version: number,
    /** By a person. */
    public stops: number,
    public group: Group,
  ) {}
}

export class Brand {
  n = NEVER;
  version = NEVER;
  archived = false;
  paused = false;
  mask = 0;
  zone = UTC;
  /** The end of its day that is waited for, while that may change anything. */
  dayEndMs: number | undefined;
  readonly campaigns = new Map<number, Campaign>();
  /** The period of a budget of a later release is not known: it stops for the day. */
  readonly budgets = new Map<string, BudgetState>(
    [...BRAND_BUDGETS, ["other", "day"] as const].map(([cause, kind]) => [cause, new BudgetState(cause, kind)]),
  );

  constructor(readonly shard: Shard) {}
}

export class Shard {
  fresh = false;
  readonly brands = new Map<number, Brand>();
}

/** The end of a brand's day. */
export class DayEnd {
  constructor(readonly brand: Brand) {}
}

/** A begin or end of a campaign's flight. */
export interface Edge {
  readonly brand: Brand;
  readonly campaign: number;
}
