/**
 * Leaving an abandoned epoch: what a node does whose records, final as it believed, a promotion elsewhere has
 * left behind. Nothing of them is thrown away, and nothing but what either side touched is copied.
 *
 *  1. All that is here is applied, and the volumes flushed: they are the image at the end of the tail.
 *  2. What the tail touched is written down (`maps/rejoin@.map`), and its records are kept in a folder of
 *     their own (`abandoned/...`), which is a log as any other. Deltas of the tail follow with
 *     step 4, as far as their files are still here.
 *  3. The state file says so. From here on the node stands at the fork; a crash goes on with 4.
 *  4. When it starts, the log is cut back to the fork, or emptied where it does not reach back so far.
 *  5. The node above is told what the tail touched, and sends a delta from the fork on that has these blocks
 *     too: all or nothing, like any other. Until it is taken the volumes stay the image that they are.
 *  6. With the delta in the log the node is one of the new history, and the state file forgets.
 *
 * @module
 */
import { BlockSet } from "./delta/block_set.ts";
import { DirtyMap, DirtyMapFile } from "./delta/dirty_map.ts";
import { visitExtents } from "./delta/fold.ts";
import type { Delta } from "./delta/delta_shelf.ts";
import type { MapChain } from "./delta/map_chain.ts";
import type { PlanGround } from "./link/delta_plan.ts";
import { CascadeError } from "./errors.ts";
import { makeDurableFolder } from "./folders.ts";
import { keepTail, makeTailFolder } from "./kept_tail.ts";
import { hasHeaderOf, RECORD_HEADER_BYTES } from "./log/record.ts";
import type { Pipeline } from "./pipeline.ts";
import type { Clock, Disk } from "./ports.ts";
import type { Rejoin } from "./rejoin_schema.ts";

/** No link has such a name. */
const FILE = "rejoin@.map";

/** What leaving needs of a node. */
export interface Leaving {
  readonly dir: string;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly pipeline: Pipeline;
  readonly segmentBytes: number;
  readonly ground: PlanGround;
  /** What it touched of an epoch that it was leaving already; else null. */
  readonly before: BlockSet | null;
  /** What nodes below lack: it may know what the log has forgotten. */
  readonly chain: MapChain;
}

/** Steps 1 and 2; what is returned is to be made durable. Throws what the disk throws, `refused`. */
export async function leaveEpoch(node: Leaving, forkLsn: number): Promise<Rejoin> {
  const { pipeline, ground } = node;
  if (forkLsn <= 0) {
    throw new CascadeError(
      "refused",
      "nothing that this node has is of the history of the others",
      {
        hint: "Move its folder and its volumes away, and start it: it is filled anew",
      },
    );
  }
  if (forkLsn >= pipeline.stableLsn) {
    throw new CascadeError("protocol", `a fork at LSN ${forkLsn}`, { where: { LSN: forkLsn } });
  }
  // Their files stay, also where a checkpoint comes by: they go with the records, when the log is cut.
  const deltas = ground.shelf.deltas.filter(({ toLsn }) => toLsn > forkLsn);
  for (const delta of deltas) delta.use();
  try {
    return await leaveWith(node, forkLsn, deltas);
  } catch (error) {
    for (const delta of deltas) delta.release();
    throw error;
  }
}

async function leaveWith(
  node: Leaving,
  forkLsn: number,
  deltas: readonly Delta[],
): Promise<Rejoin> {
  const { pipeline, dir, disk, clock, segmentBytes } = node;
  const { log, history } = pipeline;
  // What is on its way to the disk is of the tail, too.
  log.requestFlush();
  await log.flushed();
  await pipeline.applyAll();
  while (pipeline.volumes.length > 0 && pipeline.checkpointedLsn < pipeline.appliedLsn) {
    await pipeline.checkpoint();
  }
  const endLsn = pipeline.appendedLsn;
  const epoch = history.lastNumber;
  await makeDurableFolder(disk, `${dir}/maps`);
  const map = new DirtyMap(await touchedSince(node, forkLsn), history.idAt(forkLsn), forkLsn);
  await new DirtyMapFile(disk, `${dir}/maps`, FILE).save(map, clock);
  const keeping = { dir, disk, clock, log, segmentBytes };
  const kept = await keepTail(keeping, forkLsn, endLsn, epoch) ??
    (deltas.length === 0 ? null : await makeTailFolder(keeping, forkLsn, endLsn, epoch));
  return { forkLsn, endLsn, epoch, kept, wipes: !reaches(pipeline, forkLsn), isCut: false };
}

/** Whether the log can be cut back to `lsn`. */
function reaches({ log }: Pipeline, lsn: number): boolean {
  if (lsn < log.startLsn || log.gaps.some(({ toLsn }) => toLsn > lsn)) return false;
  const header = new Uint8Array(RECORD_HEADER_BYTES);
  log.readAt(lsn, header);
  if (hasHeaderOf(header, 0, lsn)) return true;
  throw new CascadeError("protocol", `a fork where no record begins`, { where: { LSN: lsn } });
}

/** The blocks that all from `forkLsn` on touched; where nobody knows any more: all of them. */
async function touchedSince(node: Leaving, forkLsn: number): Promise<BlockSet> {
  const { ground, pipeline, chain } = node;
  const { log, shelf } = ground;
  const set = new BlockSet(ground.sizes);
  // It has no image that anything would have to be mended in.
  if (pipeline.volumes.length === 0) return set;
  if (node.before !== null) set.addAll(node.before);
  const isGone = forkLsn < log.startLsn && shelf.covering(forkLsn) === null;
  const known = isGone ? chain.since(forkLsn) : null;
  const blocks = known?.blocks() ?? null;
  if (blocks !== null) set.addAll(blocks);
  const lsn = !isGone
    ? log.gapAt(forkLsn)?.fromLsn ?? forkLsn
    : blocks === null
    ? undefined
    : known?.foldLsn;
  try {
    if (lsn === undefined) throw new CascadeError("log-gone", "no map reaches back so far");
    await visitExtents(ground, lsn, pipeline.stableLsn, (volume, offset, length) => {
      set.add(volume, offset, length);
    });
  } catch (error) {
    if (!(error instanceof CascadeError) || error.code !== "log-gone") throw error;
    for (const [number, bytes] of ground.sizes.entries()) set.add(number, 0, bytes);
  }
  return set;
}

/** What the tail touched, as step 2 wrote it down; all blocks where that is damaged or gone. */
export function loadTouched(disk: Disk, dir: string, sizes: readonly number[]): BlockSet {
  const map = loadOrNull(new DirtyMapFile(disk, `${dir}/maps`, FILE), sizes);
  if (map !== null) return map.set;
  const all = new BlockSet(sizes);
  for (const [number, bytes] of sizes.entries()) all.add(number, 0, bytes);
  return all;
}

/** Step 6, once the state file has forgotten. */
export async function forgetTouched(disk: Disk, dir: string): Promise<void> {
  await new DirtyMapFile(disk, `${dir}/maps`, FILE).clear();
}

/**
 * Of step 4: a map of what a node below lacks, or was seeded with, says nothing of an abandoned epoch. What
 * is touched from the fork on is added again.
 */
export async function cutMaps(
  { disk, clock }: Pick<Leaving, "disk" | "clock">,
  folder: string,
  sizes: readonly number[],
  forkLsn: number,
): Promise<void> {
  if (!disk.exists(folder)) return;
  for (const name of disk.list(folder)) {
    if (!name.endsWith(".map") || name === FILE) continue;
    const file = new DirtyMapFile(disk, folder, name);
    const map = loadOrNull(file, sizes);
    if (map !== null && map.foldLsn <= forkLsn) continue;
    if (map === null || map.fromLsn > forkLsn) await file.clear();
    else await file.save(new DirtyMap(map.set, map.epochId, map.fromLsn, forkLsn), clock);
  }
}

function loadOrNull(file: DirtyMapFile, sizes: readonly number[]): DirtyMap | null {
  try {
    return file.load(sizes);
  } catch (error) {
    // A damaged one is found again, and told, when its link is.
    if (!(error instanceof CascadeError) || error.code !== "state-corrupt") throw error;
    return null;
  }
}
