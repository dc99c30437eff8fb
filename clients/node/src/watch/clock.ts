/**
 * Redis' time without a call: this process's monotonic clock and the offset of Redis' clock. Each round trip bounds the
 * offset, because Redis read its clock between sending and reply.
 */

import { performance } from "node:perf_hooks";

export class RedisClock {
  known = false;
  /** The maximal error of the best measurement: half of its round trip, and half a millisecond. */
  errorMs = Number.POSITIVE_INFINITY;
  #offset = 0;
  #last = 0;

  /** Forgets all measurements, for a new connection. */
  restart(): void {
    this.known = false;
    this.errorMs = Number.POSITIVE_INFINITY;
    this.#last = 0;
  }

  /** Adds a round trip by `performance.now()`, whose reply had `redisMs`. */
  heard(sent: number, got: number, redisMs: number): void {
    const low = redisMs - got;
    const high = redisMs + 1 - sent;
    this.#offset = this.known ? Math.min(Math.max(this.#offset, low), high) : (low + high) / 2;
    this.errorMs = Math.min(this.errorMs, (high - low) / 2);
    this.known = true;
  }

  /** Redis' present millisecond. It never goes back, as the scripts' time never does. */
  nowMs(): number {
    this.#last = Math.max(this.#last, Math.floor(performance.now() + this.#offset));
    return this.#last;
  }
}
