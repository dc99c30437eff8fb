/**
 * The view of which campaigns may run: data and rules, no network and no timer. `running` is one set for the view's whole
 * life, changed in place, so that a check is one lookup.
 */

import { bitOf } from "../causes.js";
import { brandOf, SHARDS, shardOf } from "../ids.js";
import { NEVER, OwnBudgets, stopping } from "./budgets.js";
import { Heap } from "./heap.js";
import { BRAND_BUDGETS, type BrandSeen, type CampaignSeen, type Change } from "./messages.js";
import { Brand, Campaign, DayEnd, type Edge, Group, Shard } from "./state.js";
import type { Wanted } from "./wanted.js";
import type { Zone } from "./zone.js";

const MANUAL = bitOf("manual");
const ARCHIVED = bitOf("archived");
const SCHEDULE = bitOf("schedule");
const PAUSED = bitOf("brand_paused");
const DAY_MS = 86_400_000;

export type Snapshot = readonly (readonly [number, BrandSeen, readonly CampaignSeen[]])[];

export class View {
  readonly running = new Set<number>();
  readonly #shards = Array.from({ length: SHARDS }, () => new Shard());
  readonly #groups = new Map<string, Group>();
  readonly #expiring = new Set<Brand>();
  readonly #expiringOwn = new Map<number, Brand>();
  readonly #flying = new Map<number, Brand>();
  #boundaries = new Heap<Group | Edge | DayEnd>();
  #nowMs = 0;

  constructor(
    /** While a shard is not fresh its campaigns keep their last state; else none of them may run. */
    public failOpen: boolean,
    private readonly wanted: Wanted,
  ) {}

  /** How many campaigns are known. */
  get size(): number {
    let size = 0;
    for (const { brands } of this.#shards) {
      for (const { campaigns } of brands.values()) {
        size += campaigns.size;
      }
    }
    return size;
  }

  /** Why the campaign may not run, as causes; 0 when it may, undefined when it is not known. */
  mask(id: number): number | undefined {
    const brand = this.#shards[shardOf(brandOf(id))].brands.get(brandOf(id));
    const campaign = brand?.campaigns.get(id);
    if (brand === undefined || campaign === undefined) {
      return undefined;
    }
    // The causes of a person are of campaign and brand both, those of money of one: no bit is added twice.
    const archived = Math.floor(campaign.stops / ARCHIVED) % 2 === 1 && brand.archived ? ARCHIVED : 0;
    return campaign.stops + campaign.ownStops + brand.mask - archived + (campaign.group.open ? 0 : SCHEDULE);
  }

  /** Replaces what is known of a shard; it is then fresh. */
  load(shard: number, snapshot: Snapshot): void {
    const state = this.#shards[shard];
    state.fresh = true;
    const gone = new Set(state.brands.keys());
    for (const [id, seen, campaigns] of snapshot) {
      gone.delete(id);
      const brand = this.#brand(state, id);
      brand.n = brand.version = NEVER;
      this.#applyBrand(brand, seen);
      this.#put(brand, campaigns, true);
      const known = new Set(campaigns.map((campaign) => campaign.id));
      for (const campaign of [...brand.campaigns.keys()].filter((each) => !known.has(each))) {
        this.#drop(brand, campaign);
      }
      this.#evaluateAll(brand);
    }
    for (const id of gone) {
      const brand = this.#brand(state, id);
      state.brands.delete(id);
      this.#expiring.delete(brand);
      for (const campaign of [...brand.campaigns.keys()]) {
        this.#drop(brand, campaign);
      }
    }
  }

  /** A shard is not fresh until it is loaded again. */
  markStale(shard: number): void {
    const state = this.#shards[shard];
    if (state.fresh) {
      state.fresh = false;
      for (const brand of this.failOpen ? [] : state.brands.values()) {
        this.#evaluateAll(brand);
      }
    }
  }

  markAllStale(): void {
    for (const shard of this.wanted.shards) {
      this.markStale(shard);
    }
  }

  /** Stops every campaign for good. */
  end(): void {
    this.failOpen = false;
    this.running.clear();
    for (const shard of this.#shards) {
      shard.fresh = false;
    }
    for (const { ready } of this.#groups.values()) {
      ready.clear();
    }
  }

  /** Applies a message. It is ignored while its shard is not fresh: a snapshot follows. */
  apply(change: Exclude<Change, { readonly kind: "shard" }>): void {
    const state = this.#shards[shardOf(change.brand)];
    if (!state.fresh) {
      return;
    }
    if (change.kind === "plan") {
      if (this.wanted.brand(change.brand)) {
        const brand = this.#brand(state, change.brand);
        this.#applyBrand(brand, change.seen);
        this.#put(brand, change.campaigns, false);
        this.#evaluateAll(brand);
      }
      return;
    }
    const brand = state.brands.get(change.brand);
    if (brand === undefined) {
      return;
    }
    if (change.campaign !== undefined) {
      const campaign = brand.campaigns.get(change.campaign);
      if (campaign?.own !== undefined) {
        campaign.own.move(change.cause, change.usedUp, change.atMs, change.n, brand.zone);
        this.#deriveOwn(brand, change.campaign, campaign);
        this.#evaluate(brand, change.campaign, campaign);
      }
    } else if (change.n >= brand.n) {
      brand.n = change.n;
      brand.budgets.get(change.cause)?.set(change.usedUp, change.atMs, brand.zone);
      this.#deriveMask(brand);
      this.#evaluateAll(brand);
    }
  }

  /** Advances the time. Returns the next instant at which anything may change. */
  advance(nowMs: number): number {
    this.#nowMs = nowMs;
    for (let due = this.#boundaries.pop(nowMs); due !== undefined; due = this.#boundaries.pop(nowMs)) {
      this.#cross(due);
    }
    return this.#boundaries.first ?? nowMs + DAY_MS;
  }

  /** Sets the time, which may be earlier, because another Redis has another clock. */
  restart(nowMs: number): void {
    this.#nowMs = nowMs;
    this.#boundaries = new Heap();
    for (const brand of new Set([...this.#expiring, ...this.#expiringOwn.values()])) {
      this.#cross(new DayEnd(brand));
    }
    for (const group of [...this.#groups.values()]) {
      this.#cross(group);
    }
    for (const [campaign, brand] of [...this.#flying]) {
      this.#cross({ brand, campaign });
    }
  }

  #brand(state: Shard, id: number): Brand {
    let brand = state.brands.get(id);
    if (brand === undefined) {
      brand = new Brand(state);
      state.brands.set(id, brand);
    }
    return brand;
  }

  #cross(due: Group | Edge | DayEnd): void {
    if (due instanceof DayEnd) {
      const { brand } = due;
      brand.dayEndMs = undefined;
      this.#deriveMask(brand);
      for (const [id, campaign] of this.#expiringOwn.size === 0 ? [] : brand.campaigns) {
        this.#deriveOwn(brand, id, campaign);
      }
      this.#evaluateAll(brand);
      return;
    }
    if (!(due instanceof Group)) {
      const own = due.brand.campaigns.get(due.campaign)?.own;
      if (own !== undefined) {
        own.edgeMs = undefined;
        this.#again(due.brand, due.campaign);
      }
      return;
    }
    if (due.users === 0) {
      this.#groups.delete(due.name);
      return;
    }
    due.open = due.isOpen(this.#nowMs);
    for (const id of due.ready) {
      this.#show(id, due.open);
    }
    this.#waitFor(due);
  }

  #again(brand: Brand, id: number): void {
    const campaign = brand.campaigns.get(id);
    if (campaign !== undefined) {
      this.#deriveOwn(brand, id, campaign);
      this.#evaluate(brand, id, campaign);
    }
  }

  #waitFor(group: Group): void {
    const atMs = group.nextChangeMs(this.#nowMs);
    if (atMs !== undefined) {
      this.#boundaries.push(atMs, group);
    }
  }

  #group(text: string, zone: Zone): Group {
    let group = this.#groups.get(`${text}|${zone.text}`);
    if (group === undefined) {
      group = new Group(text, zone, this.#nowMs);
      this.#groups.set(group.name, group);
      this.#waitFor(group);
    }
    return group;
  }

  /** Stores campaigns. `whole`: from a snapshot, which also replaces later versions. */
  #put(brand: Brand, campaigns: readonly CampaignSeen[], whole: boolean): void {
    for (const { id, version, on, archived, schedule, own } of campaigns) {
      let campaign = brand.campaigns.get(id);
      if (!this.wanted.campaign(id) || (campaign !== undefined && version < campaign.version && !whole)) {
        continue;
      }
      const stops = (on ? 0 : MANUAL) + (archived ? ARCHIVED : 0);
      const group = this.#group(schedule, brand.zone);
      if (campaign === undefined) {
        campaign = new Campaign(version, stops, group);
        brand.campaigns.set(id, campaign);
        group.users += 1;
      } else if (campaign.group !== group) {
        this.#move(id, campaign, group);
      }
      campaign.version = version;
      campaign.stops = stops;
      if (own === undefined || whole || campaign.own === undefined) {
        campaign.own = own === undefined ? undefined : new OwnBudgets();
      }
      if (own !== undefined) {
        campaign.own?.see(own, brand.zone);
      }
      this.#deriveOwn(brand, id, campaign);
    }
  }

  #move(id: number, campaign: Campaign, group: Group): void {
    this.#leave(id, campaign);
    campaign.group = group;
    group.users += 1;
  }

  #leave(id: number, campaign: Campaign): void {
    campaign.group.users -= 1;
    campaign.group.ready.delete(id);
    this.running.delete(id);
  }

  #drop(brand: Brand, id: number): void {
    const campaign = brand.campaigns.get(id);
    if (campaign !== undefined) {
      this.#leave(id, campaign);
    }
    brand.campaigns.delete(id);
    this.#expiringOwn.delete(id);
    this.#flying.delete(id);
  }

  #applyBrand(brand: Brand, seen: BrandSeen): void {
    if (seen.version >= brand.version) {
      brand.version = seen.version;
      brand.archived = seen.archived;
      brand.paused = seen.paused;
      if (seen.zone.text !== brand.zone.text) {
        brand.zone = seen.zone;
        for (const [id, campaign] of brand.campaigns) {
          this.#move(id, campaign, this.#group(campaign.group.text, seen.zone));
        }
      }
      for (const [cause, state] of brand.budgets) {
        state.zeroLimit = seen.zeroLimits.has(cause);
      }
    }
    if (seen.n >= brand.n) {
      brand.n = seen.n;
      for (const [cause] of BRAND_BUDGETS) {
        brand.budgets.get(cause)?.set(seen.usedUp.has(cause), seen.atMs, brand.zone);
      }
    }
    this.#deriveMask(brand);
  }

  #deriveMask(brand: Brand): void {
    const { day, month } = brand.zone.periodsOf(this.#nowMs);
    const [mask, expires] = stopping(brand.budgets.values(), day, month);
    brand.mask = mask + (brand.archived ? ARCHIVED : 0) + (brand.paused ? PAUSED : 0);
    if (expires) {
      this.#waitForDay(brand);
      this.#expiring.add(brand);
    } else {
      this.#expiring.delete(brand);
    }
  }

  #deriveOwn(brand: Brand, id: number, campaign: Campaign): void {
    const { own } = campaign;
    const { day, month } = brand.zone.periodsOf(this.#nowMs);
    const [mask, expires] = own?.stopping(this.#nowMs, day, month) ?? [0, false];
    campaign.ownStops = mask;
    if (expires) {
      this.#waitForDay(brand);
      this.#expiringOwn.set(id, brand);
    } else {
      this.#expiringOwn.delete(id);
    }
    if (own === undefined || own.flights.length === 0) {
      this.#flying.delete(id);
      return;
    }
    this.#flying.set(id, brand);
    const atMs = own.nextEdgeMs(this.#nowMs);
    if (atMs !== undefined && atMs !== own.edgeMs) {
      this.#boundaries.push(atMs, { brand, campaign: id });
    }
    own.edgeMs = atMs;
  }

  #waitForDay(brand: Brand): void {
    const atMs = brand.zone.nextDayMs(this.#nowMs);
    if (brand.dayEndMs === undefined || atMs < brand.dayEndMs) {
      brand.dayEndMs = atMs;
      this.#boundaries.push(atMs, new DayEnd(brand));
    }
  }

  #evaluateAll(brand: Brand): void {
    for (const [id, campaign] of brand.campaigns) {
      this.#evaluate(brand, id, campaign);
    }
  }

  #evaluate(brand: Brand, id: number, { group, stops, ownStops }: Campaign): void {
    const ready = stops + ownStops + brand.mask === 0 && (brand.shard.fresh || this.failOpen);
    if (ready) {
      group.ready.add(id);
    } else {
      group.ready.delete(id);
    }
    this.#show(id, ready && group.open);
  }

  #show(id: number, runs: boolean): void {
    if (runs) {
      this.running.add(id);
    } else {
      this.running.delete(id);
    }
  }
}
