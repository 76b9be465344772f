/**
 * Coalesces a range of the log: what it leaves behind in the volumes, last writer wins, exact to the byte,
 * in the order of the volumes.
 *
 * Extents are gathered for a window of the volumes (laid end to end), in one pass over the headers of the
 * records. When there are too many for memory, the window gives up its last quarter and the pass goes on:
 * what is kept is complete as it is. The next window begins where this one ended, with a pass of its own.
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

/** Extents of a window: 25 bytes each in full leaves, twice that in half-full ones, and 90 as a run. */
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
  /** Where each volume begins when they are laid end to end; the end of the last one behind. */
  readonly #bases: readonly number[];
  /** What planning gathered on its way: the first runs, most often all of them. */
  #planned: Window | null = null;

  constructor(options: CoalescerOptions) {
    this.#options = options;
    const bases = [0];
    for (const size of options.sizes) bases.push((bases.at(-1) ?? 0) + size);
    this.#bases = bases;
  }

  get #end(): number {
    return this.#bases.at(-1) ?? 0;
  }

  /** One pass over the headers. Throws what reading the log throws. */
  async plan(): Promise<CoalescePlan> {
    const set = new BlockSet(this.#options.sizes);
    const window = this.#newWindow();
    window.begin(0, this.#end);
    let recordBytes = 0;
    await this.#visit((record, payloadLsn) => {
      window.add(record, payloadLsn);
      const { type, volume, offset, length } = record;
      if (type === RecordType.WRITE) {
        set.add(volume, offset, length);
        recordBytes += length;
      } else set.remove(volume, offset, length);
    });
    this.#planned = window;
    return { recordBytes, deltaBytes: set.countBytes() };
  }

  /** Calls for every record that touches a volume; the event loop goes on between slices. */
  async #visit(call: (record: RecordReader, payloadLsn: number) => void): Promise<void> {
    const { log, fromLsn, toLsn, clock } = this.#options;
    const slice = new Uint8Array(RECOVERY_READ_BYTES);
    const record = new RecordReader();
    for (let lsn = fromLsn; lsn < toLsn;) {
      const bytes = log.read(lsn, slice, toLsn);
      assert(bytes > 0, "a slice holds any record, and the range ends where one ends");
      for (let at = 0; at < bytes; at += record.totalBytes) {
        const { type } = record.at(slice, at);
        if (type === RecordType.MARK || type === RecordType.EPOCH) continue;
        call(record, lsn + record.payloadStart);
      }
      lsn += bytes;
      await new Promise<void>((go) => clock.soon(go));
    }
  }

  /**
   * What remains at or behind a place, ascending; a run that spans it is cut. Several may be read at
   * once: each has a window of its own. Throws what reading the log throws.
   */
  async *runs(from = { volume: 0, offset: 0 }): AsyncGenerator<Run> {
    let start = (this.#bases[from.volume] ?? this.#end) + from.offset;
    /** The last run so far: what the next window begins with may belong to it. */
    let last: Run | null = null;
    while (start < this.#end) {
      const window = await this.#windowAt(start);
      let isFirst = true;
      for (const run of window.runs(start)) {
        const whole: Run | null = isFirst && last !== null ? joined(last, run) : null;
        if (whole === null && last !== null) yield last;
        last = whole ?? run;
        isFirst = false;
      }
      start = window.stop;
    }
    if (last !== null) yield last;
  }

  #newWindow(): Window {
    const { sizes, extentsMax } = this.#options;
    return new Window(sizes, this.#bases, extentsMax ?? EXTENTS_MAX);
  }

  /** A window that begins at `start`, or reaches over it. */
  async #windowAt(start: number): Promise<Window> {
    if (this.#planned !== null && start < this.#planned.stop) return this.#planned;
    const window = this.#newWindow();
    window.begin(start, this.#end);
    await this.#visit((record, payloadLsn) => window.add(record, payloadLsn));
    return window;
  }
}

/** The extents of a part of the volumes, laid end to end. */
class Window {
  readonly #sizes: readonly number[];
  readonly #bases: readonly number[];
  readonly #extentsMax: number;
  readonly #maps: readonly ExtentMap[];
  #start = 0;
  #stop = 0;

  constructor(sizes: readonly number[], bases: readonly number[], extentsMax: number) {
    assert(extentsMax >= 1, "a window has room for an extent");
    this.#sizes = sizes;
    this.#bases = bases;
    this.#extentsMax = extentsMax;
    this.#maps = sizes.map(() => new ExtentMap());
  }

  /** Where it ends, after all records were added. */
  get stop(): number {
    return this.#stop;
  }

  /** Begins a window from `start` on, to `stop` at most. To be called once. */
  begin(start: number, stop: number): void {
    this.#start = start;
    this.#stop = stop;
  }

  add(record: RecordReader, payloadLsn: number): void {
    const { type, volume, offset, length, flags } = record;
    const base = this.#bases[volume] ?? 0;
    const first = Math.max(offset, this.#start - base);
    const last = Math.min(offset + length, this.#stop - base);
    const map = this.#maps[volume];
    assert(map !== undefined, "a record's volume is there");
    if (first >= last) return;
    if (type === RecordType.WRITE) map.set(first, last, DATA, payloadLsn + first - offset);
    else map.set(first, last, ZERO, zeroed(type, flags));
    if (this.#count() > this.#extentsMax) this.#shrink();
  }

  #count(): number {
    let count = 0;
    for (const map of this.#maps) count += map.count;
    return count;
  }

  /** Ends the window where its last quarter of extents begins. */
  #shrink(): void {
    const kept = Math.max(1, Math.floor(this.#extentsMax * 3 / 4));
    let index = 0;
    for (const [volume, map] of this.#maps.entries()) {
      const base = this.#bases[volume] ?? 0;
      map.lookup(0, this.#sizes[volume] ?? 0, (first) => {
        if (index++ === kept) this.#stop = base + first;
      });
    }
    assert(this.#stop > this.#start, "a window keeps an extent");
    for (const [volume, map] of this.#maps.entries()) {
      map.cutAt(Math.max(0, this.#stop - (this.#bases[volume] ?? 0)));
    }
    assert(this.#count() <= kept, "extents behind the end are gone");
  }

  /** Its runs at or behind `start`, ascending; a run that spans it is cut. */
  *runs(start: number): Generator<Run> {
    for (const [volume, map] of this.#maps.entries()) {
      const base = this.#bases[volume] ?? 0;
      const size = this.#sizes[volume] ?? 0;
      const runs: Run[] = [];
      map.lookup(Math.min(size, Math.max(0, start - base)), size, (first, last, kind, source) => {
        const length = last - first;
        assert(base + first >= this.#start && base + last <= this.#stop, "an extent of the window");
        if (kind === DATA) pushWrites(runs, volume, first, length, source);
        else runs.push({ volume, offset: first, length, ...zeroRun(source), source: null });
      });
      yield* runs;
    }
  }
}

/** Both runs in one, where the second goes on as the first ended, else null. */
function joined(before: Run, after: Run): Run | null {
  const goesOn = before.volume === after.volume && before.type === after.type &&
    before.flags === after.flags && before.offset + before.length === after.offset;
  if (!goesOn) return null;
  const length = before.length + after.length;
  if (before.type !== RecordType.WRITE) return { ...before, length };
  assert(before.source !== null && after.source !== null, "a write of the log is in the log");
  // Payloads of two records never touch: there is a header between them.
  const isOne = before.source + before.length === after.source;
  return isOne && length <= RECORD_PAYLOAD_BYTES_MAX ? { ...before, length } : null;
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
