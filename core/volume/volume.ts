/**
 * One volume of a node: its file or device, and over it the extents that are in the log but not
 * yet applied. Reads see what was appended; {@linkcode Volume.apply} moves it down.
 *
 * @module
 */
import { assert } from "../assert.ts";
import { CascadeError } from "../errors.ts";
import type { DataRange, Disk, DiskFile } from "../ports.ts";
import { mergedRanges } from "./data_ranges.ts";
import { DATA, ExtentMap, ZERO } from "./extents.ts";
import { checkpointPath } from "../seed/checkpoint.ts";
import { checkOwner } from "./owner_note.ts";

/**
 * A file system with large folios makes them as large as the write that fills them, and every later
 * small write into one walks all of its blocks: measured on ext4, 30 us instead of 3 for 4 KiB after
 * writes of 1 MiB. So large writes are applied in slices.
 */
const WRITE_SLICE_BYTES = 16 * 1024;

/** Reads the bytes of a record's payload at a log position. */
export type LogReader = (lsn: number, into: Uint8Array) => void;

/** See the module's text. All ranges were checked against the size by the caller. */
export class Volume {
  readonly name: string;
  readonly sizeBytes: number;
  readonly #file: DiskFile;
  readonly #overlay = new ExtentMap();
  readonly #readLog: LogReader;

  constructor(name: string, sizeBytes: number, file: DiskFile, readLog: LogReader) {
    this.name = name;
    this.sizeBytes = sizeBytes;
    this.#file = file;
    this.#readLog = readLog;
  }

  /** Extents that wait to be applied: what bounds the memory of the overlay. */
  get overlayCount(): number {
    return this.#overlay.count;
  }

  /** Notes appended bytes; `source` is the log position of their first. Hot path. */
  overlayWrite(offset: number, length: number, source: number): void {
    this.#overlay.set(offset, offset + length, DATA, source);
  }

  /** Notes an appended zero or trim record. */
  overlayZero(offset: number, length: number, recordLsn: number): void {
    this.#overlay.set(offset, offset + length, ZERO, recordLsn);
  }

  /** Forgets what was applied. */
  prune(appliedLsn: number): void {
    this.#overlay.prune(appliedLsn);
  }

  /** Reads what was appended: the volume, with the overlay on top. Hot path. */
  read(into: Uint8Array, offset: number): void {
    const end = offset + into.length;
    if (this.#overlay.isEmptyIn(offset, end)) {
      this.#file.readAt(into, offset);
      return;
    }
    let at = offset;
    this.#overlay.lookup(offset, end, (start, stop, kind, source) => {
      if (start > at) this.#file.readAt(into.subarray(at - offset, start - offset), at);
      const piece = into.subarray(start - offset, stop - offset);
      if (kind === DATA) this.#readLog(source, piece);
      else piece.fill(0);
      at = stop;
    });
    if (at < end) this.#file.readAt(into.subarray(at - offset), at);
  }

  /** The same file, under an overlay of its own: an image as of another LSN. Never to be closed. */
  view(): Volume {
    return new Volume(this.name, this.sizeBytes, this.#file, this.#readLog);
  }

  /** Reads the applied image alone: what a read-only export of a secondary shows. */
  readApplied(into: Uint8Array, offset: number): void {
    this.#file.readAt(into, offset);
  }

  /** Applies the bytes of a durable, stable write record. */
  applyWrite(payload: Uint8Array, offset: number): void {
    assert(offset + payload.length <= this.sizeBytes, "a write stays within its volume");
    for (let at = 0; at < payload.length; at += WRITE_SLICE_BYTES) {
      this.#file.writeAt(payload.subarray(at, at + WRITE_SLICE_BYTES), offset + at);
    }
  }

  /** Applies a durable, stable zero or trim record. */
  applyZero(offset: number, length: number, hole: boolean): void {
    assert(offset + length <= this.sizeBytes, "a zero stays within its volume");
    this.#file.zeroAt(offset, length, hole);
  }

  /**
   * The ranges that may hold data, in order, merged: those of the file and of the overlay. At most
   * `rangesMax`: when there are as many, what lies past the last is not told.
   */
  dataRanges(offset: number, length: number, rangesMax = Infinity): DataRange[] {
    return mergedRanges(this.#file, this.#overlay, offset, offset + length, rangesMax);
  }

  appliedDataRanges(offset: number, length: number, rangesMax = Infinity): DataRange[] {
    return this.#file.dataRanges(offset, length, rangesMax);
  }

  flush(): Promise<void> {
    return this.#file.flush();
  }

  close(): void {
    this.#file.close();
  }
}

/** What a volume must be when it is opened. */
export interface VolumeExpectation {
  readonly name: string;
  readonly path: string;
  readonly sizeBytes: number;
  /** First start of the node: a missing file is made, and an existing one adopted. */
  readonly first: boolean;
  readonly owner: { readonly cluster: string; readonly node: string };
}

/**
 * Opens a volume's file or device, locked, and checks that it is the one that is meant. Throws
 * `locked`, `wrong-volume` (another size, missing, of another node, of nobody known after the first
 * start), or what the disk throws.
 */
export function openVolumeFile(disk: Disk, want: VolumeExpectation): DiskFile {
  const where = { volume: want.name, file: want.path };
  if (!disk.exists(want.path) && !want.first) {
    throw new CascadeError("wrong-volume", "the volume is gone: its file is not there any more", {
      where,
      hint: "Put it back as it was. To fill the node anew, remove the node's folder too",
    });
  }
  const file = disk.open(want.path, { create: want.first, lock: true });
  try {
    if (!file.isDevice) {
      refuseUnfinished(disk, want.path, where);
      checkOwner(disk, want);
    }
    const size = file.size();
    if (want.first && size === 0 && !file.isDevice) file.truncate(want.sizeBytes);
    else if (file.isDevice ? size < want.sizeBytes : size !== want.sizeBytes) {
      throw new CascadeError(
        "wrong-volume",
        `the volume has ${size} bytes, the topology declares ${want.sizeBytes}`,
        { where, hint: "Correct `volumes.size` in the topology, or give the right file" },
      );
    }
    return file;
  } catch (error) {
    file.close();
    throw error;
  }
}

/** A copy that was interrupted is no image that ever existed. */
function refuseUnfinished(
  disk: Disk,
  path: string,
  where: Readonly<Record<string, string | number>>,
): void {
  if (!disk.exists(checkpointPath(path))) return;
  throw new CascadeError("wrong-volume", "the volume's file is a copy that was not finished", {
    where,
    hint: "Run the `cascade seed` that was interrupted once more; it goes on where it was",
  });
}
