/**
 * Knows what was written in each epoch, and so the one image that a node must hold at the LSN that it has applied, on
 * whatever branch of the history that is; and what clients were told to be flushed.
 *
 * @module
 */
import type { Epoch } from "../../core/history.ts";
import type { CascadeNode } from "../../core/node.ts";
import type { Prng } from "./prng.ts";
import type { SimHost } from "./sim_host.ts";
import { Violation } from "./world.ts";

interface Op {
  readonly offset: number;
  readonly payload: Uint8Array | null;
  readonly length: number;
  readonly endLsn: number;
}

/** A promise to a client: all of this epoch that ends here is flushed. */
interface Promised {
  readonly epochId: string;
  readonly lsn: number;
}

/** See the module's text. */
export class EpochOracle {
  /** Where each host has its one volume. */
  static readonly volume = "/vol/data";
  /** The size of the volume. */
  readonly bytes: number;
  readonly counts = { looks: 0, promises: 0, writes: 0 };
  readonly #prng: Prng;
  readonly #ops = new Map<string, Op[]>();
  readonly #promised: Promised[] = [];
  #stamp = 0;

  constructor(bytes: number, prng: Prng) {
    this.bytes = bytes;
    this.#prng = prng;
  }

  /** Notes what clients of a node that reigns are told. */
  subscribe(node: CascadeNode): void {
    if (!node.pipeline.reigns) return;
    let flushedLsn = node.front.flushedLsn;
    node.front.subscribe({
      onProgress: () => {
        if (node.front.flushedLsn <= flushedLsn) return;
        flushedLsn = node.front.flushedLsn;
        this.#promised.push({ epochId: node.pipeline.history.idAt(flushedLsn), lsn: flushedLsn });
        this.counts.promises++;
      },
      onRefused: () => {},
    });
  }

  /** A client of a node that reigns writes a little. */
  write(node: CascadeNode): void {
    if (node.front.refusal !== null || !node.front.accepting) return;
    const volume = node.exports[0];
    if (volume === undefined) return;
    const epochId = node.pipeline.history.lastId;
    const ops = this.#ops.get(epochId) ?? [];
    this.#ops.set(epochId, ops);
    for (let i = this.#prng.between(1, 5); i > 0; i--) {
      this.counts.writes++;
      const offset = 512 * this.#prng.below(this.bytes / 512 - 16);
      const length = 512 * this.#prng.between(1, 16);
      if (this.#prng.chance(0.15)) {
        ops.push({ offset, length, payload: null, endLsn: volume.zero(offset, length, true) });
        continue;
      }
      const payload = new Uint8Array(length).fill(++this.#stamp % 251 + 1);
      new DataView(payload.buffer).setUint32(0, this.#stamp);
      ops.push({ offset, length, payload, endLsn: volume.write(payload, offset) });
    }
    node.front.commit();
    if (this.#prng.chance(0.4)) node.front.requestFlush();
  }

  /** The one image at `lsn` of a history. */
  #imageAt(epochs: readonly Epoch[], lsn: number): Uint8Array {
    const image = new Uint8Array(this.bytes);
    for (const [i, { id }] of epochs.entries()) {
      const end = Math.min(lsn, epochs[i + 1]?.firstLsn ?? Infinity);
      for (const { offset, length, payload, endLsn } of this.#ops.get(id) ?? []) {
        if (endLsn > end) break;
        if (payload === null) image.fill(0, offset, offset + length);
        else image.set(payload, offset);
      }
    }
    return image;
  }

  /** What a node holds is the image of its history. Throws {@linkcode Violation}. */
  look(host: SimHost): void {
    const { node } = host;
    if (node === null || node.pipeline.volumes.length === 0 || node.deltas.isInPlace) return;
    const { pipeline } = node;
    if (pipeline.isInDelta || pipeline.blocked !== null || node.deltas.isRejoining) return;
    this.counts.looks++;
    const { appliedLsn, history } = pipeline;
    const image = host.disk.image(EpochOracle.volume);
    const at = image?.differsAt(this.#imageAt(history.epochs, appliedLsn)) ?? -1;
    if (at < 0) return;
    throw new Violation(
      `${host.name} at LSN ${appliedLsn} is no image of its history, at byte ${at}`,
    );
  }

  /** All that clients were told to be flushed is in the history of a node. Throws {@linkcode Violation}. */
  judgePromises({ pipeline: { history, appendedLsn } }: CascadeNode): void {
    for (const { epochId, lsn } of this.#promised) {
      const place = history.epochs.findIndex((epoch) => epoch.id === epochId);
      const endLsn = place < 0 ? -1 : history.epochs[place + 1]?.firstLsn ?? appendedLsn;
      if (lsn <= endLsn) continue;
      throw new Violation(
        `a client was told that ${lsn} of epoch ${epochId} is flushed: it is lost`,
      );
    }
  }
}
