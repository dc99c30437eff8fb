/** A compiled schedule as minutes of the week, UTC: whether it is open, and when that changes next. */

const MINUTE_MS = 60_000;
const DAY_MINUTES = 1440;
const WEEK_MINUTES = 7 * DAY_MINUTES;
/** 1970-01-01 was a Thursday. */
const SINCE_MONDAY = 3 * DAY_MINUTES;

/** "" is always open; a text of no pieces is never open, as in the scripts. */
export class Hours {
  /** Minutes of the week (Monday 00:00 is 0) at which it opens, closes, opens, ... in order. */
  readonly #edges: readonly number[];

  constructor(compiled: string) {
    this.#edges = compiled === "" ? [0, WEEK_MINUTES] : edgesOf(compiled);
  }

  isOpen(ms: number): boolean {
    const minute = minuteOfWeek(ms);
    return this.#edges.filter((edge) => edge <= minute).length % 2 === 1;
  }

  /** The first instant after `ms` at which it opens or closes; undefined when it never does. */
  nextChangeMs(ms: number): number | undefined {
    const edges = this.#edges;
    const last = edges.length - 1;
    if (edges.length < 2 || (edges.length === 2 && edges[0] === 0 && edges[1] === WEEK_MINUTES)) {
      return undefined;
    }
    const minute = minuteOfWeek(ms);
    const weekMs = Math.floor(ms / MINUTE_MS) * MINUTE_MS - minute * MINUTE_MS;
    const joined = edges[0] === 0 && edges[last] === WEEK_MINUTES;
    const next = edges.find((edge) => edge > minute && !(joined && edge === WEEK_MINUTES));
    return weekMs + (next ?? WEEK_MINUTES + edges[joined ? 1 : 0]) * MINUTE_MS;
  }
}

function minuteOfWeek(ms: number): number {
  return (Math.floor(ms / MINUTE_MS) + SINCE_MONDAY) % WEEK_MINUTES;
}

function edgesOf(compiled: string): number[] {
  const pieces: [number, number][] = [];
  for (const [, days, start, end] of compiled.matchAll(/(\d+)@(\d+)-(\d+)/g)) {
    for (const day of days) {
      const from = (Number(day) - 1) * DAY_MINUTES;
      pieces.push([from + Number(start), from + Number(end)]);
    }
  }
  const edges: number[] = [];
  for (const [start, end] of pieces.sort((a, b) => a[0] - b[0] || a[1] - b[1])) {
    const last = edges.length - 1;
    if (last >= 0 && start <= edges[last]) {
      edges[last] = Math.max(edges[last], end);
    } else {
      edges.push(start, end);
    }
  }
  return edges;
}
