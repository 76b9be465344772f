/**
 * A load that knows what must be there: every block that it writes tells its number and the batch
 * that wrote it, and after a crash each block must hold what was acknowledged last, or a later
 * write whose answer never came.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { type NbdClient, NbdError } from "./nbd_client.ts";
import { pause } from "./wait.ts";

const BLOCK_BYTES = 4096;
const MAGIC = 0x5743_4153;
const READ_BLOCKS = 256;
const BATCH_REQUESTS = 16;
/** Batch 0: a block that was never written, or zeroed, reads as zero. */
const ZERO_BATCH_FLAG = 0x8000_0000;

/** A small generator of numbers from a seed (xorshift32), so that a run can be named. */
export function generator(seed: number): (below: number) => number {
  let state = (seed | 0) || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** What the load has done. */
export interface LoadCounts {
  batches: number;
  writes: number;
  bytes: number;
  flushes: number;
  /** Connections that broke while requests were under way. */
  breaks: number;
}

/** See the module's text. Batches are numbers from 1 on; concurrent requests never overlap. */
export class StampedLoad {
  readonly counts: LoadCounts = { batches: 0, writes: 0, bytes: 0, flushes: 0, breaks: 0 };
  readonly #next: (below: number) => number;
  /** What each block holds, as last acknowledged: a batch, flagged when it was zeroed by it. */
  readonly #settled: Uint32Array;
  /** Per block, the unanswered writes since: one of them may be what it holds. */
  readonly #open = new Map<number, number[]>();

  constructor(readonly sizeBytes: number, seed: number) {
    this.#settled = new Uint32Array(sizeBytes / BLOCK_BYTES);
    this.#next = generator(seed);
  }

  /**
   * Runs batches until `stopped` says so, with `paceMs` between them so that the replicas of a
   * shared machine keep up. Throws when the connection breaks or errs.
   */
  async run(client: NbdClient, stopped: () => boolean, paceMs = 0): Promise<void> {
    try {
      while (!stopped()) {
        await this.batch(client);
        if (paceMs > 0) await pause(paceMs);
        if (this.#next(8) === 0) {
          await client.flush();
          this.counts.flushes += 1;
        }
      }
    } catch (error) {
      this.counts.breaks += 1;
      throw error;
    }
  }

  /** Sends one batch of requests at once and waits for all answers. */
  async batch(client: NbdClient): Promise<void> {
    const batch = ++this.counts.batches;
    const taken = new Set<number>();
    const answers: Promise<unknown>[] = [];
    for (let i = 0; i < BATCH_REQUESTS; i++) {
      const count = this.#next(4) === 0 ? 1 + this.#next(16) : 1;
      const first = this.#next(this.#settled.length - count);
      const blocks = Array.from({ length: count }, (_, k) => first + k);
      if (blocks.some((block) => taken.has(block))) continue;
      for (const block of blocks) taken.add(block);
      answers.push(this.#send(client, batch, blocks));
    }
    // All must have ended before the next batch: an answer that fails late belongs to this one.
    const results = await Promise.allSettled(answers);
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }

  async #send(client: NbdClient, batch: number, blocks: readonly number[]): Promise<void> {
    const zero = this.#next(10) === 0;
    const value = zero ? (batch | ZERO_BATCH_FLAG) >>> 0 : batch;
    for (const block of blocks) {
      this.#open.set(block, [...this.#open.get(block) ?? [], value]);
    }
    const offset = blocks[0]! * BLOCK_BYTES;
    const length = blocks.length * BLOCK_BYTES;
    if (zero) {
      await (this.#next(2) === 0 ? client.trim(offset, length) : client.zero(offset, length));
    } else {
      const bytes = new Uint8Array(length);
      blocks.forEach((block, i) => stamp(bytes.subarray(i * BLOCK_BYTES), block, batch));
      await client.write(offset, bytes, this.#next(50) === 0 ? 1 : 0);
    }
    this.counts.writes += 1;
    this.counts.bytes += length;
    for (const block of blocks) {
      this.#settled[block] = value;
      this.#open.delete(block);
    }
  }

  /**
   * Reads everything back. Throws when a block is torn, foreign, older than what was acknowledged
   * or newer than what was sent. What is found counts as settled from then on.
   */
  async verify(client: NbdClient): Promise<void> {
    for (let first = 0; first < this.#settled.length; first += READ_BLOCKS) {
      const count = Math.min(READ_BLOCKS, this.#settled.length - first);
      const bytes = await client.read(first * BLOCK_BYTES, count * BLOCK_BYTES);
      for (let i = 0; i < count; i++) {
        this.#settle(first + i, bytes.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES));
      }
    }
    this.#open.clear();
  }

  #settle(block: number, bytes: Uint8Array): void {
    const candidates = [this.#settled[block]!, ...this.#open.get(block) ?? []];
    for (const value of candidates) {
      if (Buffer.compare(expected(block, value), bytes) === 0) {
        this.#settled[block] = value;
        return;
      }
    }
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const found = view.getUint32(0) === MAGIC
      ? `block ${view.getUint32(4)} of batch ${view.getUint32(8)}`
      : `bytes ${Buffer.from(bytes.subarray(0, 16)).toString("hex")}...`;
    const names = candidates.map((value) =>
      `batch ${value & ~ZERO_BATCH_FLAG}${value >= ZERO_BATCH_FLAG ? " (zero)" : ""}`
    );
    throw new WrongBytes(
      `block ${block} (offset ${block * BLOCK_BYTES}) should hold ${names.join(" or ")}` +
        ` and holds ${found}; the last batch was ${this.counts.batches}`,
    );
  }
}

/** What a verification finds wrong. */
export class WrongBytes extends Error {}

/** Whether an error is the connection's, not an answer of the server nor wrong bytes. */
export function isBroken(error: unknown): boolean {
  return !(error instanceof NbdError) && !(error instanceof WrongBytes);
}

const ZEROES = new Uint8Array(BLOCK_BYTES);
const SCRATCH = new Uint8Array(BLOCK_BYTES);

function expected(block: number, value: number): Uint8Array {
  if (value === 0 || value >= ZERO_BATCH_FLAG) return ZEROES;
  stamp(SCRATCH, block, value);
  return SCRATCH;
}

/** Fills one block: magic, block, batch, then words that depend on all three places. */
function stamp(into: Uint8Array, block: number, batch: number): void {
  const view = new DataView(into.buffer, into.byteOffset, BLOCK_BYTES);
  view.setUint32(0, MAGIC);
  view.setUint32(4, block);
  view.setUint32(8, batch);
  const base = Math.imul(block + 1, 0x9e3779b1) ^ Math.imul(batch, 0x85ebca6b);
  for (let at = 12; at < BLOCK_BYTES; at += 4) view.setUint32(at, (base + at) >>> 0);
}
