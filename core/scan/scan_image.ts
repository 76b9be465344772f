/**
 * What was scanned, while it is open: the volumes, or their snapshots, as deltas read them.
 *
 * Whatever is read is hashed once more. Where it is not what the map says, something has written it since
 * the scan: the block is sent as it is, and is unsure from then on; see `unsure.ts`.
 *
 * @module
 */
import { assert } from "../assert.ts";
import type { SourceVolume } from "../delta/volume_runs.ts";
import { CascadeError } from "../errors.ts";
import type { Bytes, DataRange, DiskFile } from "../ports.ts";
import { BlockDigester, DIGEST_BATCH_BYTES, DIGEST_BYTES } from "./block_digest.ts";
import { type DigestSource, SECTION_BLOCKS, SECTION_DIGEST_BYTES } from "./digests.ts";
import { alignedRanges } from "./plan.ts";
import type { UnsureBlocks } from "./unsure.ts";

const NO_DIGEST = new Uint8Array(DIGEST_BYTES);

interface Opened {
  readonly file: DiskFile;
  readonly digests: DigestSource;
  /** Made when something is read: mostly the links need nothing from here. */
  digester: BlockDigester | null;
}

/** One volume; see the module's text. */
export class ScanImage implements SourceVolume {
  readonly sizeBytes: number;
  readonly #number: number;
  readonly #unsure: UnsureBlocks;
  readonly #section: Bytes = new Uint8Array(SECTION_DIGEST_BYTES);
  /** The section that is held. */
  #held = -1;
  #opened: Opened | null = null;

  constructor(number: number, sizeBytes: number, unsure: UnsureBlocks) {
    this.#number = number;
    this.sizeBytes = sizeBytes;
    this.#unsure = unsure;
  }

  /** `digests`: what the scan found. The file is closed with the image. */
  open(file: DiskFile, digests: DigestSource): void {
    this.close();
    this.#opened = { file, digests, digester: null };
    this.#held = -1;
  }

  close(): void {
    this.#opened?.file.close();
    this.#opened = null;
  }

  get isOpen(): boolean {
    return this.#opened !== null;
  }

  #get(): Opened {
    if (this.#opened !== null) return this.#opened;
    throw new CascadeError("stopping", "the scan is over that this delta is made from", {
      retryable: true,
    });
  }

  /** Reads whole blocks. Throws `stopping` when the image is closed. */
  readApplied(into: Bytes, offset: number): void {
    const opened = this.#get();
    const { file, digests } = opened;
    const digester = opened.digester ??= new BlockDigester(digests.key);
    file.readAt(into, offset);
    const { blockBytes } = digests.key;
    assert(
      offset % blockBytes === 0 &&
        (into.length % blockBytes === 0 || offset + into.length === this.sizeBytes),
      "whole blocks are read",
    );
    for (let done = 0; done < into.length; done += DIGEST_BATCH_BYTES) {
      const batch = into.subarray(done, done + DIGEST_BATCH_BYTES);
      digester.room.set(batch);
      this.#compare((offset + done) / blockBytes, digester.digest(batch.length));
    }
  }

  #compare(firstBlock: number, found: Bytes): void {
    for (let at = 0; at < found.length; at += DIGEST_BYTES) {
      this.#expect(firstBlock + at / DIGEST_BYTES, found, at);
    }
  }

  /** What is sent of a block has the digest at `at` in `found`. */
  #expect(block: number, found: Bytes, at: number): void {
    this.#hold(Math.floor(block / SECTION_BLOCKS));
    const start = block % SECTION_BLOCKS * DIGEST_BYTES;
    for (let i = 0; i < DIGEST_BYTES; i++) {
      if (found[at + i] === this.#section[start + i]) continue;
      const { blockBytes } = this.#get().digests.key;
      const offset = block * blockBytes;
      this.#unsure.add(this.#number, offset, Math.min(blockBytes, this.sizeBytes - offset));
      return;
    }
  }

  #hold(section: number): void {
    if (section === this.#held) return;
    this.#get().digests.read(section, this.#section);
    this.#held = section;
  }

  /** As the file tells them, in whole blocks; what lies between them is sent as zeroes. */
  appliedDataRanges(offset: number, length: number, rangesMax = Infinity): DataRange[] {
    const { file, digests } = this.#get();
    const { blockBytes } = digests.key;
    const ranges = alignedRanges(file, { offset, length, rangesMax, blockBytes });
    let at = offset;
    for (const { start, end } of ranges) {
      this.#expectZeroes(at, start);
      at = end;
    }
    if (ranges.length < rangesMax) this.#expectZeroes(at, offset + length);
    return ranges;
  }

  /** What was data in the scan, and is a hole now. */
  #expectZeroes(start: number, end: number): void {
    const { digests } = this.#get();
    const { blockBytes } = digests.key;
    const [first, last] = [Math.floor(start / blockBytes), Math.ceil(end / blockBytes)];
    for (let block = first; block < last;) {
      const section = digests.next(Math.floor(block / SECTION_BLOCKS));
      if (section === null) return;
      block = Math.max(block, section * SECTION_BLOCKS);
      const stop = Math.min(last, (section + 1) * SECTION_BLOCKS);
      for (; block < stop; block++) this.#expect(block, NO_DIGEST, 0);
      if (block < (section + 1) * SECTION_BLOCKS) return;
    }
  }
}
