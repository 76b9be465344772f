/**
 * Recovery: what a log holds, read from end to end.
 *
 *  1. The header page of every segment file is read. Free ones are spare; a damaged one is kept
 *     aside until it is known whether it is needed.
 *  2. The newest watermark (highest sequence) and the checkpoint tell what is **known durable**.
 *  3. The stream segments are walked in the order of their first LSNs; every record is checked.
 *     A segment ends where the next one begins.
 *  4. The log ends at the first place where no whole record with the right LSN stands, or one of
 *     an older epoch (a recycled file, or a log that was cut back, holds older bytes).
 *  5. If that lies below what is known durable it is damage: it is told with its place, and nothing
 *     is changed. Else it is a torn end: a write that was not flushed when the power went. Later
 *     sectors of it may have survived, so whole records behind the hole prove nothing; segments
 *     behind it are given back.
 *
 * @module
 */
import { CascadeError } from "../errors.ts";
import type { Epoch } from "../history.ts";
import { RECOVERY_READ_BYTES, SEGMENT_HEADER_BYTES } from "../limits.ts";
import type { Clock, Disk, DiskFile } from "../ports.ts";
import { checkRecord, readEpoch, RecordReader, RecordType } from "./record.ts";
import { readHeaderPage, type Segment, SegmentState, type Watermark } from "./segment.ts";

/** What recovery met. */
export interface RecoveryReport {
  readonly records: number;
  /** Bytes of a record that was begun and not completed at the end; 0 when the end is clean. */
  readonly tornBytes: number;
  /** What stood at the end of the log. */
  readonly endReason: string;
  /** Epoch records that the log holds, in order. */
  readonly epochs: readonly Epoch[];
  /** The primary's time in the last record; 0 in an empty log. */
  readonly lastTimeMs: number;
  /** Watermark slots that are damaged: told, not fatal, since there is a second slot. */
  readonly damagedSlots: number;
}

/** What is on the disk. */
export interface RecoveredLog {
  readonly segments: Segment[];
  /** Free files, files behind the end, and damaged ones that are not needed. */
  readonly leftover: { readonly name: string; readonly file: DiskFile; readonly free: boolean }[];
  readonly watermark: Watermark;
  readonly endLsn: number;
  readonly report: RecoveryReport;
}

/** Called with every whole record, for the tools that list them. */
export type RecordVisitor = (record: RecordReader, segment: Segment, fileOffset: number) => void;

/** What recovery works on. */
export interface RecoveryInput {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly folder: string;
  readonly checkpointLsn: number;
  /** Opens the files read-only, for the tools. */
  readonly readOnly: boolean;
  readonly visit?: RecordVisitor;
}

interface Found {
  readonly segment: Segment;
  readonly free: boolean;
  readonly damaged: boolean;
}

/** Reads a log's folder; see the module's text. Throws `log-corrupt`. Changes nothing. */
export async function recover(input: RecoveryInput): Promise<RecoveredLog> {
  const found: Found[] = [];
  try {
    return await recoverFiles(input, found);
  } catch (error) {
    for (const { segment } of found) segment.file.close();
    throw error;
  }
}

async function recoverFiles(input: RecoveryInput, found: Found[]): Promise<RecoveredLog> {
  let watermark: Watermark = { sequence: 0, durableLsn: 0, upstreamMark: 0 };
  let damagedSlots = 0;
  for (const name of input.disk.list(input.folder)) {
    if (!name.endsWith(".seg")) continue;
    const file = input.disk.open(`${input.folder}/${name}`, { readOnly: input.readOnly });
    const page = readHeaderPage(file);
    damagedSlots += page.damagedSlots;
    for (const mark of page.watermarks) if (mark.sequence > watermark.sequence) watermark = mark;
    const baseLsn = page.header?.baseLsn ?? 0;
    found.push({
      segment: { name, file, baseLsn, endLsn: baseLsn },
      free: page.header?.state === SegmentState.FREE,
      damaged: page.header === null,
    });
  }
  const streams = found.filter(({ free, damaged }) => !free && !damaged)
    .map(({ segment }) => segment).sort((a, b) => a.baseLsn - b.baseLsn);
  const walk = new Walk(input, streams, Math.max(input.checkpointLsn, watermark.durableLsn));
  await walk.run(found.filter(({ damaged }) => damaged).map(({ segment }) => segment.name));
  const used = new Set(walk.segments);
  return {
    segments: walk.segments,
    leftover: found.filter(({ segment }) => !used.has(segment))
      .map(({ segment, free }) => ({ name: segment.name, file: segment.file, free })),
    watermark,
    endLsn: walk.endLsn,
    report: walk.report(damagedSlots),
  };
}

/** Steps 3 to 5. */
class Walk {
  readonly segments: Segment[] = [];
  endLsn = 0;
  readonly #input: RecoveryInput;
  readonly #streams: readonly Segment[];
  readonly #knownDurableLsn: number;
  readonly #buffer = new Uint8Array(RECOVERY_READ_BYTES);
  readonly #record = new RecordReader();
  readonly #epochs: Epoch[] = [];
  #records = 0;
  #lastEpoch = 0;
  #lastTimeMs = 0;
  #tornBytes = 0;
  #endReason = "the log is empty";

  constructor(input: RecoveryInput, streams: readonly Segment[], knownDurableLsn: number) {
    this.#input = input;
    this.#streams = streams;
    this.#knownDurableLsn = knownDurableLsn;
  }

  async run(damagedNames: readonly string[]): Promise<void> {
    const first = this.#streams[0];
    this.endLsn = first?.baseLsn ?? 0;
    if (first !== undefined && first.baseLsn > this.#input.checkpointLsn) {
      this.#endReason = `the log begins at LSN ${first.baseLsn}`;
      throw this.#damage(first, this.#input.checkpointLsn, damagedNames);
    }
    for (const [index, segment] of this.#streams.entries()) {
      // A gap: the segment before ended early, and that was judged to be the torn end.
      if (segment.baseLsn !== this.endLsn) break;
      this.segments.push(segment);
      await this.#walkSegment(segment);
      segment.endLsn = this.endLsn;
      const next = this.#streams[index + 1];
      if (next?.baseLsn === this.endLsn) this.#tornBytes = 0;
      else this.#judge(segment, this.endLsn, damagedNames);
    }
    if (first === undefined) this.#judge(undefined, 0, damagedNames);
  }

  /** The log ends at `lsn`: is that where it may end? */
  #judge(segment: Segment | undefined, lsn: number, damagedNames: readonly string[]): void {
    if (lsn < this.#knownDurableLsn) throw this.#damage(segment, lsn, damagedNames);
  }

  #damage(
    segment: Segment | undefined,
    lsn: number,
    damagedNames: readonly string[],
  ): CascadeError {
    const header = damagedNames.length === 0
      ? ""
      : `; damaged header in ${damagedNames.join(", ")}`;
    return new CascadeError(
      "log-corrupt",
      `the log is damaged: ${this.#endReason} at LSN ${lsn}, but it is known to be durable up to ` +
        `LSN ${this.#knownDurableLsn}${header}`,
      {
        where: {
          file: `${this.#input.folder}/${segment?.name ?? damagedNames[0] ?? ""}`,
          offset: segment === undefined ? 0 : SEGMENT_HEADER_BYTES + lsn - segment.baseLsn,
          LSN: lsn,
        },
        hint: "Nothing was changed. Look after the disk; `cascade log check` lists the damage. A " +
          "node below the primary can be filled anew: remove its folder and its volumes",
      },
    );
  }

  /** Checks record after record until none follows. */
  async #walkSegment(segment: Segment): Promise<void> {
    const fileBytes = segment.file.size();
    let offset = SEGMENT_HEADER_BYTES;
    for (;;) {
      const wanted = Math.min(this.#buffer.length, fileBytes - offset);
      if (wanted <= 0) {
        this.#endReason = "the segment is full";
        return;
      }
      const bytes = this.#buffer.subarray(0, wanted);
      segment.file.readAt(bytes, offset);
      const taken = this.#walkBuffer(bytes, segment, offset);
      offset += taken;
      const last = wanted < this.#buffer.length;
      if (this.#endReason !== "cut short" || last || taken === 0) return;
      await new Promise<void>((go) => this.#input.clock.soon(go));
    }
  }

  /** Takes whole records from `bytes`; returns how many bytes, and notes why it stopped. */
  #walkBuffer(bytes: Uint8Array, segment: Segment, offset: number): number {
    const record = this.#record;
    let at = 0;
    for (;;) {
      const fault = checkRecord(bytes, at, bytes.length - at);
      if (fault !== null) {
        this.#endReason = fault;
        this.#tornBytes = fault === "wrong CRC" ? record.at(bytes, at).totalBytes : 0;
        return at;
      }
      record.at(bytes, at);
      if (record.lsn !== this.endLsn || record.epoch < this.#lastEpoch) {
        this.#endReason = record.lsn === this.endLsn
          ? `a record of the older epoch ${record.epoch}`
          : `a record of LSN ${record.lsn}`;
        this.#tornBytes = 0;
        return at;
      }
      this.#take(record, bytes);
      this.#input.visit?.(record, segment, offset + at);
      at += record.totalBytes;
    }
  }

  #take(record: RecordReader, bytes: Uint8Array): void {
    this.#records++;
    this.#lastEpoch = record.epoch;
    this.#lastTimeMs = record.timeMs;
    this.endLsn += record.totalBytes;
    if (record.type === RecordType.EPOCH) this.#epochs.push(readEpoch(bytes, record));
  }

  report(damagedSlots: number): RecoveryReport {
    return {
      records: this.#records,
      tornBytes: this.#tornBytes,
      endReason: this.#endReason,
      epochs: this.#epochs,
      lastTimeMs: this.#lastTimeMs,
      damagedSlots,
    };
  }
}
