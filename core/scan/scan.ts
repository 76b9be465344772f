/**
 * A scan: reads a volume around its holes, hashes its blocks, and tells those whose digest is not
 * what it was.
 *
 * Reading and hashing is the hasher's, several pieces at a time; what it finds is taken in order,
 * gathered to sections, compared with the sections of before, and put into the new map. Memory: the
 * digests of a few pieces, and the set of what changed.
 *
 * A scan reads what is there: a volume that is written meanwhile gives each block as it was at some
 * moment of the scan. Whoever ships a block reads it again and tells the writer of the map what it
 * read ({@linkcode HashMapWriter.note}), so that the map is right all the same.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { assert } from "../assert.ts";
import type { BlockSet } from "../delta/block_set.ts";
import type { Bytes, DataRange, Disk } from "../ports.ts";
import { DIGEST_BYTES } from "./block_digest.ts";
import { type DigestSource, isSameKey, SECTION_BLOCKS, SECTION_DIGEST_BYTES } from "./digests.ts";
import type { HashMapWriter } from "./hash_map_writer.ts";
import type { BlockHasher, OpenHasher } from "./hasher.ts";
import { dataPieces } from "./plan.ts";

/** How far a scan is, in bytes of the volume. */
export interface ScanProgress {
  /** All below was looked at. */
  doneBytes: number;
  /** Read and hashed; the rest was known to be holes. */
  readBytes: number;
}

/** A scan's input. */
export interface ScanRequest {
  readonly disk: Disk;
  readonly openHasher: OpenHasher;
  /** The volume, or a snapshot of it. */
  readonly path: string;
  /** Of the volume; more in the file is not looked at, less reads as zeroes. */
  readonly sizeBytes: number;
  /** What it was. With the same key as the new map. */
  readonly old: DigestSource;
  /** Takes the new digests; to be finished by the caller. Null: only what changed is asked for. */
  readonly map: HashMapWriter | null;
  /** Takes what changed, under this number of a volume. */
  readonly changed: BlockSet;
  readonly volume: number;
  readonly stopped: () => boolean;
  /** Updated as it goes. */
  readonly progress: ScanProgress;
}

/** Runs one. Returns false when it was stopped. Throws what opening, reading or the old map throws. */
export async function scanVolume(request: ScanRequest): Promise<boolean> {
  const { disk, path, sizeBytes, old, map } = request;
  assert(map === null || isSameKey(map.key, old.key), "digests of one key are compared");
  const file = disk.open(path, { readOnly: true });
  try {
    const hasher = await request.openHasher(path, old.key);
    try {
      return await run(request, hasher, dataPieces(file, sizeBytes));
    } finally {
      await hasher.close();
    }
  } finally {
    file.close();
  }
}

interface Hashing {
  readonly piece: DataRange;
  readonly digests: Promise<Bytes>;
}

async function run(
  request: ScanRequest,
  hasher: BlockHasher,
  pieces: Iterable<DataRange>,
): Promise<boolean> {
  const { progress, sizeBytes } = request;
  const sections = new SectionWalk(request);
  const running: Hashing[] = [];
  const take = async () => {
    const { piece, digests } = running.shift()!;
    sections.take(piece, await digests);
    progress.readBytes += piece.end - piece.start;
    progress.doneBytes = piece.end;
  };
  try {
    for (const piece of pieces) {
      if (request.stopped()) return false;
      const digests = hasher.hash(piece.start, piece.end - piece.start);
      digests.catch(() => {}); // Whoever takes it meets the failure.
      running.push({ piece, digests });
      if (running.length >= hasher.depth) await take();
    }
    while (running.length > 0) {
      if (request.stopped()) return false;
      await take();
    }
  } finally {
    await Promise.allSettled(running.map(({ digests }) => digests));
  }
  sections.end();
  progress.doneBytes = sizeBytes;
  return true;
}

/** Goes through the sections of a volume once, in order. */
class SectionWalk {
  readonly #request: ScanRequest;
  readonly #blockBytes: number;
  /** Digests of the section that is being gathered. */
  readonly #now = new Uint8Array(SECTION_DIGEST_BYTES);
  readonly #before = new Uint8Array(SECTION_DIGEST_BYTES);
  /** The section that is being gathered. */
  #section = 0;

  constructor(request: ScanRequest) {
    this.#request = request;
    this.#blockBytes = request.old.key.blockBytes;
  }

  /** The digests of a piece; what lies between it and the one before is a hole. */
  take(piece: DataRange, digests: Bytes): void {
    const first = piece.start / this.#blockBytes;
    for (let done = 0; done < digests.length;) {
      const block = first + done / DIGEST_BYTES;
      this.#goTo(Math.floor(block / SECTION_BLOCKS));
      const start = block % SECTION_BLOCKS * DIGEST_BYTES;
      const bytes = Math.min(digests.length - done, SECTION_DIGEST_BYTES - start);
      this.#now.set(digests.subarray(done, done + bytes), start);
      done += bytes;
    }
  }

  /** What lies behind the last piece is a hole. */
  end(): void {
    this.#goTo(Infinity);
  }

  #goTo(section: number): void {
    while (this.#section < section) {
      this.#finish();
      // Sections without data now or before are passed over.
      const next = this.#request.old.next(this.#section + 1) ?? Infinity;
      this.#section = Math.min(section, next);
    }
  }

  #finish(): void {
    const { old, map } = this.#request;
    old.read(this.#section, this.#before);
    if (Buffer.compare(this.#now, this.#before) !== 0) this.#compare();
    if (this.#now.some((byte) => byte !== 0)) map?.put(this.#section, this.#now);
    this.#now.fill(0);
  }

  #compare(): void {
    const now = new Uint32Array(this.#now.buffer);
    const before = new Uint32Array(this.#before.buffer);
    const differs = (block: number) => {
      const at = block * DIGEST_BYTES / 4;
      return now[at] !== before[at] || now[at + 1] !== before[at + 1] ||
        now[at + 2] !== before[at + 2] || now[at + 3] !== before[at + 3];
    };
    const first = this.#section * SECTION_BLOCKS;
    for (let block = 0; block < SECTION_BLOCKS; block++) {
      if (!differs(block)) continue;
      const start = block;
      while (block + 1 < SECTION_BLOCKS && differs(block + 1)) block++;
      this.#add(first + start, first + block + 1);
    }
  }

  #add(firstBlock: number, endBlock: number): void {
    const { changed, volume, sizeBytes } = this.#request;
    const offset = firstBlock * this.#blockBytes;
    changed.add(volume, offset, Math.min(sizeBytes, endBlock * this.#blockBytes) - offset);
  }
}
