/**
 * The delta of a scan: reads what changed once more and stages it, as if it had come from above. What was
 * read is what the map is told, so that the two never differ, however the volume is written meanwhile.
 *
 * @module
 */
import type { BlockExtent, BlockSet } from "../delta/block_set.ts";
import { writeRun } from "../delta/delta_body.ts";
import type { Run } from "../delta/run.ts";
import { RECORD_BYTES_MAX, RECORD_PAYLOAD_BYTES_MAX } from "../limits.ts";
import { RECORD_HEADER_BYTES, RecordType } from "../log/record.ts";
import type { Bytes, Clock, DiskFile } from "../ports.ts";
import { zeroRuns } from "../seed/runs.ts";
import type { HashMapWriter } from "./hash_map_writer.ts";
import { alignedRanges } from "./plan.ts";

/** Bytes of records that are given on at once; the event loop goes on behind them. */
const BATCH_BYTES = 4 * 1024 * 1024;
/** An extent that is looked at in one go. */
const EXTENT_BYTES_MAX = 256 * 1024 * 1024;

/** Where a delta is put: see `delta_shelf.ts`. */
export interface BodyTarget {
  append(records: Uint8Array): void;
}

/** What a delta of a scan is made from. */
export interface ScanDeltaParts {
  readonly changed: BlockSet;
  /** What was scanned, by number of the volume; so are the maps. */
  readonly files: readonly DiskFile[];
  readonly maps: readonly HashMapWriter[];
  readonly target: BodyTarget;
  readonly clock: Clock;
  readonly stopped: () => boolean;
}

/** What a body came to. */
export interface BodyTotals {
  readonly bodyBytes: number;
  readonly records: number;
  readonly payloadBytes: number;
}

/** Writes the body; null: it was stopped. Throws what reading and appending throw. */
export async function writeScanBody(parts: ScanDeltaParts): Promise<BodyTotals | null> {
  const writer = new BodyWriter(parts);
  for (const extent of parts.changed.extents(0, 0, EXTENT_BYTES_MAX)) {
    if (parts.stopped()) return null;
    await writer.extent(extent);
  }
  writer.flush();
  return writer.totals;
}

class BodyWriter {
  readonly #parts: ScanDeltaParts;
  readonly #batch: Bytes = new Uint8Array(BATCH_BYTES + RECORD_BYTES_MAX);
  readonly #piece: Bytes = new Uint8Array(RECORD_PAYLOAD_BYTES_MAX);
  #filled = 0;
  #flushed = 0;
  #records = 0;
  #payloadBytes = 0;

  constructor(parts: ScanDeltaParts) {
    this.#parts = parts;
  }

  get totals(): BodyTotals {
    return {
      bodyBytes: this.#flushed + this.#filled,
      records: this.#records,
      payloadBytes: this.#payloadBytes,
    };
  }

  flush(): void {
    if (this.#filled === 0) return;
    this.#parts.target.append(this.#batch.subarray(0, this.#filled));
    this.#flushed += this.#filled;
    this.#filled = 0;
  }

  /** Data where there is some, zeroes where there are holes. */
  async extent({ volume, offset, length }: BlockExtent): Promise<void> {
    const { files, maps } = this.#parts;
    const { blockBytes } = maps[volume]!.key;
    const wanted = { offset, length, rangesMax: Infinity, blockBytes };
    let at = offset;
    for (const { start, end } of alignedRanges(files[volume]!, wanted)) {
      await this.#zeroes(volume, at, start);
      for (at = start; at < end; at += this.#piece.length) {
        await this.#data(volume, at, Math.min(this.#piece.length, end - at));
      }
      at = end;
    }
    await this.#zeroes(volume, at, offset + length);
  }

  async #data(volume: number, offset: number, length: number): Promise<void> {
    const { files, maps } = this.#parts;
    const map = maps[volume]!;
    const piece = this.#piece.subarray(0, length);
    files[volume]!.readAt(piece, offset);
    map.note(offset, piece);
    for (const { start, end, yes } of zeroRuns(piece, map.key.blockBytes)) {
      const type = yes ? RecordType.ZERO : RecordType.WRITE;
      await this.#put(volume, offset + start, end - start, type, piece.subarray(start, end));
    }
  }

  async #zeroes(volume: number, start: number, end: number): Promise<void> {
    if (start >= end) return;
    this.#parts.maps[volume]!.noteZeroes(start, end - start);
    await this.#put(volume, start, end - start, RecordType.ZERO, NO_PAYLOAD);
  }

  async #put(
    volume: number,
    offset: number,
    length: number,
    type: Run["type"],
    payload: Uint8Array,
  ): Promise<void> {
    const run: Run = { volume, offset, length, type, flags: 0, source: null };
    const isWrite = type === RecordType.WRITE;
    const position = this.#flushed + this.#filled;
    this.#filled += writeRun(
      this.#batch,
      this.#filled,
      run,
      1,
      position,
      isWrite ? payload : NO_PAYLOAD,
    );
    this.#records++;
    if (isWrite) this.#payloadBytes += length;
    if (this.#filled < BATCH_BYTES) return;
    this.flush();
    await new Promise<void>((go) => this.#parts.clock.soon(go));
  }
}

const NO_PAYLOAD = new Uint8Array(0);

/** About what the body of a set comes to, or a little more. */
export function bodyBytesAbout(
  set: BlockSet,
  files: readonly Pick<DiskFile, "dataRanges">[],
  blockBytes: number,
): number {
  let bytes = 0;
  for (const { volume, offset, length } of set.extents()) {
    const wanted = { offset, length, rangesMax: Infinity, blockBytes };
    for (const { start, end } of alignedRanges(files[volume]!, wanted)) {
      bytes += end - start + Math.ceil((end - start) / blockBytes) * RECORD_HEADER_BYTES;
    }
    bytes += 2 * RECORD_HEADER_BYTES;
  }
  return bytes;
}
