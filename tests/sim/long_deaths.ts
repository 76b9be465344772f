/**
 * Of runs in which nodes stay dead for long: what clients write, and what operators do about it.
 *
 * @module
 */
import { parentsIn, pathTo } from "../../core/tree/tree.ts";
import type { Prng } from "./prng.ts";
import type { SimHost } from "./sim_host.ts";

const HOT_BYTES = 64 * 1024;
/** So long it stays where it is. */
const HOT_MS = 1_000;

/** Writes are all in one place, which moves on: most of the volume is as it was before long. */
export function hotOffset(prng: Prng, nowMs: number, volumeBytes: number): number {
  const places = Math.floor(volumeBytes / HOT_BYTES) - 1;
  return Math.floor(nowMs / HOT_MS) % places * HOT_BYTES + 512 * prng.below(HOT_BYTES / 512);
}

/** Nodes below a dead one are fed by the next one up that lives. */
export function rescue(hosts: readonly SimHost[], onDone: () => void): void {
  for (const { name, node } of hosts) {
    const { tree, upstream } = node?.config ?? {};
    if (!node || !tree || !upstream) continue;
    const isAlive = (other: string) => hosts.some((host) => host.name === other && host.isAlive);
    if (isAlive(upstream.from)) continue;
    const above = pathTo(parentsIn(tree, node.tree.seat.view), name).reverse().slice(2);
    const to = above.find(isAlive);
    if (to !== undefined) node.tree.reparent(to).then(onDone, () => {/* not met, or turning */});
  }
}
