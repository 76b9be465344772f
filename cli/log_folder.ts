/**
 * The log that a folder on the command line means, and what is known of it beside the log itself.
 *
 * @module
 */
import { CascadeError, describeError, isCascadeError } from "../core/errors.ts";
import type { Gap } from "../core/log/gaps.ts";
import { inspect, type Inspection } from "../core/log/inspect.ts";
import {
  readEpoch,
  readMark,
  RecordFlag,
  type RecordReader,
  RecordType,
} from "../core/log/record.ts";
import { type SegmentFile, SegmentFolder } from "../core/log/segment_file.ts";
import { StateFile } from "../core/state.ts";
import { DenoClock } from "../io/clock.ts";
import { DenoDisk } from "../io/disk.ts";
import { tell } from "./output.ts";

/** One record as `log dump` prints it. */
export interface RecordSummary {
  readonly lsn: number;
  readonly type: "write" | "zero" | "trim" | "mark" | "epoch";
  readonly epoch: number;
  readonly timeMs: number;
  /** Of the whole record in the log. */
  readonly bytes: number;
  readonly file: string;
  /** Of the record in the file. */
  readonly fileOffset: number;
  /** Write, zero and trim: what is touched. */
  readonly volume?: number;
  readonly offset?: number;
  readonly length?: number;
  /** Zero: no hole is wanted. */
  readonly noHole?: boolean;
  /** Mark: its name. */
  readonly name?: string;
  /** Epoch: its id and the node that reigns. */
  readonly id?: string;
  readonly node?: string;
}

/** What is not in the log because it came as a delta, as `log dump` prints it between records. */
export interface GapSummary {
  readonly type: "delta";
  /** Where the records before it end. */
  readonly lsn: number;
  /** Where the records behind it begin. */
  readonly toLsn: number;
  /** The segment behind it. */
  readonly file: string;
}

/** One line of `log dump`. */
export type DumpLine = RecordSummary | GapSummary;

/** A log to look into. */
export interface OpenedLog {
  inspect(): Promise<Inspection>;
  /** Calls `print` with records from `fromLsn` on, `limit` at the most, and the gaps between them. */
  dump(fromLsn: number, limit: number, print: (line: DumpLine) => void): Promise<void>;
}

/** Finds the log: `dir` is a node's folder, or the log's own. Throws `not-found`. */
export function openLog(dir: string): OpenedLog {
  const disk = new DenoDisk();
  const { logFolder, nodeFolder } = findFolders(disk, dir);
  const folder = new SegmentFolder(disk, logFolder, true);
  const clock = new DenoClock();
  return {
    inspect: () => inspect({ folder, clock, checkpointLsn: checkpointOf(disk, nodeFolder) }),
    dump: (fromLsn, limit, print) => dump(folder, clock, fromLsn, limit, print),
  };
}

/** The folder of the log that `dir` means, and that of its node. Throws `not-found`. */
export function findFolders(
  disk: DenoDisk,
  dir: string,
): { logFolder: string; nodeFolder: string } {
  const path = dir.replace(/(?<=.)\/+$/, "");
  if (!disk.exists(path)) throw notFound(path, "there is no such folder");
  if (disk.exists(`${path}/log`)) return { logFolder: `${path}/log`, nodeFolder: path };
  if (!disk.list(path).some((name) => /\.(seg|delta)$/.test(name))) {
    throw notFound(path, "the folder holds no log");
  }
  return { logFolder: path, nodeFolder: `${path}/..` };
}

function notFound(path: string, message: string): CascadeError {
  return new CascadeError("not-found", message, {
    where: { folder: path },
    hint: "Name a node's folder: `dir` in the topology",
  });
}

/** A log without its node's state is still worth a look. */
function checkpointOf(disk: DenoDisk, nodeFolder: string): number | null {
  try {
    return new StateFile(disk, nodeFolder).load()?.checkpointLsn ?? null;
  } catch (error) {
    if (!isCascadeError(error)) throw error;
    tell(`note: the checkpoint is not known: ${describeError(error)}`);
    return null;
  }
}

/** Thrown to end a walk that has printed enough. */
class Enough extends Error {}

async function dump(
  folder: SegmentFolder,
  clock: DenoClock,
  fromLsn: number,
  limit: number,
  print: (line: DumpLine) => void,
): Promise<void> {
  let left = limit;
  const visit = (record: RecordReader, bytes: Uint8Array, file: SegmentFile) => {
    if (record.lsn < fromLsn) return;
    if (left-- <= 0) throw new Enough();
    print(summaryOf(record, bytes, file));
  };
  const visitGap = ({ fromLsn, toLsn }: Gap, file: SegmentFile) => {
    if (left > 0) print({ type: "delta", lsn: fromLsn, toLsn, file: file.path });
  };
  try {
    const options = { folder, clock, checkpointLsn: null, fromLsn, visit, visitGap };
    const { damage } = await inspect(options);
    if (damage.length > 0) tell(`note: the log is damaged; see: cascade log check ${folder.path}`);
  } catch (error) {
    if (!(error instanceof Enough)) throw error;
  }
}

const TYPE_NAMES = {
  [RecordType.WRITE]: "write",
  [RecordType.ZERO]: "zero",
  [RecordType.TRIM]: "trim",
  [RecordType.MARK]: "mark",
  [RecordType.EPOCH]: "epoch",
} as const;

function summaryOf(record: RecordReader, bytes: Uint8Array, file: SegmentFile): RecordSummary {
  const { lsn, type, epoch, timeMs, volume, offset, length, totalBytes } = record;
  const common = {
    lsn,
    type: TYPE_NAMES[type],
    epoch,
    timeMs,
    bytes: totalBytes,
    file: file.path,
    fileOffset: file.offsetOf(lsn),
  };
  switch (type) {
    case RecordType.MARK:
      return { ...common, name: readMark(bytes, record) };
    case RecordType.EPOCH: {
      const { id, node } = readEpoch(bytes, record);
      return { ...common, id, node };
    }
    case RecordType.ZERO:
      return { ...common, volume, offset, length, noHole: record.flags === RecordFlag.NO_HOLE };
    case RecordType.WRITE:
    case RecordType.TRIM:
      return { ...common, volume, offset, length };
  }
}
