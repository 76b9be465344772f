/**
 * What a node sends up a link beside acks: the tail that its upstream lost in a crash, and what it wrote in an
 * epoch that was abandoned.
 *
 * @module
 */
import type { BlockSet } from "../delta/block_set.ts";
import type { Bytes } from "../ports.ts";
import {
  FRAME_HEADER_BYTES,
  FrameType,
  jsonFrame,
  sealFrame,
  TIDE_BYTES,
  writeTide,
} from "./frames.ts";
import type { LinkHost } from "./host.ts";
import { DATA_RECORDS_BYTES_MAX } from "./link_limits.ts";
import type { Wire, WireSource } from "./wire.ts";

/** Sends [from, end) of this node's log once, as DATA frames. */
export class TailSource implements WireSource {
  readonly #host: LinkHost;
  #cursorLsn: number;
  readonly #endLsn: number;

  constructor(host: LinkHost, fromLsn: number, endLsn: number) {
    this.#host = host;
    this.#cursorLsn = fromLsn;
    this.#endLsn = endLsn;
  }

  fill(into: Bytes, at: number): number {
    if (this.#cursorLsn >= this.#endLsn) return at;
    const records = at + FRAME_HEADER_BYTES + TIDE_BYTES;
    const room = into.subarray(records, records + DATA_RECORDS_BYTES_MAX);
    const bytes = this.#host.pipeline.log.read(this.#cursorLsn, room, this.#endLsn);
    const firstLsn = this.#cursorLsn;
    writeTide(into, at + FRAME_HEADER_BYTES, {
      stableLsn: 0,
      primaryTimeMs: 0,
      primaryEndLsn: 0,
      firstLsn,
    });
    this.#cursorLsn += bytes;
    sealFrame(into, at, FrameType.DATA, 0, TIDE_BYTES + bytes, TIDE_BYTES);
    return records + bytes;
  }
}

/** Extents in one frame: they fit with the longest numbers. */
const TOUCHED_EXTENTS_MAX = 1000;

/** Tells the upstream what this node wrote in an abandoned epoch. */
export async function sendTouched(wire: Wire, blocks: BlockSet): Promise<void> {
  let extents: [number, number, number][] = [];
  for (const { volume, offset, length } of blocks.extents()) {
    extents.push([volume, offset, length]);
    if (extents.length < TOUCHED_EXTENTS_MAX) continue;
    wire.send(jsonFrame(FrameType.TOUCHED, { extents, isLast: false }));
    await wire.drain();
    extents = [];
  }
  wire.send(jsonFrame(FrameType.TOUCHED, { extents, isLast: true }));
}
