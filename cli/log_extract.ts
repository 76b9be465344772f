/**
 * `cascade log extract`: what records of a log wrote, as images of the volumes. Made for the tail that a node kept of
 * an abandoned epoch: somebody has to look at it and decide what of it is still wanted.
 *
 * @module
 */
import { CascadeError } from "../core/errors.ts";
import { inspect } from "../core/log/inspect.ts";
import { type RecordReader, RecordType } from "../core/log/record.ts";
import { SegmentFolder } from "../core/log/segment_file.ts";
import { StateFile } from "../core/state.ts";
import { DenoClock } from "../io/clock.ts";
import { DenoDisk } from "../io/disk.ts";
import { findFolders } from "./log_folder.ts";

/** What was written out. */
export interface Extracted {
  readonly fromLsn: number;
  readonly records: number;
  readonly gaps: number;
  readonly images: readonly { readonly file: string; readonly bytes: number }[];
  readonly list: string;
}

/** One image that is being made: sparse, with what the records wrote where they wrote it. */
interface Image {
  readonly path: string;
  readonly file: Deno.FsFile;
  bytes: number;
}

/**
 * Writes `VOLUME.img` for each volume that the records touch, and `blocks.tsv`, one line a record, into `to`, which must
 * not be there yet. A later record overrides an earlier one. Throws `not-found`, `usage`, and what the disk throws.
 */
export async function extractLog(
  dir: string,
  to: string,
  fromLsn: number | null,
): Promise<Extracted> {
  const disk = new DenoDisk();
  const { logFolder, nodeFolder } = findFolders(disk, dir);
  if (disk.exists(to)) {
    throw new CascadeError("usage", "the folder for the images is there already", {
      where: { folder: to },
      hint: "Name one that is not: nothing is overwritten.",
    });
  }
  const since = fromLsn ?? forkOf(logFolder) ?? 0;
  const names = volumeNames(disk, nodeFolder);
  Deno.mkdirSync(to, { recursive: true, mode: 0o700 });
  const images = new Map<number, Image>();
  const encoder = new TextEncoder();
  const list = Deno.openSync(`${to}/blocks.tsv`, { write: true, createNew: true, mode: 0o600 });
  let records = 0;
  let gaps = 0;
  const visit = (record: RecordReader, bytes: Uint8Array) => {
    if (record.lsn < since || !isOfVolume(record)) return;
    const image = images.get(record.volume) ?? openImage(to, names, record.volume);
    images.set(record.volume, image);
    put(image, record, bytes);
    records++;
    const kind = record.type === RecordType.WRITE ? "write" : "zero";
    const cells = [
      record.lsn,
      names[record.volume] ?? record.volume,
      kind,
      record.offset,
      record.length,
    ];
    writeAll(list, encoder.encode(`${cells.join("\t")}\n`));
  };
  try {
    writeAll(list, encoder.encode("lsn\tvolume\tkind\toffset\tbytes\n"));
    const folder = new SegmentFolder(disk, logFolder, true);
    const visitGap = () => void gaps++;
    await inspect({
      folder,
      clock: new DenoClock(),
      checkpointLsn: null,
      fromLsn: since,
      visit,
      visitGap,
    });
  } finally {
    list.close();
    for (const { file } of images.values()) file.close();
  }
  const made = [...images.values()].map(({ path, bytes }) => ({ file: path, bytes }));
  return { fromLsn: since, records, gaps, images: made, list: `${to}/blocks.tsv` };
}

function isOfVolume({ type }: RecordReader): boolean {
  return type === RecordType.WRITE || type === RecordType.ZERO || type === RecordType.TRIM;
}

/** A folder of an abandoned tail has its LSNs in its name: what stands before the fork is no part of it. */
function forkOf(folder: string): number | null {
  const match = /\/\d+-(\d+)-\d+$/.exec(`/${folder}`);
  return match === null ? null : Number(match[1]);
}

/** By number; none where the node's state is not there. */
function volumeNames(disk: DenoDisk, nodeFolder: string): readonly string[] {
  for (const folder of [nodeFolder, `${nodeFolder}/..`]) {
    try {
      const state = new StateFile(disk, folder).load();
      if (state !== null) return state.volumes.map(({ name }) => name);
    } catch {
      // A damaged one: the images go by number.
    }
  }
  return [];
}

function openImage(folder: string, names: readonly string[], volume: number): Image {
  const path = `${folder}/${names[volume] ?? `volume-${volume}`}.img`;
  const file = Deno.openSync(path, { read: true, write: true, createNew: true, mode: 0o600 });
  return { path, file, bytes: 0 };
}

function put(image: Image, record: RecordReader, bytes: Uint8Array): void {
  const { offset, length, type, payloadStart } = record;
  image.file.seekSync(offset, Deno.SeekMode.Start);
  if (type === RecordType.WRITE) {
    writeAll(image.file, bytes.subarray(payloadStart, payloadStart + length));
  } else zero(image.file, offset, length);
  image.bytes = Math.max(image.bytes, offset + length);
}

const ZEROES = new Uint8Array(1024 * 1024);

/** Only what was written before is written again: the rest is a hole, and stays one. */
function zero(file: Deno.FsFile, offset: number, length: number): void {
  const end = Math.min(offset + length, file.statSync().size);
  for (let at = offset; at < end; at += ZEROES.length) {
    writeAll(file, ZEROES.subarray(0, Math.min(ZEROES.length, end - at)));
  }
  if (offset + length > file.statSync().size) file.truncateSync(offset + length);
}

function writeAll(file: Deno.FsFile, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length;) done += file.writeSync(bytes.subarray(done));
}
