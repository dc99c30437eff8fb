/** A brand's time zone as a plan has it: offsets from UTC, and the instants at which they change. Empty is UTC. */

const DAY_MS = 86_400_000;
const TEXT = /^-?\d{1,8}(,\d{1,13},-?\d{1,8}){0,2}$/;

export class Zone {
  readonly #offsets: readonly number[];
  readonly #changes: readonly number[];

  /** Throws an Error for what is no zone of a plan. */
  constructor(readonly text: string) {
    if (text !== "" && !TEXT.test(text)) {
      throw new Error(`a zone that cannot be read: ${text.slice(0, 80)}`);
    }
    const numbers = (text === "" ? "0" : text).split(",").map(Number);
    this.#offsets = numbers.filter((_, i) => i % 2 === 0);
    this.#changes = numbers.filter((_, i) => i % 2 === 1);
  }

  /** Local time at an instant, in milliseconds since 1970-01-01 00:00 local time. */
  localMs(ms: number): number {
    return ms + this.#offsets[this.#changes.filter((at) => at <= ms).length];
  }

  /** The number of the local day at an instant, and the local month, such as 202611. */
  periodsOf(ms: number): { readonly day: number; readonly month: number } {
    const day = Math.floor(this.localMs(ms) / DAY_MS);
    const on = new Date(day * DAY_MS);
    return { day, month: on.getUTCFullYear() * 100 + on.getUTCMonth() + 1 };
  }

  /** The next change of the offset after an instant. */
  nextChangeMs(ms: number): number | undefined {
    return this.#changes.find((at) => at > ms);
  }

  /** When the next local day begins, or the offset changes before that. */
  nextDayMs(ms: number): number {
    const local = this.localMs(ms);
    const midnight = ms - local + (Math.floor(local / DAY_MS) + 1) * DAY_MS;
    return Math.min(midnight, this.nextChangeMs(ms) ?? midnight);
  }
}

export const UTC = new Zone("");
