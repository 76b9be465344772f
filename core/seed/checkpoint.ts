/**
 * The checkpoint of a seed: how far an interrupted copy is, beside the target file or where the user
 * says. It is there from before the first byte is written until after the last flush, so a target
 * with a checkpoint is not whole.
 *
 *     two slots of 4096 bytes, written in turns, so that a torn write leaves the other one
 *     each: one line of JSON, `{"crc":C,"body":BODY}`, filled up with spaces; C is the CRC-32 of the
 *     text of BODY; the slot with the higher `sequence` counts
 *
 * @module
 */
import { crc32 } from "node:zlib";
import { CascadeError } from "../errors.ts";
import type { Disk, DiskFile } from "../ports.ts";

const SLOT_BYTES = 4096;
const SLOTS = 2;
const VERSION = 1;

/** What a slot holds. */
interface Body extends SeedIdentity {
  readonly cascadeSeed: typeof VERSION;
  readonly sequence: number;
  readonly written: number;
  readonly flushed: number;
}

/** Where the checkpoint of a target file lies: while it is there, the file is not whole. */
export function checkpointPath(targetFile: string): string {
  return `${targetFile}.seeding`;
}

/** What the two sides of a seed are, so that a copy only goes on between the same two. */
export interface SeedIdentity {
  readonly source: string;
  readonly target: string;
  readonly sizeBytes: number;
  /** Of this run of the machine; changes when it starts: what was written and not flushed is then unknown. */
  readonly boot: string;
}

/** Where a copy goes on, and what of that is known to be on stable storage. */
export interface Resume {
  readonly at: number;
  readonly flushed: number;
}

/** Why a checkpoint does not help. */
export type Mismatch = "none" | "other-target" | "other-source";

/** The checkpoint of one seed, in an open file. */
export class Checkpoint {
  readonly path: string;
  readonly #disk: Disk;
  readonly #folder: string;
  readonly #file: DiskFile;
  #sequence = 0;

  private constructor(disk: Disk, path: string, folder: string, file: DiskFile) {
    this.#disk = disk;
    this.path = path;
    this.#folder = folder;
    this.#file = file;
  }

  /** Opens it, and makes it when it is not there. Throws `locked` when another seed uses it. */
  static open(disk: Disk, path: string, folder: string): Checkpoint {
    const file = disk.open(path, { create: true, lock: true });
    if (!file.isDevice && (file.size() === 0 || looksLikeOne(file))) {
      return new Checkpoint(disk, path, folder, file);
    }
    file.close();
    throw new CascadeError("usage", "the file for the checkpoint holds something else", {
      where: { path },
      hint: "Move it away, or name another file with --resume-file.",
    });
  }

  /** Where an interrupted copy between these two goes on, or why it cannot. */
  resumeAt(identity: SeedIdentity): Resume | Mismatch {
    let best: Body | null = null;
    for (let slot = 0; slot < SLOTS; slot++) {
      const body = readSlot(this.#file, slot);
      if (body !== null && body.sequence >= (best?.sequence ?? 0)) best = body;
    }
    if (best === null) return "none";
    this.#sequence = best.sequence + 1;
    if (best.target !== identity.target) return "other-target";
    const isSame = best.source === identity.source && best.sizeBytes === identity.sizeBytes;
    if (!isSame) return "other-source";
    const { written, flushed, sizeBytes } = best;
    const at = best.boot === identity.boot ? Math.max(written, flushed) : flushed;
    return { at: Math.min(at, sizeBytes), flushed: Math.min(flushed, sizeBytes) };
  }

  /** Notes how far the copy is: a write into the page cache. */
  save(identity: SeedIdentity, written: number, flushed: number): void {
    const sequence = this.#sequence++;
    const body = JSON.stringify({ cascadeSeed: VERSION, sequence, ...identity, written, flushed });
    const slot = new TextEncoder().encode(
      JSON.stringify({ crc: crc32(body), body }).padEnd(SLOT_BYTES - 1) + "\n",
    );
    if (slot.length !== SLOT_BYTES) {
      throw new CascadeError(
        "usage",
        "the names of source and target are too long for a checkpoint",
      );
    }
    this.#file.writeAt(slot, (sequence % SLOTS) * SLOT_BYTES);
  }

  /** Brings what was saved, and the file's name, to stable storage. */
  async flush(isNew = false): Promise<void> {
    await this.#file.flush();
    if (isNew) await this.#disk.flushFolder(this.#folder);
  }

  /** The copy is whole: the checkpoint goes. */
  async remove(): Promise<void> {
    this.#disk.remove(this.path);
    this.#file.close();
    await this.#disk.flushFolder(this.#folder);
  }

  close(): void {
    this.#file.close();
  }
}

function looksLikeOne(file: DiskFile): boolean {
  if (file.size() > SLOTS * SLOT_BYTES) return false;
  return Array.from({ length: SLOTS }, (_, slot) => readSlot(file, slot)).some((it) => it !== null);
}

function readSlot(file: DiskFile, slot: number): Body | null {
  const bytes = new Uint8Array(SLOT_BYTES);
  file.readAt(bytes, slot * SLOT_BYTES);
  try {
    const { crc, body }: Slot = JSON.parse(new TextDecoder().decode(bytes));
    if (typeof body !== "string" || crc !== crc32(body)) return null;
    const value: unknown = JSON.parse(body);
    return isBody(value) ? value : null;
  } catch {
    return null; // Never written, or torn: the other slot counts.
  }
}

/** As it was parsed. */
interface Slot {
  readonly crc?: unknown;
  readonly body?: unknown;
}

/** By hand: a schema would take longer to load than a small copy takes. */
function isBody(value: unknown): value is Body {
  if (typeof value !== "object" || value === null) return false;
  const fields = value as Partial<Record<keyof Body, unknown>>;
  const isCount = (name: keyof Body) =>
    Number.isSafeInteger(fields[name]) && Number(fields[name]) >= 0;
  const isText = (name: keyof Body) => typeof fields[name] === "string";
  return fields.cascadeSeed === VERSION && isText("source") && isText("target") && isText("boot") &&
    isCount("sequence") && isCount("sizeBytes") && isCount("written") && isCount("flushed");
}
