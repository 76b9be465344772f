/**
 * A peer that is given deltas, without a node around it.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { BodyChecker, type BodyCursor } from "../../../core/delta/delta_body.ts";
import type { DeltaTrailer } from "../../../core/delta/delta_format.ts";
import type { DeltaSource } from "../../../core/delta/delta_source.ts";
import { RECORD_BYTES_MAX } from "../../../core/limits.ts";
import { RecordReader, RecordType } from "../../../core/log/record.ts";
import { must } from "../../support/small.ts";

/** A peer that takes a body into images, and checks it as a receiver does. */
export class Peer {
  readonly images: Uint8Array[];
  #checker: BodyChecker;

  constructor(images: readonly Uint8Array[]) {
    this.images = images.map((image) => Uint8Array.from(image));
    this.#checker = new BodyChecker(images.map(({ length }) => length));
  }

  /** Another delta begins. */
  begin(): void {
    this.#checker = new BodyChecker(this.images.map(({ length }) => length));
  }

  get place(): { position: number; cursor: BodyCursor } {
    return { position: this.#checker.position, cursor: this.#checker.cursor };
  }

  take(body: Uint8Array): void {
    this.#checker.take(body);
    const record = new RecordReader();
    for (let at = 0; at < body.length; at += record.totalBytes) {
      const { type, volume, offset, length, payloadStart } = record.at(body, at);
      const image = this.images[volume];
      must(image !== undefined);
      if (type === RecordType.WRITE) {
        image.set(body.subarray(payloadStart, payloadStart + length), offset);
      } else image.fill(0, offset, offset + length);
    }
  }
}

/** Ships to the end, in pieces of `bytesWanted` at the most; `between` is called after each. */
export async function ship(
  delta: DeltaSource,
  peer: Peer,
  between: () => Promise<void> | void = () => {},
  bytesWanted = RECORD_BYTES_MAX,
): Promise<DeltaTrailer> {
  const buffer = new Uint8Array(RECORD_BYTES_MAX);
  for (;;) {
    const bytes = await delta.next(buffer, bytesWanted);
    must(bytes <= bytesWanted);
    if (bytes > 0) {
      peer.take(buffer.subarray(0, bytes));
      await between();
      continue;
    }
    const trailer = await delta.endPass();
    if (trailer === null) continue;
    assertEquals(trailer.bodyBytes, peer.place.position);
    return trailer;
  }
}

/** Tells the first difference alone. */
export function assertImages(found: readonly Uint8Array[], expected: readonly Uint8Array[]): void {
  for (const [number, image] of expected.entries()) {
    const at = image.findIndex((byte, index) => byte !== found[number]?.[index]);
    if (at >= 0) throw new Error(`volume ${number} differs at ${at}`);
  }
}
