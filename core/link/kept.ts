/**
 * What a node keeps for each of those below it, at any depth: what there would be to go on by if it fed that one.
 *
 * @module
 */
import type { KeptStatus } from "../status.ts";
import { goesOnFrom } from "../delta/fold.ts";
import type { LinkHost } from "./host.ts";

/** See the module's text. Nothing is read for it. */
export function keptFor(
  { descendants, deltas: { chain, ground }, pipeline }: Pick<
    LinkHost,
    "descendants" | "deltas" | "pipeline"
  >,
): KeptStatus[] {
  const endLsn = pipeline.stableLsn;
  const allBytes = ground.sizes.reduce((sum, bytes) => sum + bytes, 0);
  return descendants.names.map((node): KeptStatus => {
    const lsn = descendants.lsnOf(node);
    const one = { node, durable: descendants.isHeard(node) ? lsn : null };
    if (lsn >= endLsn) return { ...one, by: "nothing", fromLsn: null, bytes: 0 };
    if (goesOnFrom(ground, lsn)) return { ...one, by: "log", fromLsn: lsn, bytes: endLsn - lsn };
    const map = ground.volumes.length === 0 ? null : chain.since(lsn);
    if (map !== null) {
      return { ...one, by: "map", fromLsn: map.fromLsn, bytes: chain.bytesSince(lsn) };
    }
    const hasVolumes = ground.volumes.length > 0;
    return {
      ...one,
      by: hasVolumes ? "all" : "none",
      fromLsn: null,
      bytes: hasVolumes ? allBytes : 0,
    };
  });
}
