/**
 * A client that writes one thing after the other, so that the order of all that was ever written is
 * known; and the proof that images of its volumes are what they were after one of these writes.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { generator, isBroken } from "./load.ts";
import { NbdClient } from "./nbd_client.ts";
import { pause, until } from "./wait.ts";

const BLOCK_BYTES = 4096;
const MAGIC = 0x4849_5354;
interface Step {
  readonly volume: number;
  readonly block: number;
  readonly blocks: number;
  readonly zero: boolean;
}

/** What is written to: exports of one node, all of the same size. */
export interface Written {
  readonly socket: string;
  readonly volumes: readonly string[];
  readonly sizeBytes: number;
  /** Blocks of 4 KiB in one write, at most; 8 unless given. */
  readonly runBlocksMax?: number;
}

/** See the module's text. Steps are numbers from 1 on. */
export class HistoryLoad {
  readonly #written: Written;
  readonly #next: (below: number) => number;
  /** Step `n` is at place n - 1. */
  readonly #steps: Step[] = [];
  /** How long it rests after every 16 writes. */
  paceMs = 0;
  #stopped = false;
  #running: Promise<void> = Promise.resolve();
  #failure: unknown = null;

  constructor(written: Written, seed: number) {
    this.#written = written;
    this.#next = generator(seed);
  }

  /** The number of the last write that was begun. */
  get steps(): number {
    return this.#steps.length;
  }

  /** Writes until it is stopped, over every reconnect. */
  start(paceMs: number): void {
    this.#stopped = false;
    this.paceMs = paceMs;
    this.#running = this.#loop().catch((error) => {
      this.#failure = error;
    });
  }

  /** Ends it after the write that is under way. Throws what it met. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
    this.check();
  }

  /** Throws what the load has met. */
  check(): void {
    if (this.#failure !== null) throw this.#failure;
  }

  async #loop(): Promise<void> {
    // A write that no answer came to is sent again, the same: history has it once or twice in a row.
    let unanswered: Step | null = null;
    while (!this.#stopped) {
      const clients: NbdClient[] = [];
      try {
        for (const volume of this.#written.volumes) clients.push(await this.#connect(volume));
        while (!this.#stopped) {
          const step: Step = unanswered ?? this.#step();
          if (unanswered === null) this.#steps.push(step);
          unanswered = step;
          await this.#send(clients[step.volume]!, step);
          unanswered = null;
          if (this.#steps.length % 16 === 0) await pause(this.paceMs);
          if (this.#next(200) === 0) await clients[0]!.flush();
        }
      } catch (error) {
        if (!isBroken(error)) throw error;
      } finally {
        for (const client of clients) client.close();
      }
    }
  }

  #connect(volume: string): Promise<NbdClient> {
    return until(
      "the primary takes clients",
      () => NbdClient.connect(this.#written.socket, volume),
      { pollMs: 5 },
    );
  }

  #step(): Step {
    const { volumes, sizeBytes, runBlocksMax = 8 } = this.#written;
    const blocks = 1 + this.#next(runBlocksMax);
    const volume = this.#next(volumes.length);
    const block = this.#next(sizeBytes / BLOCK_BYTES - blocks);
    return { volume, block, blocks, zero: this.#next(12) === 0 };
  }

  async #send(client: NbdClient, { block, blocks, zero }: Step): Promise<void> {
    const [offset, length] = [block * BLOCK_BYTES, blocks * BLOCK_BYTES];
    if (zero) return void await client.zero(offset, length);
    const bytes = new Uint8Array(length);
    for (let i = 0; i < blocks; i++) {
      stamp(bytes.subarray(i * BLOCK_BYTES), block + i, this.#steps.length);
    }
    await client.write(offset, bytes);
  }

  /**
   * The step after which the volumes were what `images` hold, in the order of the volumes. Throws,
   * naming what does not fit, when there is none.
   */
  momentOf(images: readonly string[]): number {
    const found = images.map((image) => this.#stamps(image));
    let moment = 0;
    for (const stamps of found) for (const step of stamps) moment = Math.max(moment, step);
    if (moment > this.steps) throw new Error(`${images[0]} holds step ${moment}: never written`);
    const expected = this.#after(moment);
    for (;; moment++) {
      const wrong = this.#firstWrong(found, expected);
      if (wrong === null) return moment;
      // What was only zeroed since leaves no number behind.
      const next = this.#steps[moment];
      if (next?.zero !== true) throw new Error(`no moment of history: ${wrong} (step ${moment})`);
      expected[next.volume]!.fill(0, next.block, next.block + next.blocks);
    }
  }

  #after(moment: number): Uint32Array<ArrayBuffer>[] {
    const { volumes, sizeBytes } = this.#written;
    const state = volumes.map(() => new Uint32Array(sizeBytes / BLOCK_BYTES));
    this.#steps.slice(0, moment).forEach(({ volume, block, blocks, zero }, i) => {
      state[volume]!.fill(zero ? 0 : i + 1, block, block + blocks);
    });
    return state;
  }

  #firstWrong(found: readonly Uint32Array[], expected: readonly Uint32Array[]): string | null {
    for (const [volume, stamps] of found.entries()) {
      for (const [block, step] of stamps.entries()) {
        const wanted = expected[volume]![block];
        if (step === wanted) continue;
        return `block ${block} of volume ${volume} is of step ${step}, expected ${wanted}`;
      }
    }
    return null;
  }

  /** The step that wrote each block; 0 for zeroes. Throws for a block that is torn or foreign. */
  #stamps(image: string): Uint32Array {
    const bytes = Deno.readFileSync(image);
    const stamps = new Uint32Array(bytes.length / BLOCK_BYTES);
    const [view, wanted] = [new DataView(bytes.buffer), new Uint8Array(BLOCK_BYTES)];
    for (const block of stamps.keys()) {
      const at = block * BLOCK_BYTES;
      const step = view.getUint32(at) === MAGIC ? view.getUint32(at + 4) : 0;
      if (step === 0) wanted.fill(0);
      else stamp(wanted, block, step);
      const isWhole = Buffer.compare(wanted, bytes.subarray(at, at + BLOCK_BYTES)) === 0;
      if (!isWhole) throw new Error(`${image}: block ${block} (step ${step}) was never written so`);
      stamps[block] = step;
    }
    return stamps;
  }
}

function stamp(into: Uint8Array, block: number, step: number): void {
  const view = new DataView(into.buffer, into.byteOffset, BLOCK_BYTES);
  view.setUint32(0, MAGIC);
  view.setUint32(4, step);
  const base = Math.imul(block + 1, 0x9e3779b1) ^ Math.imul(step, 0x85ebca6b);
  for (let at = 8; at < BLOCK_BYTES; at += 4) view.setUint32(at, (base + at) >>> 0);
}
