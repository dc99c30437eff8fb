/** The spends of a batch as columns that are checked. Nothing is sent unless all of them are right. */

import { InvalidInput, shown } from "./errors.js";
import { checkCampaignId, checkTextId, isCampaignId } from "./ids.js";
import { type Amount, checkMicros, MAX_AMOUNT_MICROS, microsOf } from "./money.js";

/** One spend: `amount` or `amountMicros`, one of the two. */
export interface Spend extends Amount {
  readonly campaignId: number;
  /** The exchange's id of the event: within EVENT_ID_HOURS it counts once. */
  readonly eventId?: string | undefined;
  /** When the event happened; the log keeps it. */
  readonly occurredAt?: Date | undefined;
}

/** Whole numbers: an array or a typed array. */
export type IntColumn = ArrayLike<number>;

export interface Columns {
  readonly campaignIds: ArrayLike<number>;
  readonly micros: ArrayLike<number>;
  /** Event ids; undefined where no spend has one. */
  readonly events: readonly (string | undefined)[] | undefined;
  /** Instants in epoch milliseconds; undefined where no spend has one. */
  readonly occurred: readonly (number | undefined)[] | undefined;
}

/** The fields of one spend, checked. Throws InvalidInput. */
export function checkedSpend(spend: Spend): readonly [number, number, string | undefined, number | undefined] {
  const id = checkCampaignId(spend.campaignId);
  const micros = microsOf(spend.amount, spend.amountMicros);
  const event = spend.eventId === undefined ? undefined : checkTextId(spend.eventId, "eventId");
  return [id, micros, event, spend.occurredAt === undefined ? undefined : occurredMs(spend.occurredAt)];
}

/** One spend as the scripts take it. */
export function lineOf(id: number, micros: number, event: string | undefined, occurred: number | undefined): string {
  return `${id},${micros},${event ?? ""},${occurred ?? ""};`;
}

/** The columns of a batch. Throws InvalidInput with the index of the first bad spend. */
export function columnsOf(spends: Iterable<Spend>): Columns {
  if (typeof spends !== "object" || spends === null || typeof spends[Symbol.iterator] !== "function") {
    throw new InvalidInput(`spends ${shown(spends)} is not a list of spends`, "spends");
  }
  const batch = Array.isArray(spends) ? (spends as Spend[]) : [...spends];
  const size = batch.length;
  const campaignIds = new Array<number>(size);
  const micros = new Array<number>(size);
  let events: (string | undefined)[] | undefined;
  let occurred: (number | undefined)[] | undefined;
  for (let i = 0; i < size; i++) {
    const spend = batch[i];
    if (typeof spend !== "object" || spend === null || Array.isArray(spend)) {
      throw new InvalidInput(`spends[${i}] ${shown(spend)} is not a spend { campaignId, amount, ... }`, `spends[${i}]`);
    }
    try {
      const [id, amount, event, ms] = checkedSpend(spend);
      campaignIds[i] = id;
      micros[i] = amount;
      if (event !== undefined) {
        events ??= new Array<string | undefined>(size).fill(undefined);
        events[i] = event;
      }
      if (ms !== undefined) {
        occurred ??= new Array<number | undefined>(size).fill(undefined);
        occurred[i] = ms;
      }
    } catch (error) {
      throw placed(error, `spends[${i}]`);
    }
  }
  return { campaignIds, micros, events, occurred };
}

/** Checks columns of one length. Throws InvalidInput that names the column and the index. */
export function checkedColumns(
  campaignIds: IntColumn,
  amountsMicros: IntColumn,
  eventIds: readonly (string | null | undefined)[] | undefined,
  occurredAt: readonly (Date | null | undefined)[] | undefined,
): Columns {
  const size = lengthOf(campaignIds, "campaignIds");
  const given: [string, unknown][] = [["amountsMicros", amountsMicros]];
  if (eventIds !== undefined) {
    given.push(["eventIds", eventIds]);
  }
  if (occurredAt !== undefined) {
    given.push(["occurredAt", occurredAt]);
  }
  for (const [name, column] of given) {
    const length = lengthOf(column, name);
    if (length !== size) {
      throw new InvalidInput(`${name} has ${length} values and campaignIds ${size}: give columns of one length`, name);
    }
  }
  for (let i = 0; i < size; i++) {
    // No closure is made for the usual spend.
    if (!isCampaignId(campaignIds[i])) {
      each("campaignIds", i, () => checkCampaignId(campaignIds[i]));
    }
    const micros = amountsMicros[i];
    if (!(Number.isInteger(micros) && micros > 0 && micros <= MAX_AMOUNT_MICROS)) {
      each("amountsMicros", i, () => checkMicros(micros, "amountsMicros"));
    }
  }
  // A copy: the caller may change its own while a call is repeated.
  return {
    campaignIds: Array.prototype.slice.call(campaignIds) as number[],
    micros: Array.prototype.slice.call(amountsMicros) as number[],
    events: optional("eventIds", eventIds, (value) => checkTextId(value, "eventId")),
    occurred: optional("occurredAt", occurredAt, occurredMs),
  };
}

function optional<Given, Value>(
  name: string,
  column: readonly (Given | null | undefined)[] | undefined,
  check: (value: Given) => Value,
): (Value | undefined)[] | undefined {
  if (column === undefined || column.every((value) => value === null || value === undefined)) {
    return undefined;
  }
  return column.map((value, i) =>
    value === null || value === undefined ? undefined : each(name, i, () => check(value)),
  );
}

function lengthOf(column: unknown, name: string): number {
  if (Array.isArray(column) || (ArrayBuffer.isView(column) && !(column instanceof DataView))) {
    return (column as ArrayLike<unknown>).length;
  }
  throw new InvalidInput(`${name} ${shown(column)} is not a column: give an array or a typed array`, name);
}

function each<Value>(name: string, index: number, check: () => Value): Value {
  try {
    return check();
  } catch (error) {
    throw placed(error, `${name}[${index}]`, true);
  }
}

/** An error that names a place in a batch. */
function placed(error: unknown, place: string, whole = false): unknown {
  if (!(error instanceof InvalidInput)) {
    return error;
  }
  const Kind = error.constructor as new (message: string, field: string) => InvalidInput;
  return new Kind(`${place}: ${error.message}`, whole ? place : `${place}.${error.field}`);
}

function occurredMs(at: unknown): number {
  const ms = at instanceof Date ? at.getTime() : Number.NaN;
  if (Number.isNaN(ms)) {
    throw new InvalidInput(`occurredAt ${shown(at)} is not an instant: give a Date`, "occurredAt");
  }
  if (ms < 0) {
    throw new InvalidInput(`occurredAt ${shown(at)} is before 1970: give the instant of the impression`, "occurredAt");
  }
  return ms;
}
