/** What a watch covers. */

import { brandOf, campaignsOf, SHARDS, shardOf } from "../ids.js";

/** What a watch covers: all, or some brands and some campaigns. */
export class Wanted {
  readonly shards: readonly number[];
  readonly #brands: ReadonlySet<number>;
  readonly #single: ReadonlySet<number>;
  readonly #all: boolean;

  constructor(brands: readonly number[] | undefined, campaigns: readonly number[] | undefined) {
    this.#all = brands === undefined && campaigns === undefined;
    this.#brands = new Set(brands);
    this.#single = new Set(campaigns);
    const every = this.#all ? Array.from({ length: SHARDS }, (_, i) => i) : this.named().map(shardOf);
    this.shards = [...new Set(every)].sort((a, b) => a - b);
  }

  /** The brands that are named, with those of campaigns; none where all are watched. */
  named(): number[] {
    return [...new Set([...this.#brands, ...[...this.#single].map(brandOf)])];
  }

  brandsOf(shard: number): number[] {
    return this.named().filter((brand) => shardOf(brand) === shard);
  }

  brand(id: number): boolean {
    return this.#all || this.#brands.has(id) || [...this.#single].some((campaign) => brandOf(campaign) === id);
  }

  campaign(id: number): boolean {
    return this.#all || this.#brands.has(brandOf(id)) || this.#single.has(id);
  }

  /** The campaigns of a brand to watch, by its highest ordinal. */
  campaignsOf(brand: number, highest: number): number[] {
    return campaignsOf(brand, highest).filter((id) => this.campaign(id));
  }
}
