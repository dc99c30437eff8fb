/** What a watch knows of budgets: of each whether it is used up, and until when that holds. */

import { bitOf } from "../causes.js";
import { type Flight, OWN_BUDGETS, type OwnSeen } from "./messages.js";
import type { Zone } from "./zone.js";

export type Period = "day" | "month" | undefined;

export const NEVER = -1;
const ALWAYS = 0;

/** The last known state of a budget. The next period frees it, except for a limit of 0. */
export class BudgetState {
  readonly bit: number;
  zeroLimit = false;
  #usedUp = false;
  #period = NEVER;

  constructor(
    cause: string,
    readonly kind: Period,
  ) {
    this.bit = bitOf(cause);
  }

  set(usedUp: boolean, atMs: number, zone: Zone): void {
    this.#usedUp = usedUp;
    this.#period = this.kind === undefined ? ALWAYS : zone.periodsOf(atMs)[this.kind];
  }

  /** Whether the state is of this period, or of one that our clock has not reached yet, and changes anything in it. */
  counts(period: number): boolean {
    return this.#period >= period && this.#usedUp !== this.zeroLimit;
  }

  stops(period: number): boolean {
    return this.zeroLimit !== this.counts(period);
  }
}

/** The causes of budgets that stop in a day and month, and whether the next period may change them. */
export function stopping(states: Iterable<BudgetState>, day: number, month: number): readonly [number, boolean] {
  let mask = 0;
  let expires = false;
  for (const state of states) {
    const period = state.kind === "day" ? day : state.kind === "month" ? month : ALWAYS;
    if (state.stops(period)) {
      mask += state.bit;
    }
    expires ||= state.kind !== undefined && state.counts(period);
  }
  return [mask, expires];
}

/** A campaign's own budgets, flights and breaker, as of journal number `n`. */
export class OwnBudgets {
  /** The next begin or end of a flight that is waited for. */
  edgeMs: number | undefined;
  flights: readonly Flight[] = [];
  #n = NEVER;
  #breakerN = NEVER;
  #broken = false;
  /** The numbers of the flights whose budget is used up. */
  #full = new Set<number>();
  readonly #budgets = new Map<string, BudgetState>(
    OWN_BUDGETS.map(([cause, kind]) => [cause, new BudgetState(cause, kind)]),
  );

  /** Takes the limits of a plan that is not older, and what is used up unless a later change is known. */
  see(seen: OwnSeen, zone: Zone): void {
    const later = seen.n >= this.#n;
    for (const [cause, state] of this.#budgets) {
      state.zeroLimit = seen.zeroLimits.has(cause);
      if (later) {
        state.set(seen.usedUp.has(cause), seen.atMs, zone);
      }
    }
    this.flights = seen.flights.map(([flight]) => flight);
    if (later) {
      this.#full = new Set(seen.flights.filter(([, usedUp]) => usedUp).map(([flight]) => flight.no));
    }
    if (seen.n >= this.#breakerN) {
      this.#breakerN = seen.n;
      this.#broken = seen.broken;
    }
    this.#n = Math.max(this.#n, seen.n);
  }

  /** One of them was used up or freed, or the breaker opened. An older message changes nothing. */
  move(cause: string, usedUp: boolean, atMs: number, n: number, zone: Zone): void {
    if (cause === "breaker") {
      if (n >= this.#breakerN) {
        this.#breakerN = n;
        this.#broken = usedUp;
      }
      return;
    }
    if (n < this.#n) {
      return;
    }
    this.#n = n;
    const flight = cause === "flight_budget" ? this.#inForce(atMs) : undefined;
    if (flight !== undefined) {
      if (usedUp) {
        this.#full.add(flight.no);
      } else {
        this.#full.delete(flight.no);
      }
    }
    this.#budgets.get(cause)?.set(usedUp, atMs, zone);
  }

  /** As `stopping`, with the breaker, and with flights, which stand in the place of a lifetime budget. */
  stopping(nowMs: number, day: number, month: number): readonly [number, boolean] {
    const breaker = this.#broken ? bitOf("breaker") : 0;
    if (this.flights.length === 0) {
      const [mask, expires] = stopping(this.#budgets.values(), day, month);
      return [mask + breaker, expires];
    }
    const others = [...this.#budgets].filter(([cause]) => cause !== "flight_budget").map(([, state]) => state);
    const [mask, expires] = stopping(others, day, month);
    const flight = this.#inForce(nowMs);
    const more = flight === undefined ? bitOf("flight") : this.#full.has(flight.no) ? bitOf("flight_budget") : 0;
    return [mask + more + breaker, expires];
  }

  /** When a flight begins or ends next. */
  nextEdgeMs(nowMs: number): number | undefined {
    const edges = this.flights.flatMap(({ startsMs, endsMs }) => [startsMs, endsMs]).filter((edge) => edge > nowMs);
    return edges.length === 0 ? undefined : Math.min(...edges);
  }

  #inForce(ms: number): Flight | undefined {
    return this.flights.find(({ startsMs, endsMs }) => startsMs <= ms && ms < endsMs);
  }
}
