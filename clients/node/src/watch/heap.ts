/** Things by the instant at which they are due, the soonest first. */

export class Heap<Item> {
  readonly #entries: { readonly at: number; readonly item: Item }[] = [];

  /** The soonest instant. */
  get first(): number | undefined {
    return this.#entries[0]?.at;
  }

  push(at: number, item: Item): void {
    const entries = this.#entries;
    let place = entries.push({ at, item }) - 1;
    while (place > 0) {
      const above = (place - 1) >> 1;
      if (entries[above].at <= entries[place].at) {
        return;
      }
      this.#swap(place, above);
      place = above;
    }
  }

  /** Takes out the soonest, if it is due by an instant. */
  pop(byMs: number): Item | undefined {
    const entries = this.#entries;
    if (entries.length === 0 || entries[0].at > byMs) {
      return undefined;
    }
    this.#swap(0, entries.length - 1);
    const due = entries.pop();
    for (let place = 0; ; ) {
      const left = 2 * place + 1;
      const right = left + 1;
      let least = place;
      if (left < entries.length && entries[left].at < entries[least].at) {
        least = left;
      }
      if (right < entries.length && entries[right].at < entries[least].at) {
        least = right;
      }
      if (least === place) {
        return due?.item;
      }
      this.#swap(place, least);
      place = least;
    }
  }

  #swap(one: number, other: number): void {
    const entries = this.#entries;
    [entries[one], entries[other]] = [entries[other], entries[one]];
  }
}
