/**
 * Coalesces a range of the log: what it leaves behind in the volumes, last writer wins, exact to the byte,
 * in the order of the volumes.
 *
 * Extents are gathered for a window of the volumes (laid end to end), in one pass over the headers of the
 * records. A window with too many extents for memory is halved, and the pass done again; then the next
 * window follows.
 *
 * @module
 */
import { assert } from "../assert.ts";
import { RECORD_PAYLOAD_BYTES_MAX, RECOVERY_READ_BYTES } from "../limits.ts";
import { RecordFlag, RecordReader, RecordType } from "../log/record.ts";
import type { Clock } from "../ports.ts";
import { DATA, ExtentMap, ZERO } from "../volume/extents.ts";
import { BlockSet } from "./block_set.ts";
import type { Run } from "./run.ts";

/** Extents of a window: about 40 bytes each, 80 with the runs that are made of them. */
const EXTENTS_MAX = 256 * 1024;

/** What is coalesced. */
export interface CoalescerOptions {
  /** Whole, checked records; the range holds no gap. */
  readonly log: { read(lsn: number, into: Uint8Array, limitLsn: number): number };
  /** Bytes of the volumes, by number. */
  readonly sizes: readonly number[];
  readonly fromLsn: number;
  readonly toLsn: number;
  readonly clock: Clock;
  /** Extents held in memory at most. */
  readonly extentsMax?: number;
}

/** What coalescing a range would give. */
export interface CoalescePlan {
  /** Bytes of the writes in the range. */
  readonly recordBytes: number;
  /** Bytes of the writes that are left of them, rounded up to blocks. */
  readonly deltaBytes: number;
}

/** What an extent that reads as zero was: kept where the log position of others is. */
const Zeroed = { HOLE: 0, NO_HOLE: 1, TRIM: 2 } as const;

/** See the module's text. */
export class LogCoalescer {
  readonly #options: CoalescerOptions;
  readonly #extentsMax: number;
  /** Where each volume begins when they are laid end to end; the end of the last one behind. */
  readonly #bases: readonly number[];
  readonly #maps: readonly ExtentMap[];

  constructor(options: CoalescerOptions) {
    this.#options = options;
    this.#extentsMax = options.extentsMax ?? EXTENTS_MAX;
    const bases = [0];
    for (const size of options.sizes) bases.push((bases.at(-1) ?? 0) + size);
    this.#bases = bases;
    this.#maps = options.sizes.map(() => new ExtentMap());
  }

  get #end(): number {
    return this.#bases.at(-1) ?? 0;
  }

  /** One pass over the headers. Throws what reading the log throws. */
  async plan(): Promise<CoalescePlan> {
    const set = new BlockSet(this.#options.sizes);
    let recordBytes = 0;
    await this.#visit((record) => {
      const { type, volume, offset, length } = record;
      if (type === RecordType.WRITE) {
        set.add(volume, offset, length);
        recordBytes += length;
      } else set.remove(volume, offset, length);
      return true;
    });
    return { recordBytes, deltaBytes: set.countBytes() };
  }

  /** Calls for every record that touches a volume, until that gives false; then it gives false. */
  async #visit(call: (record: RecordReader, payloadLsn: number) => boolean): Promise<boolean> {
    const { log, fromLsn, toLsn, clock } = this.#options;
    const slice = new Uint8Array(RECOVERY_READ_BYTES);
    const record = new RecordReader();
    for (let lsn = fromLsn; lsn < toLsn;) {
      const bytes = log.read(lsn, slice, toLsn);
      assert(bytes > 0, "a slice holds any record, and the range ends where one ends");
      for (let at = 0; at < bytes; at += record.totalBytes) {
        const { type } = record.at(slice, at);
        if (type === RecordType.MARK || type === RecordType.EPOCH) continue;
        if (!call(record, lsn + record.payloadStart)) return false;
      }
      lsn += bytes;
      await new Promise<void>((go) => clock.soon(go));
    }
    return true;
  }

  /** What remains at or behind a place, ascending; a run that spans it is cut. */
  async *runs(from = { volume: 0, offset: 0 }): AsyncGenerator<Run> {
    let start = (this.#bases[from.volume] ?? this.#end) + from.offset;
    let width = this.#end;
    while (start < this.#end) {
      const stop = Math.min(this.#end, start + width);
      if (!await this.#gather(start, stop)) {
        assert(width > 1, "a byte has one extent");
        width = Math.ceil(width / 2);
        continue;
      }
      yield* this.#emit(start, stop);
      start = stop;
      width *= 2;
    }
    for (const map of this.#maps) map.clear();
  }

  /** Notes the extents of a window; false when there are too many. */
  #gather(start: number, stop: number): Promise<boolean> {
    for (const map of this.#maps) map.clear();
    return this.#visit((record, payloadLsn) => {
      const { type, volume, offset, length, flags } = record;
      const base = this.#bases[volume] ?? 0;
      const first = Math.max(offset, start - base);
      const last = Math.min(offset + length, stop - base);
      const map = this.#maps[volume];
      assert(map !== undefined, "a record's volume is there");
      if (first >= last) return true;
      if (type === RecordType.WRITE) map.set(first, last, DATA, payloadLsn + first - offset);
      else map.set(first, last, ZERO, zeroed(type, flags));
      return this.#count() <= this.#extentsMax;
    });
  }

  #count(): number {
    let count = 0;
    for (const map of this.#maps) count += map.count;
    return count;
  }

  *#emit(start: number, stop: number): Generator<Run> {
    for (const [volume, map] of this.#maps.entries()) {
      const base = this.#bases[volume] ?? 0;
      const size = this.#options.sizes[volume] ?? 0;
      const runs: Run[] = [];
      map.lookup(
        Math.max(0, start - base),
        Math.min(size, stop - base),
        (first, last, kind, source) => {
          const length = last - first;
          if (kind === DATA) pushWrites(runs, volume, first, length, source);
          else runs.push({ volume, offset: first, length, ...zeroRun(source), source: null });
        },
      );
      yield* runs;
    }
  }
}

/** How each kind of zero is told. */
function zeroRun(kind: number): Pick<Run, "type" | "flags"> {
  if (kind === Zeroed.TRIM) return { type: RecordType.TRIM, flags: 0 };
  return { type: RecordType.ZERO, flags: kind === Zeroed.HOLE ? 0 : RecordFlag.NO_HOLE };
}

function zeroed(type: RecordType, flags: number): number {
  if (type === RecordType.TRIM) return Zeroed.TRIM;
  return (flags & RecordFlag.NO_HOLE) === 0 ? Zeroed.HOLE : Zeroed.NO_HOLE;
}

function pushWrites(runs: Run[], volume: number, offset: number, length: number, source: number) {
  for (let at = 0; at < length; at += RECORD_PAYLOAD_BYTES_MAX) {
    runs.push({
      volume,
      offset: offset + at,
      length: Math.min(RECORD_PAYLOAD_BYTES_MAX, length - at),
      type: RecordType.WRITE,
      flags: 0,
      source: source + at,
    });
  }
}
