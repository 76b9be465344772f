/**
 * The beginning of a reign: an epoch record in the log, durable before any client or peer is served.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { NodeConfig } from "./config.ts";
import type { NodeFront } from "./front.ts";
import type { Epoch } from "./history.ts";
import { encodeEpoch, RecordType } from "./log/record.ts";
import { TICK_INTERVAL_MS } from "./node_limits.ts";
import type { Pipeline } from "./pipeline.ts";
import type { Ports } from "./ports.ts";

/** Room for an epoch record, and some. */
const EPOCH_ROOM_BYTES = 4096;

/** The primary, as its reign begins. */
export interface Reigning {
  readonly config: NodeConfig;
  readonly ports: Ports;
  readonly pipeline: Pipeline;
  readonly front: NodeFront;
  readonly phase: string;
}

/** Appends an epoch record, and waits until it is durable: a reign begins on solid ground. */
export async function beginEpoch(node: Reigning): Promise<void> {
  const { config, ports, pipeline, front } = node;
  const epoch: Epoch = {
    number: pipeline.history.lastNumber + 1,
    id: Buffer.from(ports.random.bytes(16)).toString("hex"),
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
  await pipeline.log.flushed();
  ports.journal.write("info", "a new epoch begins", { epoch: epoch.number, lsn: epoch.firstLsn });
}

/** A log that was full when the node went down is emptied of what is applied first. */
async function roomForEpoch(node: Reigning): Promise<void> {
  const { pipeline, ports } = node;
  while (!pipeline.accepts(EPOCH_ROOM_BYTES) && node.phase === "starting") {
    await pipeline.applyAll();
    await pipeline.checkpoint();
    pipeline.makeRoom(EPOCH_ROOM_BYTES);
    await new Promise<void>((go) => ports.clock.after(TICK_INTERVAL_MS / 10, go));
  }
}
