/**
 * What the header pages of a log's segment files tell, before any record is read.
 *
 * @module
 */
import { CascadeError } from "../errors.ts";
import { SEGMENT_VERSION, SegmentState, SLOT_OFFSETS, type Watermark } from "./segment.ts";
import { SegmentFile, type SegmentFolder } from "./segment_file.ts";

/** Damage, and where it is. */
export interface Damage {
  readonly file: string;
  /** Byte of the file at which what is damaged begins. */
  readonly offset: number;
  /** LSN of the record that should be there; null in a header page. */
  readonly lsn: number | null;
  /** What was found instead. */
  readonly found: string;
}

/** The segment files of a log by what they are for. */
export interface Survey {
  /** By the LSN of their first record. */
  readonly streams: readonly SegmentFile[];
  readonly free: readonly SegmentFile[];
  /** Blank headers: made and not finished. */
  readonly unfinished: readonly SegmentFile[];
  /** Damaged headers: it is not known what is in them. */
  readonly unknown: readonly SegmentFile[];
  /** The newest of all files, whatever their state; null when none was ever written. */
  readonly watermark: Watermark | null;
  /** The newest of each file that has one. */
  readonly watermarks: ReadonlyMap<SegmentFile, Watermark>;
  readonly damage: readonly Damage[];
}

/**
 * Reads all header pages; leaves the files to `folder`. Throws `wrong-folder` when a file is of a
 * format that this version does not know.
 */
export function survey(folder: SegmentFolder): Survey {
  const streams: SegmentFile[] = [];
  const free: SegmentFile[] = [];
  const unfinished: SegmentFile[] = [];
  const unknown: SegmentFile[] = [];
  const damage: Damage[] = [];
  const watermarks = new Map<SegmentFile, Watermark>();
  let watermark: Watermark | null = null;
  for (const name of folder.names()) {
    const file = new SegmentFile(folder, name);
    const { header, slots } = file.readHeaderPage();
    let newest = -1;
    for (const [slot, found] of slots.entries()) {
      const offset = SLOT_OFFSETS[slot] ?? 0;
      if (found.kind === "damaged") damage.push(damaged(file, offset, "a slot of the watermark"));
      if (found.kind !== "whole" || found.value.sequence <= newest) continue;
      newest = found.value.sequence;
      file.foundSlot(slot);
      watermarks.set(file, found.value);
      if (watermark === null || newest > watermark.sequence) watermark = found.value;
    }
    switch (header.kind) {
      case "foreign":
        throw foreign(file, header.version, header.flags);
      case "damaged":
        damage.push(damaged(file, 0, "the header"));
        unknown.push(file);
        break;
      case "blank":
        unfinished.push(file);
        break;
      case "whole":
        file.beginAt(header.value.baseLsn, header.value.jumpFromLsn ?? null);
        (header.value.state === SegmentState.STREAM ? streams : free).push(file);
    }
  }
  streams.sort((a, b) => a.baseLsn - b.baseLsn);
  return { streams, free, unfinished, unknown, watermark, watermarks, damage };
}

function damaged(file: SegmentFile, offset: number, what: string): Damage {
  return { file: file.path, offset, lsn: null, found: `${what} of the segment is damaged` };
}

function foreign(file: SegmentFile, version: number, flags: number): CascadeError {
  const found = version === SEGMENT_VERSION ? `${version} with flags ${flags}` : version;
  return new CascadeError(
    "wrong-folder",
    `the log has format ${found}, this version reads format ${SEGMENT_VERSION}`,
    { where: { file: file.path }, hint: "Run the version of cascade that wrote it" },
  );
}
