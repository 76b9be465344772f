/**
 * A promotion as of an earlier moment: where that is in the node's log, what is left behind by it, and keeping what is.
 *
 * @module
 */
import { CascadeError } from "./errors.ts";
import { NO_EPOCH } from "./history.ts";
import { keepTail, makeTailFolder } from "./kept_tail.ts";
import { firstImageLsn, lsnAtTime, markNamed, timeBefore, TimeWalk } from "./marks/find_lsn.ts";
import type { AsOf } from "./marks/views.ts";
import type { CascadeNode } from "./node.ts";
import { standingOf } from "./node_standing.ts";
import { type PlanGround, planPromotion } from "./tree/promotion_plan.ts";
import type { TreePlan } from "./tree/tree_report.ts";

/** Where that moment is. Throws `not-found`, `refused`, `usage`. */
export async function findPast(node: CascadeNode, at: AsOf): Promise<number> {
  const { marks, pipeline, config } = node;
  const { lsn } = await marks.views.find(at);
  if (pipeline.history.idAt(lsn) === NO_EPOCH) {
    throw new CascadeError("refused", "nothing had been written yet", {
      where: { LSN: lsn },
      hint: `${config.name} would be a cascade of its own: no other node could follow it`,
    });
  }
  const firstLsn = firstImageLsn(pipeline, pipeline.appliedLsn);
  if (lsn >= firstLsn) return lsn;
  throw new CascadeError(
    "refused",
    `${config.name} has applied all up to LSN ${firstLsn}`,
    {
      where: { LSN: lsn },
      hint: "What was applied stays so: only a node with `applyDelay` can go back to before it",
    },
  );
}

/** The node reigns: since that very moment, so that all is done? Else throws `usage`, `not-found`. */
export async function sinceThen(node: CascadeNode, at: AsOf): Promise<number> {
  const { pipeline, config, tree: { seat }, ports: { clock } } = node;
  const reign = pipeline.history.epochs.find(({ id }) => id === seat.view.reignId);
  const lsn = "lsn" in at
    ? at.lsn
    : "mark" in at
    ? markNamed(pipeline, at.mark).endLsn
    : await lsnAtTime(pipeline, at.timeMs, clock);
  if (reign?.firstLsn === lsn && reign.node === config.name) return lsn;
  throw new CascadeError("usage", `${config.name} is the primary already: it has applied all`, {
    where: { LSN: lsn },
    hint: "What was applied stays so: only a node with `applyDelay` can go back to before it",
  });
}

/** What such a promotion leaves behind: what others have more is of no use then. */
export function planPast(ground: PlanGround, node: CascadeNode, lsn: number): TreePlan {
  const { pipeline, config } = node;
  const known = planPromotion(ground, false, false);
  const more = known.fetchBytes + pipeline.appendedLsn - lsn;
  return {
    ...known,
    fetchBytes: 0,
    furthest: config.name,
    lostBytes: known.lostBytes === null ? null : known.lostBytes + more,
    lostSeconds: secondsAfter(node, lsn),
    asOfLsn: lsn,
    keptBytes: pipeline.appendedLsn - lsn,
  };
}

/** From the first write behind `lsn` to the last that is known of, by the primary's clock; null: not known. */
function secondsAfter(node: CascadeNode, lsn: number): number | null {
  const { pipeline } = node;
  const { lagSeconds } = standingOf(node);
  const { stableLsn } = pipeline;
  if (lsn >= stableLsn) return lagSeconds;
  const walk = new TimeWalk(pipeline);
  const firstMs = walk.timeAt(lsn) ?? pipeline.shelf.following(lsn)?.trailer.timeMs ?? null;
  const lastMs = timeBefore(pipeline, stableLsn);
  if (firstMs === null || lastMs === null || lagSeconds === null) return null;
  return Math.max(0, lastMs - firstMs) / 1000 + lagSeconds;
}

/** What was set aside: where deltas of it are to go, when the log is cut. */
export interface SetAside {
  readonly folder: string | null;
  readonly cutKept: string | null;
}

/**
 * Keeps what the log has beyond `lsn`, durably. Nothing beyond may be applied meanwhile: see `NodeMarks.cap`. Throws
 * `refused`, `disk-full`, and what the disk throws.
 */
export async function setAside(node: CascadeNode, lsn: number): Promise<SetAside> {
  const { pipeline, config, ports: { disk, clock } } = node;
  const { log, history } = pipeline;
  // What is on its way here is of the tail, too.
  log.requestFlush();
  await log.flushed();
  if (isPast(node, lsn)) {
    throw new CascadeError("refused", `${config.name} has applied what lies beyond LSN ${lsn}`);
  }
  const { appendedLsn } = pipeline;
  const { dir, log: { segmentBytes } } = config;
  const folder = await keepTail(
    { dir, disk, clock, log, segmentBytes },
    lsn,
    appendedLsn,
    history.lastNumber,
  );
  if (!log.gaps.some(({ toLsn }) => toLsn > lsn)) return { folder, cutKept: null };
  const cutKept = folder ??
    await makeTailFolder({ dir, disk }, lsn, appendedLsn, history.lastNumber);
  return { folder: cutKept, cutKept };
}

/** The volumes hold something of what lies beyond `lsn`, be it a part of a record. */
function isPast({ pipeline }: CascadeNode, lsn: number): boolean {
  const { appliedLsn, shelf } = pipeline;
  if (firstImageLsn(pipeline, appliedLsn) > lsn) return true;
  if (pipeline.isInDelta) return (shelf.following(appliedLsn)?.toLsn ?? Infinity) > lsn;
  return appliedLsn === lsn && pipeline.exactLsn() === null;
}
