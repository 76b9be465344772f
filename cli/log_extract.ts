/**
 * `cascade log extract`: what records of a log wrote, as images of the volumes. Made for the tail that a node kept of
 * an abandoned epoch: somebody has to look at it and decide what of it is still wanted.
 *
 * @module
 */
import { CascadeError } from "../core/errors.ts";
import { type Delta, loadDelta } from "../core/delta/delta_shelf.ts";
import { RECOVERY_READ_BYTES } from "../core/limits.ts";
import { inspect } from "../core/log/inspect.ts";
import { RecordReader, RecordType } from "../core/log/record.ts";
import { SegmentFolder } from "../core/log/segment_file.ts";
import { StateFile } from "../core/state.ts";
import { DenoClock } from "../io/clock.ts";
import { DenoDisk } from "../io/disk.ts";
import { findFolders } from "./log_folder.ts";

/** What was written out. */
export interface Extracted {
  readonly fromLsn: number;
  readonly records: number;
  /** Deltas that were unpacked, and gaps of the log whose deltas are not there. */
  readonly deltas: number;
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
 * not be there yet. A later record overrides an earlier one; where the log goes on behind a delta whose file is there,
 * what that brought is written out in its place. Throws `not-found`, `usage`, and what the disk throws.
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
  const deltas = deltasIn(disk, logFolder, nodeFolder).filter(({ toLsn }) => toLsn > since);
  Deno.mkdirSync(to, { recursive: true, mode: 0o700 });
  const images = new Images(to, volumeNames(disk, nodeFolder));
  const counts = { records: 0, gaps: 0, deltas: 0 };
  const takeUpTo = (lsn: number) => {
    const missed = deltas.length;
    while (deltas[0] !== undefined && deltas[0].toLsn <= lsn) {
      unpack(deltas[0], images);
      counts.deltas++;
      deltas.shift();
    }
    return missed > deltas.length;
  };
  try {
    const folder = new SegmentFolder(disk, logFolder, true);
    await inspect({
      folder,
      clock: new DenoClock(),
      checkpointLsn: null,
      fromLsn: since,
      visit: (record, bytes) => {
        if (record.lsn < since || !isOfVolume(record)) return;
        images.put(record, bytes, record.lsn);
        counts.records++;
      },
      visitGap: ({ toLsn }) => {
        if (!takeUpTo(toLsn)) counts.gaps++;
      },
    });
    takeUpTo(Infinity);
  } finally {
    images.close();
    for (const delta of deltas) delta.close();
  }
  return { fromLsn: since, ...counts, images: images.made, list: images.list };
}

/** The deltas that the log goes on behind, in the order in which they were taken. */
function deltasIn(disk: DenoDisk, logFolder: string, nodeFolder: string): Delta[] {
  const folders = [logFolder, `${nodeFolder}/delta`].filter((folder) => disk.exists(folder));
  return folders.flatMap((folder) =>
    disk.list(folder).filter((name) => name.endsWith(".delta"))
      .map((name) => loadDelta(disk, `${folder}/${name}`))
  ).toSorted((a, b) => a.toLsn - b.toLsn);
}

/** Each record of a delta: it holds blocks as of the delta's end. */
function unpack(delta: Delta, images: Images): void {
  const slice = new Uint8Array(RECOVERY_READ_BYTES);
  const record = new RecordReader();
  try {
    for (let position = 0; position < delta.bodyBytes;) {
      const bytes = delta.read(position, slice);
      for (let at = 0; at < bytes; at += record.totalBytes) {
        record.at(slice.subarray(0, bytes), at);
        if (isOfVolume(record)) images.put(record, slice, delta.toLsn);
      }
      position += bytes;
    }
  } finally {
    delta.close();
  }
}

/** The images that are made, and the list of what is in them. */
class Images {
  readonly list: string;
  readonly #folder: string;
  readonly #names: readonly string[];
  readonly #images = new Map<number, Image>();
  readonly #list: Deno.FsFile;
  readonly #encoder = new TextEncoder();

  constructor(folder: string, names: readonly string[]) {
    this.#folder = folder;
    this.#names = names;
    this.list = `${folder}/blocks.tsv`;
    this.#list = Deno.openSync(this.list, { write: true, createNew: true, mode: 0o600 });
    this.#line("lsn", "volume", "kind", "offset", "bytes");
  }

  get made(): Extracted["images"] {
    return [...this.#images.values()].map(({ path, bytes }) => ({ file: path, bytes }));
  }

  /** What the record wrote; `lsn`: what the list tells as its place. */
  put(record: RecordReader, bytes: Uint8Array, lsn: number): void {
    const { volume, type, offset, length } = record;
    const image = this.#images.get(volume) ?? openImage(this.#folder, this.#names, volume);
    this.#images.set(volume, image);
    put(image, record, bytes);
    const kind = type === RecordType.WRITE ? "write" : "zero";
    this.#line(lsn, this.#names[volume] ?? volume, kind, offset, length);
  }

  #line(...cells: readonly (string | number)[]): void {
    writeAll(this.#list, this.#encoder.encode(`${cells.join("\t")}\n`));
  }

  close(): void {
    this.#list.close();
    for (const { file } of this.#images.values()) file.close();
  }
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
