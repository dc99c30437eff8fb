/** The packed form of a call: one sum a campaign, and the single spends as bytes beside them (docs/protocol.md). */

/** The version of a log without event ids, and with them. */
export const PLAIN = 1;
export const NAMED = 2;
const WIDE = 2 ** 32;

/** The sums and the log of spends. `campaigns`: each campaign once, ascending, at most 200. */
export function pack(
  campaignIds: ArrayLike<number>,
  campaigns: readonly number[],
  micros: ArrayLike<number>,
  version: number,
): [string, Buffer] {
  const size = campaignIds.length;
  let width = 4;
  for (let i = 0; i < size; i++) {
    if (micros[i] >= WIDE) {
      width = 8;
      break;
    }
  }
  const log = Buffer.allocUnsafe(2 + size * (1 + width));
  log[0] = version;
  log[1] = width;
  const index = new Map(campaigns.map((id, place) => [id, place]));
  const sums = new Array<number>(campaigns.length).fill(0);
  const counts = new Array<number>(campaigns.length).fill(0);
  let id = -1;
  let place = 0;
  for (let i = 0, at = 2 + size; i < size; i++, at += width) {
    if (campaignIds[i] !== id) {
      id = campaignIds[i];
      place = index.get(id) ?? 0;
    }
    const amount = micros[i];
    log[2 + i] = place;
    sums[place] += amount;
    counts[place] += 1;
    log.writeUInt32LE(amount % WIDE, at);
    if (width === 8) {
      log.writeUInt32LE(Math.floor(amount / WIDE), at + 4);
    }
  }
  return [campaigns.map((campaign, i) => `${campaign},${sums[i]},${counts[i]};`).join(""), log];
}
