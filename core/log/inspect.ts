/**
 * Looking into a log without changing anything: the log of a stopped node, or a damaged one. Where
 * recovery stops at the first damage, this goes on behind it and tells all of it.
 *
 * @module
 */
import { RECORD_BYTES_MAX } from "../limits.ts";
import type { Clock } from "../ports.ts";
import { type Gap, gapsOf, provenBy } from "./gaps.ts";
import { RECORD_ALIGN_BYTES } from "./record.ts";
import type { Watermark } from "./segment.ts";
import type { SegmentFile, SegmentFolder } from "./segment_file.ts";
import { type Damage, type Survey, survey } from "./survey.ts";
import { isRecordAt, type RecordVisitor, Walker } from "./walk.ts";

/** What a segment file is found to be. */
export type SegmentKind = "stream" | "free" | "unfinished" | "damaged";

/** One segment file. */
export interface SegmentReport {
  readonly file: string;
  readonly state: SegmentKind;
  readonly fileBytes: number;
  /** Of a stream segment: LSNs of its first record and behind its last; else null. */
  readonly baseLsn: number | null;
  readonly endLsn: number | null;
  /** Of a jump, a segment that begins after a delta: where the log before it ended; else null. */
  readonly jumpFromLsn: number | null;
  readonly records: number;
  /** In its newest watermark; null when it has none. */
  readonly durableLsn: number | null;
  readonly upstreamMark: number | null;
}

/** What stands behind the end of the log: not flushed when the power went, so it proves nothing. */
export interface TornEnd {
  readonly file: string;
  readonly offset: number;
  readonly lsn: number;
  /** What stands there instead of a record. */
  readonly found: string;
}

/** A whole log. */
export interface Inspection {
  readonly folder: string;
  /** The node's checkpoint; null when it is not known. */
  readonly checkpointLsn: number | null;
  /** Everything below must be there: by the checkpoint, the newest watermark or the newest jump. */
  readonly knownDurableLsn: number;
  readonly upstreamMark: number;
  readonly startLsn: number;
  readonly endLsn: number;
  readonly records: number;
  /** Stream segments by LSN, then the others by name. */
  readonly segments: readonly SegmentReport[];
  /** What came as a delta, and is not in the log: between two segments, in order. */
  readonly gaps: readonly Gap[];
  readonly damage: readonly Damage[];
  /** Null when nothing that looks like a record stands behind the end. */
  readonly torn: TornEnd | null;
}

/** How to look. */
export interface InspectOptions {
  readonly folder: SegmentFolder;
  readonly clock: Clock;
  readonly checkpointLsn: number | null;
  /** Segments that end before this LSN are passed over. */
  readonly fromLsn?: number;
  readonly visit?: RecordVisitor;
  /** Called with each gap, between the records before it and those behind; `file` is the jump. */
  readonly visitGap?: (gap: Gap, file: SegmentFile) => void;
}

/** Reads a whole log. Throws `wrong-folder`, what the disk throws, and what `visit` throws. */
export async function inspect(options: InspectOptions): Promise<Inspection> {
  const found = survey(options.folder);
  const inspector = new Inspector(options, found);
  await inspector.run();
  return inspector.result();
}

class Inspector {
  readonly #options: InspectOptions;
  readonly #survey: Survey;
  readonly #knownDurableLsn: number;
  readonly #walker: Walker;
  readonly #records = new Map<SegmentFile, number>();
  readonly #damage: Damage[];
  readonly #buffer = new Uint8Array(RECORD_BYTES_MAX);
  #endLsn = 0;
  #torn: TornEnd | null = null;

  constructor(options: InspectOptions, found: Survey) {
    this.#options = options;
    this.#survey = found;
    this.#damage = [...found.damage];
    this.#knownDurableLsn = Math.max(
      options.checkpointLsn ?? 0,
      found.watermark?.durableLsn ?? 0,
      provenBy(found.streams),
    );
    this.#walker = new Walker(options.clock, (record, bytes, file) => {
      this.#records.set(file, (this.#records.get(file) ?? 0) + 1);
      options.visit?.(record, bytes, file);
    });
  }

  async run(): Promise<void> {
    const { streams } = this.#survey;
    const { checkpointLsn, fromLsn = 0, visitGap } = this.#options;
    const first = streams[0];
    this.#endLsn = first?.baseLsn ?? 0;
    if (first !== undefined && checkpointLsn !== null && first.baseLsn > checkpointLsn) {
      this.#missing(first, checkpointLsn, first.baseLsn);
    }
    for (const [index, file] of streams.entries()) {
      const nextLsn = streams[index + 1]?.joinLsn ?? Infinity;
      const joinLsn = index === 0 ? file.baseLsn : file.joinLsn;
      if (joinLsn > this.#endLsn) {
        if (this.#endLsn >= this.#knownDurableLsn) break;
        this.#missing(file, this.#endLsn, joinLsn);
      }
      if (joinLsn < file.baseLsn && file.baseLsn > fromLsn) {
        visitGap?.({ fromLsn: joinLsn, toLsn: file.baseLsn }, file);
      }
      this.#endLsn = file.endLsn = nextLsn <= fromLsn ? nextLsn : await this.#walk(file, nextLsn);
      if (this.#endLsn > nextLsn) this.#overlap(file, nextLsn);
    }
    if (this.#endLsn < this.#knownDurableLsn && !this.#isTold(this.#endLsn)) {
      const last = streams.at(-1);
      this.#damage.push({
        file: last?.path ?? this.#options.folder.path,
        offset: last?.offsetOf(this.#endLsn) ?? 0,
        lsn: this.#endLsn,
        found: `the log ends here, and is known to be durable up to LSN ${this.#knownDurableLsn}`,
      });
    }
  }

  #isTold(lsn: number): boolean {
    return this.#damage.some((damage) => damage.lsn === lsn);
  }

  /** A record that should end where the next segment, or a gap, begins. */
  #overlap(file: SegmentFile, lsn: number): void {
    const found = `a record reaches over LSN ${lsn}, where the segment ends`;
    this.#damage.push({ file: file.path, offset: file.offsetOf(lsn), lsn, found });
  }

  /** Records that no segment holds. */
  #missing(behind: SegmentFile, fromLsn: number, toLsn: number): void {
    if (this.#isTold(fromLsn)) return;
    const found = `the records from LSN ${fromLsn} to ${toLsn} are missing before this segment`;
    this.#damage.push({ file: behind.path, offset: 0, lsn: fromLsn, found });
  }

  /** Walks one segment, over all damage; returns where it ends. */
  async #walk(file: SegmentFile, nextLsn: number): Promise<number> {
    for (let fromLsn = file.baseLsn;;) {
      const { lsn, reason } = await this.#walker.walk(file, fromLsn, nextLsn);
      if (lsn >= nextLsn) return lsn;
      if (lsn >= this.#knownDurableLsn) {
        await this.#lookBehind(file, lsn, reason);
        return lsn;
      }
      this.#damage.push({ file: file.path, offset: file.offsetOf(lsn), lsn, found: reason });
      const againLsn = await this.#seekRecord(file, lsn + RECORD_ALIGN_BYTES, nextLsn);
      // Nothing whole follows in this segment: the next one may hold what comes after it.
      if (againLsn === null) return lsn;
      fromLsn = againLsn;
    }
  }

  async #seekRecord(file: SegmentFile, fromLsn: number, untilLsn: number): Promise<number | null> {
    let result: number | null = null;
    await this.#walker.seekHeaders(file, fromLsn, (lsn) => {
      if (lsn >= untilLsn) return true;
      if (!isRecordAt(file, lsn, this.#buffer)) return false;
      result = lsn;
      return true;
    });
    return result;
  }

  async #lookBehind(file: SegmentFile, endLsn: number, reason: string): Promise<void> {
    await this.#walker.seekHeaders(file, endLsn, () => {
      this.#torn = { file: file.path, offset: file.offsetOf(endLsn), lsn: endLsn, found: reason };
      return true;
    });
  }

  result(): Inspection {
    const { streams, watermark } = this.#survey;
    return {
      folder: this.#options.folder.path,
      checkpointLsn: this.#options.checkpointLsn,
      knownDurableLsn: this.#knownDurableLsn,
      upstreamMark: Math.max(watermark?.upstreamMark ?? 0, provenBy(streams)),
      startLsn: streams[0]?.baseLsn ?? 0,
      endLsn: this.#endLsn,
      records: [...this.#records.values()].reduce((sum, count) => sum + count, 0),
      segments: this.#segments(),
      gaps: gapsOf(streams),
      damage: this.#damage,
      torn: this.#torn,
    };
  }

  #segments(): SegmentReport[] {
    const { streams, free, unfinished, unknown, watermarks } = this.#survey;
    const report = (state: SegmentKind) => (file: SegmentFile): SegmentReport => {
      const mark: Watermark | undefined = watermarks.get(file);
      return {
        file: file.path,
        state,
        fileBytes: file.sizeBytes(),
        baseLsn: state === "stream" ? file.baseLsn : null,
        endLsn: state === "stream" ? file.endLsn : null,
        jumpFromLsn: file.jumpFromLsn,
        records: this.#records.get(file) ?? 0,
        durableLsn: mark?.durableLsn ?? null,
        upstreamMark: mark?.upstreamMark ?? null,
      };
    };
    const others = [
      ...free.map(report("free")),
      ...unfinished.map(report("unfinished")),
      ...unknown.map(report("damaged")),
    ];
    return [
      ...streams.map(report("stream")),
      ...others.sort((a, b) => a.file < b.file ? -1 : 1),
    ];
  }
}
