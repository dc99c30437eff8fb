/** Reads a watcher's snapshot of one shard with calls that write nothing. */

import { brandKey, campaignKey, shardKeys } from "../keys.js";
import { head, type Reply, whole } from "../replies.js";
import { LAYOUT, script } from "../scripts.js";
import type { Call } from "../transport.js";
import { type BrandSeen, type CampaignSeen, readBrand, readCampaign } from "./messages.js";
import type { Snapshot } from "./view.js";
import type { Wanted } from "./wanted.js";

const SLICE = 200;
const BRANDS_A_CALL = 500;
const CALLS_AT_ONCE = 8;

/** The shard has no mark, or another one than when the reading began. */
export class ShardNotReady extends Error {}

export type Ask = (call: Call) => Promise<Reply>;

/** The watched part of a shard, and its mark. Rejects with ShardNotReady, and with what `ask` rejects. */
export async function readSnapshot(ask: Ask, wanted: Wanted, shard: number): Promise<readonly [string, Snapshot]> {
  const [mark, highest] = await brandsThere(ask, wanted, shard);
  const asked: (readonly [number, readonly number[]])[] = [];
  for (const [brand, ordinal] of highest) {
    const ids = wanted.campaignsOf(brand, ordinal);
    for (let start = 0; start === 0 || start < ids.length; start += SLICE) {
      asked.push([brand, ids.slice(start, start + SLICE)]);
    }
  }
  const brands = new Map<number, readonly [BrandSeen, CampaignSeen[]]>();
  const code = script("read_watched");
  for (let start = 0; start < asked.length; start += CALLS_AT_ONCE) {
    const part = asked.slice(start, start + CALLS_AT_ONCE);
    const replies = await Promise.all(
      part.map(([brand, ids]) =>
        ask({ script: code, keys: [shardKeys(shard).shard, brandKey(brand), ...ids.map(campaignKey)], args: [LAYOUT] }),
      ),
    );
    replies.forEach((reply, i) => {
      const [brand, ids] = part[i];
      check(reply, mark);
      if (reply[4] !== "") {
        const [n, atMs] = [whole(String(reply[3])), whole(String(reply[2]))];
        const campaigns = brands.get(brand)?.[1] ?? [];
        ids.forEach((id, place) => {
          const text = String(reply[5 + place] ?? "");
          if (text !== "") {
            campaigns.push(readCampaign(id, text, n, atMs));
          }
        });
        brands.set(brand, [readBrand(n, atMs, String(reply[4])), campaigns]);
      }
    });
  }
  return [mark, [...brands].map(([brand, [seen, campaigns]]) => [brand, seen, campaigns] as const)];
}

/** The mark, and the highest ordinal of each watched brand that is published. */
async function brandsThere(ask: Ask, wanted: Wanted, shard: number): Promise<readonly [string, Map<number, number>]> {
  const { shard: shardKey, registry } = shardKeys(shard);
  const named = wanted.brandsOf(shard);
  const found = new Map<number, number>();
  let cursor = "0";
  let mark = "";
  do {
    const names = named.splice(0, BRANDS_A_CALL).map(String);
    const reply = await ask({
      script: script("read_registry"),
      keys: [shardKey, registry],
      args: [LAYOUT, cursor, ...names],
    });
    check(reply, mark);
    mark = String(reply[1]);
    cursor = String(reply[4]);
    for (const pair of String(reply[5])
      .split(";")
      .filter((text) => text !== "")) {
      const [brand, ordinal] = pair.split(":");
      found.set(whole(brand), whole(ordinal));
    }
  } while (cursor !== "0" || named.length > 0);
  return [mark, found];
}

function check(reply: Reply, mark: string): void {
  if (head(reply) === "not_ready") {
    throw new ShardNotReady(String(reply[1]));
  }
  if (mark !== "" && reply[1] !== mark) {
    throw new ShardNotReady("it was rebuilt while it was read");
  }
}
