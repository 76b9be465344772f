/**
 * An NBD export as source and target of a seed.
 *
 * @module
 */
import { CascadeError } from "../errors.ts";
import type { NbdClient } from "../nbd_client/nbd_client.ts";
import type { Bytes } from "../ports.ts";
import type { BlockTarget, Extent } from "./blocks.ts";

const PIECE_BYTES = 256 * 1024;
/** A zeroed range costs a request: small ones are sent as data. */
const GRAIN_BYTES = 16 * 1024;
const DEPTH = 32;
/** One WRITE_ZEROES: some servers write the zeroes out, and answer late. */
const ZERO_BYTES_MAX = 32 * 1024 * 1024;

/** Over connected clients of one export, which it closes. Requests go to them in turn. */
export class NbdBlocks implements BlockTarget {
  readonly name: string;
  readonly sizeBytes: number;
  readonly pieceBytesMax: number;
  readonly grainBytes: number;
  readonly depth = DEPTH;
  /** The server may be killed with us, and tells by a flush alone what it holds for good. */
  readonly outlivesUs = false;
  readonly #clients: readonly [NbdClient, ...NbdClient[]];
  #turn = 0;

  /** More than one client only where the server's flush is for all of them. */
  constructor(name: string, clients: readonly [NbdClient, ...NbdClient[]]) {
    this.name = name;
    this.#clients = clients;
    const { sizeBytes, blockBytesMin, payloadBytesMax } = this.#first.export;
    this.sizeBytes = sizeBytes;
    this.grainBytes = Math.max(GRAIN_BYTES, blockBytesMin);
    const whole = Math.floor(payloadBytesMax / this.grainBytes) * this.grainBytes;
    if (whole === 0 || sizeBytes % blockBytesMin !== 0) {
      throw new CascadeError("protocol", "the NBD server's block sizes cannot be used", {
        where: { uri: name, blockBytesMin, payloadBytesMax, sizeBytes },
      });
    }
    this.pieceBytesMax = Math.min(PIECE_BYTES, whole);
  }

  get #first(): NbdClient {
    return this.#clients[0];
  }

  #next(): NbdClient {
    this.#turn = (this.#turn + 1) % this.#clients.length;
    return this.#clients[this.#turn] ?? this.#first;
  }

  async extents(offset: number, length: number): Promise<readonly Extent[]> {
    const end = offset + length;
    if (this.#first.export.allocationId === null) return [{ start: offset, end, zero: false }];
    const extents: Extent[] = [];
    for (let at = offset; at < end;) {
      extents.push(...await this.#first.blockStatus(at, end - at));
      at = extents[extents.length - 1]!.end;
    }
    return extents;
  }

  read(into: Bytes, offset: number): Promise<void> {
    return this.#next().read(into, offset);
  }

  write(bytes: Bytes, offset: number): Promise<void> {
    return this.#next().write(bytes, offset);
  }

  async zero(offset: number, length: number): Promise<void> {
    const end = offset + length;
    if (!this.#first.export.canZero) return await this.#writeZeroes(offset, end);
    for (let at = offset; at < end; at += ZERO_BYTES_MAX) {
      await this.#next().zero(at, Math.min(ZERO_BYTES_MAX, end - at));
    }
  }

  async #writeZeroes(offset: number, end: number): Promise<void> {
    const zeroes = new Uint8Array(Math.min(this.pieceBytesMax, end - offset));
    for (let at = offset; at < end; at += zeroes.length) {
      await this.#next().write(zeroes.subarray(0, end - at), at);
    }
  }

  /** A server without FLUSH keeps nothing back, as the protocol has it. */
  async flush(): Promise<void> {
    if (this.#first.export.canFlush) await this.#first.flush();
  }

  async close(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.close()));
  }
}
