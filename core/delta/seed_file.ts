/**
 * A seed file: a delta for a blank node, carried by hand. Its format is that of any delta
 * (`delta_format.ts`), with a note of who made it in the header.
 *
 * It is written as `FILE.partial`, gone over once it is whole, and only then given its name: a file under
 * its own name is whole. Nothing of one is believed before all of it was checked.
 *
 * @module
 */
import { createHmac } from "node:crypto";
import { CascadeError, isCascadeError } from "../errors.ts";
import { RECORD_BYTES_MAX } from "../limits.ts";
import type { Bytes, Clock, Disk, DiskFile } from "../ports.ts";
import { BodyChecker, type BodyCursor } from "./delta_body.ts";
import type { DeltaHeader, SeedNote } from "./delta_format.ts";
import { type Delta, loadDelta, resumeIncoming } from "./delta_shelf.ts";
import { folderOf } from "../folders.ts";

/** Checked in one go. */
const CHECK_BYTES = 2 * RECORD_BYTES_MAX;

/** What there is of a seed file that was cut off. */
export interface SeedStaged {
  readonly header: DeltaHeader;
  readonly position: number;
  readonly cursor: BodyCursor;
}

/** What a seed file bears to tell whose it is. */
export function seedProof(secret: Uint8Array, id: string): string {
  return createHmac("sha256", secret).update(`cascade seed file\n${id}`).digest("hex");
}

/** Where a seed file is while it is written. */
export function partialPath(path: string): string {
  return `${path}.partial`;
}

/** Writes a seed file, or what is missing of it. */
export class SeedFileWriter {
  readonly #disk: Disk;
  readonly #path: string;
  readonly #file: DiskFile;
  /** What an earlier run left, or null. */
  readonly staged: SeedStaged | null;
  #end: number;

  private constructor(disk: Disk, path: string, file: DiskFile, staged: SeedStaged | null) {
    this.#disk = disk;
    this.#path = path;
    this.#file = file;
    this.staged = staged;
    this.#end = staged === null ? 0 : file.size();
  }

  /** Throws `locked` when another run writes it, or what the disk throws. */
  static async open(disk: Disk, path: string, clock: Clock): Promise<SeedFileWriter> {
    const file = disk.open(partialPath(path), { create: true, lock: true });
    try {
      return new SeedFileWriter(disk, path, file, await stagedIn(file, clock));
    } catch (error) {
      file.close();
      throw error;
    }
  }

  /** What the file has. */
  get bytes(): number {
    return this.#end;
  }

  /** What an earlier run left is of no use: the file begins anew. */
  restart(): void {
    this.#file.truncate(0);
    this.#end = 0;
  }

  /** Takes the next bytes. Throws `disk-full`, `disk-failed`. */
  append(bytes: Uint8Array): void {
    this.#file.writeAt(bytes, this.#end);
    this.#file.beginFlush?.(this.#end, bytes.length);
    this.#end += bytes.length;
  }

  /** Makes what is there durable, as the beginning of a file. */
  async pause(): Promise<void> {
    await this.#file.flush();
    await this.#disk.flushFolder(folderOf(this.#path));
  }

  /** All of it is there: makes it durable, goes over it, and gives it its name. */
  async finish(check: (delta: Delta) => Promise<void>): Promise<void> {
    await this.#file.flush();
    const delta = loadDelta(this.#disk, partialPath(this.#path));
    try {
      await check(delta);
    } finally {
      delta.close();
    }
    this.#disk.rename(partialPath(this.#path), this.#path);
    await this.#disk.flushFolder(folderOf(this.#path));
  }

  /** Closes it; nothing is left of a file that was never begun. */
  close(): void {
    if (this.#end === 0) this.#disk.remove(partialPath(this.#path));
    this.#file.close();
  }
}

async function stagedIn(file: DiskFile, clock: Clock): Promise<SeedStaged | null> {
  if (file.size() === 0) return null;
  try {
    const { header, position, cursor } = await resumeIncoming(file, clock);
    return header.seed === undefined ? null : { header, position, cursor };
  } catch (error) {
    if (!isCascadeError(error, "state-corrupt")) throw error;
    return null;
  }
}

/** What a seed file says of itself, before its body was looked at. */
export interface SeedFile {
  readonly delta: Delta;
  readonly note: SeedNote;
}

/** Opens a seed file: its ends. Throws `state-corrupt` when they are not whole, `not-found`. */
export function openSeedFile(disk: Disk, path: string): SeedFile {
  let delta: Delta;
  try {
    delta = loadDelta(disk, path);
  } catch (error) {
    throw isCascadeError(error, "state-corrupt") ? notWhole(path, error.message, error) : error;
  }
  const note = delta.header.seed;
  if (note !== undefined && delta.header.full) return { delta, note };
  throw new CascadeError("usage", "this is a delta that a node keeps, not a seed file", {
    where: { file: path },
    hint: "A seed file is made with: cascade seed NODE FILE",
  });
}

/** What {@linkcode checkBody} tells and is told. */
export interface CheckOptions {
  readonly clock: Clock;
  readonly stopped: () => boolean;
  readonly onDone: (bytes: number) => void;
}

/**
 * Goes over the whole body: every record, its checksum, its place. Returns the bytes of the volumes that
 * it writes, or null when it was stopped. Throws `state-corrupt`.
 */
export async function checkBody(
  delta: Delta,
  { clock, stopped, onDone }: CheckOptions,
): Promise<number | null> {
  const checker = new BodyChecker(delta.header.volumes.map(({ sizeBytes }) => sizeBytes));
  const buffer: Bytes = new Uint8Array(CHECK_BYTES);
  while (checker.position < delta.bodyBytes) {
    if (stopped()) return null;
    const bytes = buffer.subarray(0, Math.min(buffer.length, delta.bodyBytes - checker.position));
    delta.readAt(bytes, checker.position);
    let taken = 0;
    try {
      taken = checker.takeWhole(bytes);
    } catch (error) {
      throw isCascadeError(error, "protocol") ? notWhole(delta.path, error.message, error) : error;
    }
    if (taken === 0) throw notWhole(delta.path, "a record is cut short", null);
    onDone(checker.position);
    await new Promise<void>((go) => clock.soon(go));
  }
  return checker.payloadBytes;
}

function notWhole(path: string, found: string, cause: unknown): CascadeError {
  return new CascadeError("state-corrupt", `the seed file is damaged: ${found}`, {
    where: { file: path },
    hint: "Copy it again from where it was made; nothing was changed here.",
    cause,
  });
}
