/**
 * The history of the primary as its clients know it: every write with the LSN at which it ends, and
 * with it the one content that each volume has at each LSN.
 *
 * @module
 */
import { assert } from "../../core/assert.ts";
import type { Plan } from "./plan.ts";

/** One write, zero or trim. */
export interface Op {
  /** Number of the volume. */
  readonly volume: number;
  readonly offset: number;
  readonly length: number;
  /** null: the range reads as zero. */
  readonly payload: Uint8Array | null;
  /** Where its record begins and ends. */
  readonly startLsn: number;
  readonly endLsn: number;
}

/** The images of all volumes at one LSN, moved along the history. */
export class Replica {
  readonly #history: History;
  readonly images: Uint8Array[];
  /** Ops that are in. */
  #count = 0;

  constructor(history: History) {
    this.#history = history;
    this.images = history.blankImages();
  }

  /** The op that comes next; null at the end. */
  get next(): Op | null {
    return this.#history.ops[this.#count] ?? null;
  }

  /** Goes to the images as of `lsn`. */
  goTo(lsn: number): void {
    const { ops } = this.#history;
    const last = this.#count === 0 ? null : ops[this.#count - 1];
    if (last === undefined || (last !== null && last.endLsn > lsn)) this.reset();
    for (let op = ops[this.#count]; op !== undefined && op.endLsn <= lsn; op = ops[this.#count]) {
      apply(this.images, op);
      this.#count++;
    }
  }

  /** Starts over: the history was cut. */
  reset(): void {
    this.#count = 0;
    this.images.splice(0, this.images.length, ...this.#history.blankImages());
  }
}

/** See the module's text. */
export class History {
  readonly ops: Op[] = [];
  /** The volumes as the clients of the primary see them. */
  readonly head: Replica;
  readonly #plan: Plan;
  #stamps = 0;

  constructor(plan: Plan) {
    this.#plan = plan;
    this.head = new Replica(this);
  }

  /** The volumes before LSN 0. */
  blankImages(): Uint8Array[] {
    const volumes = this.#plan.nodes[0]?.config.volumes ?? [];
    return volumes.map(({ name, sizeBytes }) =>
      this.#plan.images.get(name)?.slice() ?? new Uint8Array(sizeBytes)
    );
  }

  get endLsn(): number {
    return this.ops.at(-1)?.endLsn ?? 0;
  }

  /** A payload like no other: each eight bytes name the write and their place in it. */
  stamp(length: number): Uint8Array {
    const stamp = ++this.#stamps;
    const words = new Uint32Array(2 * Math.ceil(length / 8));
    for (let i = 0; i < words.length; i += 2) {
      words[i] = stamp;
      words[i + 1] = i;
    }
    return new Uint8Array(words.buffer, 0, length);
  }

  add(op: Op): void {
    assert(op.startLsn >= this.endLsn, "tickets grow");
    this.ops.push(op);
    this.head.goTo(op.endLsn);
  }

  /** What ends beyond `lsn` was lost in a crash of the primary: it never happened. */
  cut(lsn: number): void {
    const kept = this.ops.findIndex((op) => op.endLsn > lsn);
    if (kept >= 0) this.ops.length = kept;
    this.head.reset();
    this.head.goTo(Infinity);
  }
}

function apply(images: readonly Uint8Array[], op: Op): void {
  const image = images[op.volume];
  assert(image !== undefined, "an op names a volume");
  if (op.payload === null) image.fill(0, op.offset, op.offset + op.length);
  else image.set(op.payload, op.offset);
}
