/** The names of the keys of each shard, as docs/protocol.md lists them. */

import { brandOf, SHARDS, shardOf } from "./ids.js";

export interface ShardKeys {
  readonly shard: string;
  readonly registry: string;
  readonly changes: string;
  /** The first seven KEYS of a charge. */
  readonly fixed: readonly string[];
  readonly prefix: string;
}

const ALL: readonly ShardKeys[] = Array.from({ length: SHARDS }, (_, shard) => {
  const prefix = `budget:{${shard}}:`;
  const named = (name: string): string => prefix + name;
  const fixed = ["shard", "registry", "journal", "requests:0", "requests:1", "events:0", "events:1"].map(named);
  return { shard: named("shard"), registry: named("registry"), changes: named("changes"), fixed, prefix };
});

export function shardKeys(shard: number): ShardKeys {
  return ALL[shard];
}

export function brandKey(brandId: number): string {
  return `${ALL[shardOf(brandId)].prefix}brand:${brandId}`;
}

export function campaignKey(campaignId: number): string {
  return `${ALL[shardOf(brandOf(campaignId))].prefix}campaign:${campaignId}`;
}

/** The keys of the brand's open holds and their expiry, side by side. */
export function holdKeys(brandId: number): readonly [string, string] {
  const { prefix } = ALL[shardOf(brandId)];
  return [`${prefix}holds:${brandId}`, `${prefix}expiry:${brandId}`];
}

/** The slot of a cluster that has a key, by its hash tag. */
export function slotOf(key: string): number {
  const open = key.indexOf("{");
  const close = key.indexOf("}", open + 1);
  const tag = open >= 0 && close > open + 1 ? key.slice(open + 1, close) : key;
  let crc = 0;
  for (const byte of Buffer.from(tag)) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) {
      crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
    }
  }
  return crc % 16_384;
}
