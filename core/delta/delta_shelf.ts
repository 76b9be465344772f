/**
 * The deltas of a node, `DIR/delta/`: those committed, which the log goes on behind, and at most one that
 * is being received. Format: `delta_format.ts`.
 *
 *     incoming                           being received; what is whole of it survives a crash
 *     FROM-TO.delta                      committed: LSNs with 16 decimal digits each
 *
 * A commit flushes the body, then writes the trailer, flushes, renames, and flushes the folder: after
 * any crash the delta is being received still, or committed.
 *
 * @module
 */
import { assert } from "../assert.ts";
import { CascadeError, isCascadeError } from "../errors.ts";
import { RECOVERY_READ_BYTES } from "../limits.ts";
import type { Bytes, Clock, Disk, DiskFile } from "../ports.ts";
import { folderOf } from "../folders.ts";
import { hasHeaderOf, RECORD_HEADER_BYTES } from "../log/record.ts";
import { BodyChecker, type BodySource, readBody } from "./delta_body.ts";
import {
  decodeDeltaHeader,
  decodeDeltaTrailer,
  decodeFooter,
  type DeltaHeader,
  type DeltaTrailer,
  encodeDeltaHeader,
  FOOTER_BYTES,
  HEADER_READ_BYTES,
} from "./delta_format.ts";
import { IncomingDelta } from "./incoming_delta.ts";

const INCOMING = "incoming";

function nameOf(fromLsn: number, toLsn: number): string {
  const digits = (lsn: number) => String(lsn).padStart(16, "0");
  return `${digits(fromLsn)}-${digits(toLsn)}.delta`;
}

/** A committed delta: its file is opened while it is read. */
export class Delta implements BodySource {
  readonly header: DeltaHeader;
  readonly trailer: DeltaTrailer;
  readonly path: string;
  readonly fileBytes: number;
  readonly #disk: Disk;
  readonly #bodyAt: number;
  #file: DiskFile | null = null;
  #users = 0;

  constructor(disk: Disk, path: string, parts: DeltaParts) {
    this.#disk = disk;
    this.path = path;
    this.header = parts.header;
    this.trailer = parts.trailer;
    this.#bodyAt = parts.bodyAt;
    this.fileBytes = parts.fileBytes;
  }

  get fromLsn(): number {
    return this.header.fromLsn;
  }

  get toLsn(): number {
    return this.trailer.toLsn;
  }

  get bodyBytes(): number {
    return this.trailer.bodyBytes;
  }

  readAt(into: Uint8Array, position: number): void {
    this.#file ??= this.#disk.open(this.path, { readOnly: true });
    this.#file.readAt(into, this.#bodyAt + position);
  }

  /** It is being forwarded: its file stays. */
  get isInUse(): boolean {
    return this.#users > 0;
  }

  use(): void {
    this.#users++;
  }

  release(): void {
    this.#users--;
  }

  /** Whether a record begins at this byte of the body, or it ends there. */
  beginsRecord(position: number): boolean {
    if (position >= this.bodyBytes) return position === this.bodyBytes;
    const header = new Uint8Array(RECORD_HEADER_BYTES);
    this.readAt(header, position);
    return hasHeaderOf(header, 0, position);
  }

  /** Whole, checked records from `position` on; see {@linkcode readBody}. */
  read(position: number, into: Bytes): number {
    return readBody(this, position, into);
  }

  close(): void {
    this.#file?.close();
    this.#file = null;
  }
}

interface DeltaParts {
  readonly header: DeltaHeader;
  readonly trailer: DeltaTrailer;
  readonly bodyAt: number;
  readonly fileBytes: number;
}

/** See the module's text. */
export class DeltaShelf {
  readonly #disk: Disk;
  readonly #folder: string;
  readonly #deltas: Delta[] = [];
  #incoming: IncomingDelta | null = null;

  private constructor(disk: Disk, folder: string) {
    this.#disk = disk;
    this.#folder = folder;
  }

  /**
   * Opens or makes the folder. What was being received is read and checked as far as it is whole.
   * Throws `state-corrupt` for a committed delta that is damaged, or what the disk throws.
   */
  static async open(disk: Disk, folder: string, clock: Clock): Promise<DeltaShelf> {
    const shelf = new DeltaShelf(disk, folder);
    if (!disk.exists(folder)) return shelf;
    // The log is about to go on behind what is found: a name may be there in memory alone.
    await Promise.all([folderOf(folder), folder].map((folder) => disk.flushFolder(folder)));
    for (const name of disk.list(folder)) {
      if (name.endsWith(".delta")) shelf.#deltas.push(loadDelta(disk, `${folder}/${name}`));
    }
    shelf.#deltas.sort((a, b) => a.toLsn - b.toLsn);
    await shelf.#loadIncoming(clock);
    return shelf;
  }

  async #loadIncoming(clock: Clock): Promise<void> {
    const path = `${this.#folder}/${INCOMING}`;
    if (!this.#disk.exists(path)) return;
    const file = this.#disk.open(path);
    try {
      this.#incoming = await resumeIncoming(file, clock);
    } catch (error) {
      file.close();
      // Nothing depends on it: it comes again.
      const isUseless = isCascadeError(error, "state-corrupt") ||
        isCascadeError(error, "disk-full");
      if (!isUseless) throw error;
      this.#disk.remove(path);
    }
  }

  /** In the order of their ends. */
  get deltas(): readonly Delta[] {
    return this.#deltas;
  }

  get incoming(): IncomingDelta | null {
    return this.#incoming;
  }

  /** Bytes of all files. */
  get bytes(): number {
    const committed = this.#deltas.reduce((sum, { fileBytes }) => sum + fileBytes, 0);
    return committed + (this.#incoming?.fileBytes ?? 0);
  }

  /** The delta that serves a peer at `lsn`: the one that takes it furthest. */
  covering(lsn: number): Delta | null {
    return this.#deltas.findLast(({ fromLsn, toLsn }) => fromLsn <= lsn && lsn < toLsn) ?? null;
  }

  /**
   * The delta that the volumes at `lsn` take next: the one that was committed first. A later one counts on what it
   * brought, also where it was made for an earlier LSN: blocks that were repaired, or left an abandoned epoch.
   */
  following(lsn: number): Delta | null {
    return this.#deltas.filter(({ fromLsn, toLsn }) => fromLsn <= lsn && lsn < toLsn)
      .reduce<Delta | null>(
        (best, next) => best === null || next.toLsn < best.toLsn ? next : best,
        null,
      );
  }

  /**
   * Begins to receive a delta; what was received of another one goes. That the file has its name becomes durable
   * while the first of it arrives, and before anything of it counts as durable.
   */
  begin(header: DeltaHeader): IncomingDelta {
    this.discardIncoming();
    const disk = this.#disk;
    if (!disk.exists(this.#folder)) disk.makeFolder(this.#folder);
    const file = disk.open(`${this.#folder}/${INCOMING}`, { create: true });
    const bytes = encodeDeltaHeader(header);
    try {
      file.truncate(0);
      file.writeAt(bytes, 0);
    } catch (error) {
      file.close();
      throw error;
    }
    const names = [folderOf(this.#folder), this.#folder].map((folder) => disk.flushFolder(folder));
    const placed = Promise.all(names).then(() => {});
    const sizes = header.volumes.map(({ sizeBytes }) => sizeBytes);
    const checker = new BodyChecker(sizes);
    this.#incoming = new IncomingDelta(header, file, bytes.length, checker, placed);
    return this.#incoming;
  }

  /** What was being received is not wanted any more. */
  discardIncoming(): void {
    if (this.#incoming === null) return;
    this.#incoming.close();
    this.#incoming = null;
    this.#disk.remove(`${this.#folder}/${INCOMING}`);
  }

  /** Settles when the delta is committed, durably. Throws `protocol`, or what the disk throws. */
  async commit(told: DeltaTrailer): Promise<Delta> {
    const incoming = this.#incoming;
    assert(incoming !== null, "a delta is being received");
    const trailer = incoming.counted(told);
    const { header, bodyAt } = incoming;
    const fileBytes = await incoming.seal(trailer);
    incoming.close();
    this.#incoming = null;
    const path = `${this.#folder}/${nameOf(header.fromLsn, trailer.toLsn)}`;
    this.#disk.rename(`${this.#folder}/${INCOMING}`, path);
    await this.#disk.flushFolder(this.#folder);
    const delta = new Delta(this.#disk, path, { header, trailer, bodyAt, fileBytes });
    const behind = this.#deltas.findIndex(({ toLsn }) => toLsn > trailer.toLsn);
    this.#deltas.splice(behind < 0 ? this.#deltas.length : behind, 0, delta);
    return delta;
  }

  /** Nobody needs it any more. Its going need not be durable: it is not needed after a crash either. */
  drop(delta: Delta): void {
    const place = this.#deltas.indexOf(delta);
    assert(place >= 0, "a delta of this shelf");
    this.#deltas.splice(place, 1);
    delta.close();
    this.#disk.remove(delta.path);
  }

  /** It is no part of the node's history any more, and goes to a folder that is there: durably, or not at all. */
  async moveOut(delta: Delta, folder: string): Promise<void> {
    this.#deltas.splice(this.#deltas.indexOf(delta), 1);
    delta.close();
    this.#disk.rename(delta.path, `${folder}/${nameOf(delta.fromLsn, delta.toLsn)}`);
    await this.#disk.flushFolder(folder);
    await this.#disk.flushFolder(this.#folder);
  }

  /** Those that end at or below `lsn`, and are not in use. */
  dropBelow(lsn: number): void {
    for (const delta of [...this.#deltas]) {
      if (delta.toLsn <= lsn && !delta.isInUse) this.drop(delta);
    }
  }

  close(): void {
    for (const delta of this.#deltas) delta.close();
    this.#incoming?.close();
    this.#incoming = null;
  }
}

/** Reads header and trailer. Throws `state-corrupt`, naming the file. */
export function loadDelta(disk: Disk, path: string): Delta {
  const file = disk.open(path, { readOnly: true });
  try {
    return new Delta(disk, path, readParts(file));
  } catch (error) {
    if (!isCascadeError(error, "state-corrupt")) throw error;
    throw new CascadeError("state-corrupt", error.message, {
      where: { file: path },
      ...(error.hint === undefined ? {} : { hint: error.hint }),
      cause: error,
    });
  } finally {
    file.close();
  }
}

function readParts(file: DiskFile): DeltaParts {
  const fileBytes = file.size();
  const { header, bodyAt } = readHeader(file);
  const footer = new Uint8Array(FOOTER_BYTES);
  if (fileBytes >= bodyAt + FOOTER_BYTES) file.readAt(footer, fileBytes - FOOTER_BYTES);
  const found = decodeFooter(footer);
  const trailerAt = fileBytes - FOOTER_BYTES - (found?.bytes ?? 0);
  if (found === null || trailerAt < bodyAt) {
    throw new CascadeError("state-corrupt", "the delta is not whole: it has no end", {
      hint: "Restore the file, or let the node be filled anew",
    });
  }
  const json = new Uint8Array(found.bytes);
  file.readAt(json, trailerAt);
  const trailer = decodeDeltaTrailer(json, found.crc);
  const isWhole = trailer.id === header.id && bodyAt + trailer.bodyBytes === trailerAt;
  if (!isWhole) throw new CascadeError("state-corrupt", "the delta's ends do not fit each other");
  return { header, trailer, bodyAt, fileBytes };
}

function readHeader(file: DiskFile): { header: DeltaHeader; bodyAt: number } {
  const head = new Uint8Array(Math.min(file.size(), HEADER_READ_BYTES));
  file.readAt(head, 0);
  return decodeDeltaHeader(head);
}

/**
 * Goes over what is whole of a delta that was being received, and writes it again: a flush may have
 * failed in an earlier life, and what is read may then be in memory alone, with no flush to come that
 * would write it. Throws `state-corrupt`, `disk-full`, or what else the disk throws.
 */
export async function resumeIncoming(file: DiskFile, clock: Clock): Promise<IncomingDelta> {
  const { header, bodyAt } = readHeader(file);
  const head = new Uint8Array(bodyAt);
  file.readAt(head, 0);
  file.writeAt(head, 0);
  const checker = new BodyChecker(header.volumes.map(({ sizeBytes }) => sizeBytes));
  const buffer = new Uint8Array(RECOVERY_READ_BYTES);
  for (;;) {
    const at = bodyAt + checker.position;
    const bytes = buffer.subarray(0, Math.max(0, Math.min(buffer.length, file.size() - at)));
    file.readAt(bytes, at);
    const taken = takeValid(checker, bytes);
    if (taken === 0) break;
    file.writeAt(bytes.subarray(0, taken), at);
    await new Promise<void>((go) => clock.soon(go));
  }
  file.truncate(bodyAt + checker.position);
  return new IncomingDelta(header, file, bodyAt, checker);
}

/** A torn end is where the body ends. */
function takeValid(checker: BodyChecker, bytes: Uint8Array): number {
  const before = checker.position;
  try {
    checker.takeWhole(bytes);
  } catch (error) {
    if (!isCascadeError(error, "protocol")) throw error;
  }
  return checker.position - before;
}
