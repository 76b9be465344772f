/**
 * Judges deltas by the history: whoever stands anywhere from where a delta begins, and is given all of
 * it, must hold the history at its end. Also while half of one is in the volumes of a node: the rest of
 * it, durable beside them, must make that true again.
 *
 * @module
 */
import type { Delta } from "../../core/delta/delta_shelf.ts";
import { RECORD_BYTES_MAX } from "../../core/limits.ts";
import { RecordReader, RecordType } from "../../core/log/record.ts";
import type { CascadeNode } from "../../core/node.ts";
import { type History, Replica } from "./history.ts";
import type { SimHost } from "./sim_host.ts";

/** See the module's text. */
export class DeltaJudge {
  readonly #history: History;
  readonly #replica: Replica;
  readonly #buffer = new Uint8Array(RECORD_BYTES_MAX);
  /** Those that were judged, by host and id. */
  readonly #seen = new Set<string>();

  constructor(history: History) {
    this.#history = history;
    this.#replica = new Replica(history);
  }

  /** What is wrong with the deltas that a node has committed since it was last asked; null: nothing. */
  shelfOf(host: SimHost, node: CascadeNode): string | null {
    for (const delta of node.pipeline.shelf.deltas) {
      const key = `${host.name} ${delta.header.id}`;
      if (this.#seen.has(key)) continue;
      this.#seen.add(key);
      const { fromLsn, toLsn } = delta;
      const ops = this.#history.ops.filter(({ endLsn }) => endLsn > fromLsn && endLsn < toLsn);
      const middle = ops[Math.floor(ops.length / 2)]?.endLsn ?? fromLsn;
      for (const lsn of new Set([fromLsn, middle])) {
        this.#replica.goTo(lsn);
        const images = this.#replica.images.map((image) => image.slice());
        const at = this.#differs(images, delta);
        if (at !== null) {
          return `${host.name}: the delta ${fromLsn} to ${toLsn}, applied at ${lsn}, is wrong ${at}`;
        }
      }
    }
    return null;
  }

  /** The same of a node that has applied a delta in part. */
  halfAppliedAt(host: SimHost, node: CascadeNode): string | null {
    const { appliedLsn, shelf } = node.pipeline;
    const delta = shelf.following(appliedLsn);
    if (delta === null) return `${host.name} is in the midst of a delta that is not there`;
    const images = host.planned.config.volumes.map(({ path, sizeBytes }) => {
      const image = new Uint8Array(sizeBytes);
      if (path !== null) host.disk.image(path)?.read(image, 0);
      return image;
    });
    const at = this.#differs(images, delta);
    return at === null ? null : `${host.name}: the delta at ${appliedLsn} leaves it wrong ${at}`;
  }

  /** Where images are not the history at a delta's end, once it was applied to them; null: nowhere. */
  #differs(images: readonly Uint8Array[], delta: Delta): string | null {
    this.#apply(images, delta);
    this.#replica.goTo(delta.toLsn);
    for (const [number, expected] of this.#replica.images.entries()) {
      const found = images[number];
      const at = expected.findIndex((byte, offset) => byte !== found?.[offset]);
      if (at >= 0) return `at ${at} of volume ${number}: ${found?.[at]}, not ${expected[at]}`;
    }
    return null;
  }

  #apply(images: readonly Uint8Array[], delta: Delta): void {
    const record = new RecordReader();
    for (let position = 0; position < delta.bodyBytes;) {
      const bytes = delta.read(position, this.#buffer);
      for (let at = 0; at < bytes; at += record.totalBytes) {
        const { type, volume, offset, length, payloadStart } = record.at(this.#buffer, at);
        const payload = this.#buffer.subarray(payloadStart, payloadStart + length);
        if (type === RecordType.WRITE) images[volume]?.set(payload, offset);
        else images[volume]?.fill(0, offset, offset + length);
      }
      position += bytes;
    }
  }
}
