/**
 * What a node writes into the history by itself: the epoch record with which a reign begins, durable before
 * any client or peer is served, and a mark where the history has to go on.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { NodeConfig } from "./config.ts";
import type { LinkHub } from "./link/hub.ts";
import type { NodeFront } from "./front.ts";
import type { Epoch } from "./history.ts";
import { encodeEpoch, encodeName, RecordType } from "./log/record.ts";
import { OWN_MARK_PREFIX } from "./marks/mark_index.ts";
import type { UpstreamLink } from "./link/upstream.ts";
import { TICK_INTERVAL_MS } from "./node_limits.ts";
import type { Pipeline } from "./pipeline.ts";
import type { Ports } from "./ports.ts";
import { TailRecoverer } from "./recover_tail.ts";
import type { Seat } from "./tree/seat.ts";
import type { View } from "./tree/view.ts";

/** Room for an epoch record, and some. */
const EPOCH_ROOM_BYTES = 4096;

/** The name of a mark that only lets the history go on. */
const ADVANCE_MARK = `${OWN_MARK_PREFIX}repair`;

/** How often it is looked whether the history went on, and every how many times it is asked for again. */
const ADVANCE_LOOK_MS = 10;
const ADVANCE_ASK_TURNS = 100;

/** The primary, as its reign begins. */
export interface Reigning {
  readonly config: NodeConfig;
  readonly ports: Ports;
  readonly pipeline: Pipeline;
  readonly front: NodeFront;
  readonly phase: string;
}

/** Appends an epoch record, and waits until it is durable: a reign begins on solid ground. `planned`: that of a promotion. */
export async function beginEpoch(
  node: Reigning,
  planned: { readonly number: number; readonly id: string } | null = null,
): Promise<void> {
  const { config, ports, pipeline, front } = node;
  const epoch: Epoch = {
    number: planned?.number ?? pipeline.history.lastNumber + 1,
    id: planned?.id ?? Buffer.from(ports.random.bytes(16)).toString("hex"),
    firstLsn: pipeline.appendedLsn,
    node: config.name,
  };
  await roomForEpoch(node);
  if (node.phase !== "starting") return;
  pipeline.history.add(epoch);
  const payload = encodeEpoch(epoch);
  front.append(RecordType.EPOCH, 0, 0, 0, payload.length, payload);
  front.commit();
  pipeline.flushNow();
  try {
    await pipeline.log.flushed();
  } catch (error) {
    // It hears of another primary just now, and turns: the log was closed.
    if (node.phase !== "starting") return;
    throw error;
  }
  ports.journal.write("info", "a new epoch begins", { epoch: epoch.number, lsn: epoch.firstLsn });
}

/** A node that starts, as its reign sees it. */
export interface Starting extends Reigning {
  readonly hub: LinkHub;
  readonly tree: { readonly seat: Seat };
  readonly onRequest: boolean;
  reason: string | null;
}

/** How a start stands. */
export interface Begun {
  /** Peers are to be asked for what a crash may have lost. */
  readonly recovery: TailRecoverer | null;
  /** This very start began an epoch: the first, or that of a promotion. */
  readonly isNew: boolean;
}

/**
 * What is in the log and not in the volumes. After a crash they may be anywhere past the checkpoint, and become an
 * image that existed when all is applied again; below `exactLsn`, where that is known, they are one.
 */
export async function takeUp(pipeline: Pipeline, exactLsn: number | null): Promise<void> {
  if (pipeline.reigns && exactLsn !== null) await pipeline.inherit(exactLsn);
  else await pipeline.applyDue();
}

/**
 * Before the links of a node that starts run. What is returned is for {@linkcode settleReign}. */
export async function beginReign(node: Starting, clean: boolean): Promise<Begun> {
  const { pipeline, tree: { seat } } = node;
  if (!pipeline.reigns) return { recovery: null, isNew: false };
  const first = pipeline.history.last === null;
  // A node that was given an empty folder may have been left behind long ago.
  if (first && !node.onRequest) await seat.firstWord();
  if (node.phase !== "starting") return { recovery: null, isNew: false };
  const planned = plannedEpoch(seat.view, pipeline);
  const isNew = planned !== null || first;
  if (isNew) await beginEpoch(node, planned);
  if (isNew || clean) return { recovery: null, isNew };
  const recovery = TailRecoverer.begin(pipeline, node.hub.downstream, node.ports.clock);
  const { asked } = recovery;
  if (asked.length > 0) {
    node.reason = `asking sync peers for what a crash may have lost (${asked.join(", ")})`;
  }
  return { recovery, isNew };
}

/** The epoch that a promotion is to begin, if it did not yet. */
function plannedEpoch(view: View, pipeline: Pipeline): { number: number; id: string } | null {
  if (view.reign <= pipeline.history.lastNumber) return null;
  return { number: view.reign, id: view.reignId };
}

/** With its links up: a node that reigned before hears from others first, and takes back what it lost. */
export async function settleReign(
  node: Starting,
  recovery: TailRecoverer | null,
  isNew: boolean,
  fed: boolean,
): Promise<void> {
  const { pipeline, ports, hub, tree: { seat } } = node;
  if (!pipeline.reigns) return;
  // Nobody can have been promoted who never got anything.
  if (!isNew && fed && !node.onRequest) await seat.word();
  if (recovery === null || node.phase !== "starting") return;
  const unheard = await recovery.wait();
  // Stopped meanwhile: the next start asks again, since this one is never said to be clean.
  if (node.phase !== "starting") return;
  for (const link of unheard) {
    ports.journal.write("warn", "began a new epoch without word from a sync peer", { link });
  }
  await beginEpoch(node);
  if (node.phase !== "starting") return;
  // What came back is in no overlay yet.
  await pipeline.inherit(pipeline.appliedLsn);
  hub.restartGrace();
  recovery.finish();
}

/** A log that was full when the node went down is emptied of what is applied first. */
async function roomForEpoch(node: Reigning): Promise<void> {
  const { pipeline, ports } = node;
  while (!pipeline.accepts(EPOCH_ROOM_BYTES) && node.phase === "starting") {
    await pipeline.applyAll();
    await pipeline.checkpoint();
    // Nobody waits for a peer before the reign has begun, and no peer is heard before: what it lacks is mapped.
    pipeline.makeRoom(EPOCH_ROOM_BYTES, true);
    await new Promise<void>((go) => ports.clock.after(TICK_INTERVAL_MS / 10, go));
  }
}

/** What {@linkcode advance} needs of a node. */
export interface Advancing extends Reigning {
  readonly hub: { readonly upstream: UpstreamLink | null };
}

/**
 * Sees to it that the history goes on beyond `lsn`, with a mark if nobody writes, and waits until it is
 * applied here; or until it is not `wanted`.
 */
export async function advance(node: Advancing, lsn: number, wanted: () => boolean): Promise<void> {
  const { pipeline, front, hub, ports: { clock } } = node;
  for (let turn = 0; pipeline.appliedLsn <= lsn && wanted(); turn++) {
    // A connection may be lost with the question, and a log without room takes no mark.
    if (turn % ADVANCE_ASK_TURNS === 0 && pipeline.appendedLsn <= lsn && node.phase === "running") {
      if (!pipeline.reigns) hub.upstream?.askToAdvance(lsn);
      else if (pipeline.accepts(EPOCH_ROOM_BYTES)) {
        const name = encodeName(ADVANCE_MARK);
        front.append(RecordType.MARK, 0, 0, 0, name.length, name);
        front.commit();
        pipeline.flushNow();
      }
    }
    await new Promise<void>((go) => clock.after(ADVANCE_LOOK_MS, go));
  }
}
