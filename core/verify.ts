/**
 * Compares the volumes of a node with those of a node below it, chunk by chunk, while both go on and
 * clients write.
 *
 * The peer hashes a chunk at its applied LSN q. This node hashes the same chunk at its own applied LSN p,
 * at or behind q. Blocks that nothing touched in between are the same at p as at q: they are compared. The
 * others are asked for again. So no difference is ever false, and nothing has to stand still.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { BlockSet } from "./delta/block_set.ts";
import { visitExtents } from "./delta/fold.ts";
import { CascadeError, isCascadeError } from "./errors.ts";
import type { PlanGround } from "./link/delta_plan.ts";
import {
  CHUNK_BYTES,
  differentBlocks,
  digestsOf,
  HASH_BLOCK_BYTES,
  type HashAnswer,
  type PeerHashes,
} from "./link/hashes.ts";
import type { Pipeline } from "./pipeline.ts";
import type { Difference } from "./verify_report.ts";

/** A chunk with blocks that were written meanwhile is asked for again so often, ever later. */
const TRIES_MAX = 12;
const RETRY_MS = 10;
/** Looked at as a whole, in case that all of it is a hole. */
const PROBE_BYTES = 256 * CHUNK_BYTES;
/** Chunks on their way at once: hides the line's latency. */
const AT_ONCE = 4;
const DIFFERENCES_MAX = 1000;

interface Piece {
  readonly volume: number;
  readonly offset: number;
  readonly length: number;
}

function* cut({ volume, offset, length }: Piece, lengthMax: number): Generator<Piece> {
  for (let at = 0; at < length; at += lengthMax) {
    yield { volume, offset: offset + at, length: Math.min(lengthMax, length - at) };
  }
}

/** One comparison. */
export class Comparison {
  readonly #pipeline: Pipeline;
  readonly #ground: PlanGround;
  readonly #hashes: PeerHashes;
  #comparedBytes = 0;
  #busyBytes = 0;
  readonly #different: BlockSet;
  /** What was touched in [from, to). */
  #touched: { set: BlockSet; fromLsn: number; toLsn: number } | null = null;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(pipeline: Pipeline, ground: PlanGround, hashes: PeerHashes) {
    this.#pipeline = pipeline;
    this.#ground = ground;
    this.#hashes = hashes;
    this.#different = new BlockSet(ground.sizes, HASH_BLOCK_BYTES);
  }

  /** Blocks that differ, so far. */
  get different(): BlockSet {
    return this.#different;
  }

  /** Bytes that were compared, so far. */
  get comparedBytes(): number {
    return this.#comparedBytes;
  }

  /** Bytes that could not be compared, so far: they are written again and again. */
  get busyBytes(): number {
    return this.#busyBytes;
  }

  /** Compares all of the volumes. Throws `usage` when there is nothing to compare with, `connection-lost`. */
  async all(): Promise<void> {
    for (const [volume, length] of this.#ground.sizes.entries()) {
      for (const piece of cut({ volume, offset: 0, length }, PROBE_BYTES)) await this.#probe(piece);
    }
  }

  /** Compares these blocks. Throws as {@linkcode all}. */
  async some(blocks: BlockSet): Promise<void> {
    for (const extent of blocks.extents()) {
      for (const piece of cut(extent, CHUNK_BYTES)) await this.#compare(piece);
    }
  }

  /** Much at once: a hole at both ends needs no hashes. */
  async #probe(piece: Piece): Promise<void> {
    const volume = this.#ground.volumes[piece.volume];
    const isHole = volume?.appliedDataRanges(piece.offset, piece.length, 1).length === 0;
    const answer = isHole ? await this.#ask(piece) : null;
    if (answer?.isHole && await this.#isUntouched(piece, answer.appliedLsn)) {
      this.#comparedBytes += piece.length;
      return;
    }
    const chunks = [...cut(piece, CHUNK_BYTES)];
    const workers = Array.from({ length: AT_ONCE }, async () => {
      for (let chunk = chunks.shift(); chunk !== undefined; chunk = chunks.shift()) {
        await this.#compare(chunk);
      }
    });
    await Promise.all(workers);
  }

  async #isUntouched(piece: Piece, atLsn: number | null): Promise<boolean> {
    const lsn = this.#pipeline.exactLsn();
    if (lsn === null || atLsn === null || lsn < atLsn) return false;
    const set = await this.#touchedIn(atLsn, lsn);
    if (set === null) return false;
    const next = set.next(piece.volume, piece.offset);
    return next === null || next.volume !== piece.volume ||
      next.offset >= piece.offset + piece.length;
  }

  /** Asks until the peer's image is whole. Throws `usage` when it has none. */
  async #ask(piece: Piece, wantsData = false): Promise<HashAnswer> {
    for (;;) {
      const answer = await this.#hashes.ask({ ...piece, wantsData });
      if (answer.refused !== null) throw new CascadeError("usage", answer.refused);
      if (answer.appliedLsn !== null) return answer;
      await this.#wait(RETRY_MS);
    }
  }

  #wait(ms: number): Promise<void> {
    return new Promise((go) => this.#ground.clock.after(ms, go));
  }

  async #compare(piece: Piece): Promise<void> {
    // Blocks of the chunk that are yet to be compared.
    const open = new Set<number>();
    const blocks = Math.ceil(piece.length / HASH_BLOCK_BYTES);
    for (let block = 0; block < blocks; block++) open.add(block);
    for (let turn = 0; open.size > 0; turn++) {
      if (turn === TRIES_MAX) break;
      if (turn > 0) await this.#wait(RETRY_MS * turn);
      await this.#compareOnce(piece, open);
    }
    const busy = Math.min(piece.length, open.size * HASH_BLOCK_BYTES);
    this.#busyBytes += busy;
    this.#comparedBytes += piece.length - busy;
  }

  async #compareOnce(piece: Piece, open: Set<number>): Promise<void> {
    const answer = await this.#ask(piece);
    const peerLsn = answer.appliedLsn ?? 0;
    const lsn = await this.#reach(peerLsn);
    if (lsn === null) return;
    const volume = this.#ground.volumes[piece.volume];
    const bytes = new Uint8Array(piece.length);
    volume?.readApplied(bytes, piece.offset);
    const zeroes = () => digestsOf(new Uint8Array(piece.length));
    const theirs = answer.digests === null ? zeroes() : Buffer.from(answer.digests, "base64");
    const different = new Set(differentBlocks(digestsOf(bytes), theirs));
    const touched = await this.#touchedIn(peerLsn, lsn);
    if (touched === null) return;
    for (const block of [...open]) {
      const offset = piece.offset + block * HASH_BLOCK_BYTES;
      // Equal is equal, whenever: it was compared at one LSN or the other.
      if (touched.has(piece.volume, offset)) continue;
      open.delete(block);
      if (!different.has(block)) continue;
      const length = Math.min(HASH_BLOCK_BYTES, piece.offset + piece.length - offset);
      this.#different.add(piece.volume, offset, length);
    }
  }

  /** Waits until what is applied here is exact, and at or behind `lsn`; null: not before long. */
  async #reach(lsn: number): Promise<number | null> {
    for (let turn = 0; turn < 100; turn++) {
      const mine = this.#pipeline.exactLsn();
      if (mine !== null && mine >= lsn) return mine;
      await this.#wait(RETRY_MS);
    }
    return null;
  }

  /** At least what was touched in [fromLsn, toLsn); null when that is not known any more. */
  #touchedIn(fromLsn: number, toLsn: number): Promise<BlockSet | null> {
    const done = this.#turn.then(() => this.#gather(fromLsn, toLsn));
    this.#turn = done.catch(() => {/* whoever asked is told */});
    return done;
  }

  async #gather(fromLsn: number, toLsn: number): Promise<BlockSet | null> {
    if (!this.#ground.log.beginsRecord(fromLsn)) {
      const found = `the peer told hashes as of LSN ${fromLsn}, where no record begins`;
      throw new CascadeError("protocol", found);
    }
    // What is kept may cover more than is asked for: then more is asked for again than need be. So it
    // begins anew where the peer has moved on.
    if (this.#touched === null || this.#touched.fromLsn !== fromLsn) {
      const set = new BlockSet(this.#ground.sizes, HASH_BLOCK_BYTES);
      this.#touched = { set, fromLsn, toLsn: fromLsn };
    }
    const kept = this.#touched;
    try {
      if (toLsn > kept.toLsn) {
        await visitExtents(this.#ground, kept.toLsn, toLsn, (volume, offset, length) => {
          kept.set.add(volume, offset, length);
        });
        kept.toLsn = toLsn;
      }
      return kept.set;
    } catch (error) {
      if (!isCascadeError(error, "log-gone")) throw error;
      this.#touched = null;
      return null;
    }
  }

  /** The first of the ranges that differ. Throws as {@linkcode all}. */
  async differences(): Promise<Difference[]> {
    const found: Difference[] = [];
    for (const { volume, offset, length } of this.#different.extents()) {
      if (found.length === DIFFERENCES_MAX) break;
      const name = this.#ground.volumeNames[volume] ?? "";
      const firstByte = found.length < AT_ONCE ? await this.#firstByte(volume, offset) : null;
      found.push({ volume: name, offset, length, firstByte });
    }
    return found;
  }

  /** Where a block that differs begins to differ; null when it does not any more. */
  async #firstByte(volume: number, offset: number): Promise<number | null> {
    const size = this.#ground.sizes[volume] ?? 0;
    const length = Math.min(HASH_BLOCK_BYTES, size - offset);
    const answer = await this.#ask({ volume, offset, length }, true);
    const mine = new Uint8Array(length);
    this.#ground.volumes[volume]?.readApplied(mine, offset);
    const theirs = answer.data === null
      ? new Uint8Array(length)
      : Buffer.from(answer.data, "base64");
    const at = mine.findIndex((byte, index) => byte !== theirs[index]);
    return at < 0 ? null : offset + at;
  }
}
