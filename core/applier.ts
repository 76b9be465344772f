/**
 * Applies what is stable to the volumes, in order, slice by slice: records from the log, and, where the
 * log goes on behind a delta, that delta.
 *
 * While a delta is applied the applied position stays where it was: the volumes are then no image that
 * existed, but volumes, log and delta together are one, and a crash applies all of the delta again.
 *
 * @module
 */
import { assert } from "./assert.ts";
import type { Delta, DeltaShelf } from "./delta/delta_shelf.ts";
import { CascadeError } from "./errors.ts";
import { RECORD_BYTES_MAX } from "./limits.ts";
import type { Log } from "./log/log.ts";
import { RecordFlag, RecordReader, RecordType } from "./log/record.ts";
import { APPLY_SLICE_BYTES, APPLY_ZERO_BYTES } from "./node_limits.ts";
import type { Bytes } from "./ports.ts";
import type { Volume } from "./volume/volume.ts";

export class Applier {
  readonly #log: Log;
  readonly #shelf: DeltaShelf;
  readonly #volumes: readonly Volume[];
  readonly #record = new RecordReader();
  readonly #buffer: Bytes = new Uint8Array(RECORD_BYTES_MAX + APPLY_SLICE_BYTES);
  #appliedLsn: number;
  /** How much of the zero record that comes next was applied. */
  #zeroedBytes = 0;
  /** The delta that is being applied, and how much of its body was. */
  #delta: Delta | null = null;
  #position = 0;

  constructor(log: Log, shelf: DeltaShelf, volumes: readonly Volume[], appliedLsn: number) {
    this.#log = log;
    this.#shelf = shelf;
    this.#volumes = volumes;
    this.#appliedLsn = appliedLsn;
  }

  get appliedLsn(): number {
    return this.#appliedLsn;
  }

  /** The volumes hold a part of a delta just now. */
  get isInDelta(): boolean {
    return this.#delta !== null;
  }

  /** Nothing is applied in part. */
  get isExact(): boolean {
    return this.#delta === null && this.#zeroedBytes === 0;
  }

  /** The volumes were brought to `lsn` by other means. */
  moveTo(lsn: number): void {
    assert(lsn >= this.#appliedLsn && this.#delta === null, "what is applied grows");
    this.#appliedLsn = lsn;
    this.#zeroedBytes = 0;
  }

  /** Applies some of what lies below `stable`: one slice, so that clients are served in between. */
  slice(stable: number): void {
    if (this.#appliedLsn >= stable) return;
    if (this.#log.gapAt(this.#appliedLsn) === null) this.#recordSlice(stable);
    else this.#deltaSlice(stable);
    for (const volume of this.#volumes) volume.prune(this.#appliedLsn);
  }

  #recordSlice(stable: number): void {
    const limit = Math.min(stable, this.#log.nextGap(this.#appliedLsn)?.fromLsn ?? Infinity);
    const slice = this.#log.view(this.#appliedLsn, APPLY_SLICE_BYTES, limit) ??
      this.#log.view(this.#appliedLsn, RECORD_BYTES_MAX, limit) ?? this.#readSlice(limit);
    for (let at = 0; at < slice.length; at += this.#record.totalBytes) {
      this.#record.at(slice, at);
      assert(this.#record.lsn === this.#appliedLsn, "records are applied in order");
      if (!this.applyRecord(this.#record, slice)) break;
      this.#appliedLsn += this.#record.totalBytes;
    }
    assert(this.#appliedLsn <= limit, "only what is stable is applied");
  }

  /** What does not lie in memory in one piece. */
  #readSlice(limit: number): Uint8Array {
    const small = this.#buffer.subarray(0, APPLY_SLICE_BYTES);
    // A slice as a rule; a record that is larger than one in full.
    const bytes = this.#log.read(this.#appliedLsn, small, limit) ||
      this.#log.read(this.#appliedLsn, this.#buffer, limit);
    assert(bytes > 0, "what is stable holds whole records");
    return this.#buffer.subarray(0, bytes);
  }

  #deltaSlice(stable: number): void {
    if (this.#delta === null) this.#beginDelta();
    const delta = this.#delta;
    assert(delta !== null && delta.toLsn <= stable, "a delta that was committed is stable");
    if (this.#position < delta.bodyBytes) {
      const bytes = delta.read(this.#position, this.#buffer);
      assert(bytes > 0, "a body holds whole records");
      const slice = this.#buffer.subarray(0, bytes);
      for (let at = 0; at < bytes; at += this.#record.totalBytes) {
        if (!this.applyRecord(this.#record.at(slice, at), slice)) break;
        this.#position += this.#record.totalBytes;
      }
    }
    if (this.#position < delta.bodyBytes) return;
    this.#appliedLsn = delta.toLsn;
    this.#delta = null;
  }

  #beginDelta(): void {
    this.#delta = this.#shelf.following(this.#appliedLsn);
    this.#position = 0;
    if (this.#delta !== null) return;
    throw new CascadeError("state-corrupt", "a delta is missing that is not applied yet", {
      where: { LSN: this.#appliedLsn },
      hint: "Restore the node's folder, or remove it and its volumes: it is filled anew",
    });
  }

  /** Ends the delta that is being applied if at most so much of it is left; false: there is more. */
  finishDelta(bytesMax: number, stable: number): boolean {
    if (this.#delta === null) return true;
    if (this.#delta.bodyBytes - this.#position > bytesMax) return false;
    while (this.#delta !== null) this.slice(stable);
    return true;
  }

  /** Records from elsewhere come, and the last ones may have been cut off in the midst of one. */
  beginForeign(): void {
    assert(this.#delta === null, "nothing else is being applied");
    this.#zeroedBytes = 0;
  }

  /** False: a long zero was applied in part; the next call goes on with it. */
  applyRecord(record: RecordReader, slice: Uint8Array): boolean {
    const volume = this.#volumes[record.volume];
    switch (record.type) {
      case RecordType.WRITE:
        assert(volume !== undefined, "a record's volume is there");
        volume.applyWrite(
          slice.subarray(record.payloadStart, record.payloadStart + record.length),
          record.offset,
        );
        return true;
      case RecordType.ZERO:
      case RecordType.TRIM:
        assert(volume !== undefined, "a record's volume is there");
        return this.#applyZero(record, volume);
      case RecordType.MARK:
      case RecordType.EPOCH:
        return true;
    }
  }

  /** A zero may be as long as the volume: it is applied in slices, the event loop between them. */
  #applyZero(record: RecordReader, volume: Volume): boolean {
    const { offset, length, flags } = record;
    const bytes = Math.min(length - this.#zeroedBytes, APPLY_ZERO_BYTES);
    volume.applyZero(offset + this.#zeroedBytes, bytes, (flags & RecordFlag.NO_HOLE) === 0);
    this.#zeroedBytes += bytes;
    if (this.#zeroedBytes < length) return false;
    this.#zeroedBytes = 0;
    return true;
  }
}
