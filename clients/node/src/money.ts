/** Money: whole micros inside, decimal text at the edges, never a float. 1 unit is 1,000,000 micros. */

import { InvalidAmount, shown } from "./errors.js";

const MICROS = 1_000_000;
/** One spend: at most 1,000,000 units. */
export const MAX_AMOUNT_MICROS = 1e12;
const DECIMAL = /^([0-9]{1,16})(?:\.([0-9]{1,6})0{0,58})?$/;
const TOO_FINE = /^[0-9]{1,16}\.[0-9]{7,}$/;
const EXACT_DECIMAL = /^([0-9]{1,16})(?:\.([0-9]{1,64}))?$/;

/** An amount as a caller gives it: a decimal string, or whole micros. */
export interface Amount {
  /** Decimal text with at most six places, such as "2.50". */
  readonly amount?: string | undefined;
  /** Whole micros. */
  readonly amountMicros?: number | bigint | undefined;
}

/** The micros of one spend, given in one of two ways. Throws InvalidAmount. */
export function microsOf(amount: unknown, amountMicros: unknown): number {
  if (amountMicros === undefined) {
    if (amount === undefined) {
      throw new InvalidAmount("amount is missing: give a decimal string, or whole micros in amountMicros", "amount");
    }
    return parseAmount(amount, "amount");
  }
  if (amount !== undefined) {
    throw new InvalidAmount("amount and amountMicros are both given: give one of the two", "amountMicros");
  }
  return checkMicros(amountMicros, "amountMicros");
}

/** The micros in a decimal string. Throws InvalidAmount. */
export function parseAmount(value: unknown, field: string): number {
  if (typeof value !== "string") {
    throw new InvalidAmount(
      `${field} ${shown(value)} is a ${typeof value}: give a decimal string (whole micros go in amountMicros)`,
      field,
    );
  }
  const match = DECIMAL.exec(value);
  if (match === null) {
    throw new InvalidAmount(
      TOO_FINE.test(value)
        ? `${field} ${shown(value)} has more than six decimals: nothing is rounded here, give at most six (zeros may follow)`
        : `${field} ${shown(value)} is not a decimal amount: use digits and at most six decimals, such as 12.50`,
      field,
    );
  }
  const units = Number(match[1]);
  if (units > MAX_AMOUNT_MICROS / MICROS) {
    throw tooLarge(value, field);
  }
  const fraction = match[2];
  const micros = units * MICROS + (fraction === undefined ? 0 : Number(fraction.padEnd(6, "0")));
  return checkMicros(micros, field, value);
}

/** The same law for an amount in micros. `given`: what the caller wrote. Throws InvalidAmount. */
export function checkMicros(value: unknown, field: string, given: unknown = value): number {
  if (typeof value === "number" && Number.isInteger(value) && value > 0 && value <= MAX_AMOUNT_MICROS) {
    return value;
  }
  if (typeof value === "bigint" && value > 0n && value <= 1_000_000_000_000n) {
    return Number(value);
  }
  if (typeof value !== "bigint" && !(typeof value === "number" && Number.isInteger(value))) {
    throw new InvalidAmount(`${field} ${shown(given)} is not whole micros: give an integer or a bigint`, field);
  }
  if (value <= 0) {
    throw new InvalidAmount(`${field} ${shown(given)} is not above zero: a spend is at least 0.000001`, field);
  }
  throw tooLarge(given, field);
}

function tooLarge(given: unknown, field: string): InvalidAmount {
  return new InvalidAmount(
    `${field} ${shown(given)} is above the limit of 1000000 for one spend: split it or check the unit`,
    field,
  );
}

/** Micros as a decimal string with six places: 12500000 is "12.500000". */
export function formatMicros(micros: number): string {
  const size = Math.abs(micros);
  const fraction = size % MICROS;
  return `${micros < 0 ? "-" : ""}${(size - fraction) / MICROS}.${String(fraction).padStart(6, "0")}`;
}

/**
 * The micros of one impression at a price for a thousand, rounded half-even: the one place that rounds.
 * `fromCpm("1.234567")` is 1235. Throws InvalidAmount.
 */
export function fromCpm(cpm: string): number {
  const match = typeof cpm === "string" ? EXACT_DECIMAL.exec(cpm) : null;
  if (match === null) {
    throw new InvalidAmount(
      `cpm ${shown(cpm)} is not a decimal price: use digits and at most 64 decimals, such as 1.25`,
      "cpm",
    );
  }
  const fraction = match[2] ?? "";
  const one = 10n ** BigInt(fraction.length);
  const price = BigInt(match[1] + fraction) * 1000n;
  const rest = price % one;
  let micros = price / one;
  if (rest * 2n > one || (rest * 2n === one && micros % 2n === 1n)) {
    micros += 1n;
  }
  if (micros <= 0n) {
    throw new InvalidAmount(
      `cpm ${shown(cpm)} is less than a micro for one impression: book a thousand at once`,
      "cpm",
    );
  }
  return checkMicros(micros, "cpm", cpm);
}
