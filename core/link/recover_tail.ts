/**
 * A primary that looks for the tail which a crash took: what it asks of a sync peer that connects.
 *
 * @module
 */
import type { LinkConfig } from "../config.ts";
import { FrameType, jsonFrame, TIDE_BYTES, unexpectedFrame } from "./frames.ts";
import type { LinkHost } from "./host.ts";
import type { PositionMessage, Refusal } from "./messages.ts";
import type { Wire } from "./wire.ts";

/**
 * While this primary looks for its lost tail: takes what the peer has, and waits until the new reign has
 * begun. Returns why the peer is refused, or null; the wire may be closed by then.
 */
export async function recoverTail(
  host: LinkHost,
  link: LinkConfig,
  wire: Wire,
  position: PositionMessage,
): Promise<Refusal | null> {
  const { recovery, pipeline } = host;
  if (recovery === null) return null;
  if (link.mode !== "sync") return { code: "not-ready", message: `${link.from} is starting` };
  const fork = pipeline.history.fork(position.history);
  const ahead = position.endLsn > pipeline.appendedLsn;
  if (ahead && fork.mine === null && fork.lsn >= pipeline.appendedLsn) {
    await fetchTail(host, link, wire, position.endLsn);
  }
  recovery.heard(link.name);
  await recovery.over;
  return null;
}

async function fetchTail(
  host: LinkHost,
  link: LinkConfig,
  wire: Wire,
  toLsn: number,
): Promise<void> {
  const { pipeline, recovery } = host;
  let atLsn = pipeline.appendedLsn;
  wire.send(jsonFrame(FrameType.FETCH, { fromLsn: atLsn, toLsn }));
  while (recovery !== null && atLsn < toLsn) {
    wire.setDeadline(link.timeoutMs, "tail");
    const frame = await wire.receive();
    if (frame.type !== FrameType.DATA) throw unexpectedFrame(frame.type);
    const records = frame.body.subarray(TIDE_BYTES);
    if (!pipeline.accepts(records.length)) {
      await Promise.race([host.room(records.length, () => !wire.closed), wire.whenClosed]);
      if (wire.closed) return;
    }
    recovery.take(records);
    atLsn += records.length;
  }
  wire.setDeadline(null);
}
