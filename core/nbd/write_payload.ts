/**
 * The payload of a WRITE on its way from the receive buffer to the back end, piece by piece as it
 * comes; or, of a WRITE that is refused, to nowhere, since the next request stands behind it.
 *
 * @module
 */
import type { ExportBackend } from "./backend.ts";
import type { ReceiveBuffer } from "./buffers.ts";
import { type Fault, faultOfError, faultOfRefusal } from "./faults.ts";
import { BLOCK_BYTES_PREFERRED, PIECE_BYTES_MAX } from "./nbd_limits.ts";

/** One WRITE at a time. Hot path: allocates one view a piece. */
export class WritePayload {
  /** How many bytes from the start of the receive buffer the next step needs, if they fit it. */
  wanted = 1;
  readonly #backend: ExportBackend;
  #left = 0;
  #offset = 0;
  #fault: Fault | null = null;
  #ticket = 0;

  constructor(backend: ExportBackend) {
    this.#backend = backend;
  }

  /** Why the request fails, if it does. */
  get fault(): Fault | null {
    return this.#fault;
  }

  /** Of what was written so far; 0 before anything was. */
  get ticket(): number {
    return this.#ticket;
  }

  /** Begins with a request that was checked; with a fault, its payload is thrown away. */
  begin(offset: number, length: number, fault: Fault | null): void {
    const refusal = fault === null ? this.#backend.refusal : null;
    this.#fault = refusal === null ? fault : faultOfRefusal(refusal);
    this.#offset = offset;
    this.#left = length;
    this.#ticket = 0;
  }

  /** What was written so far may be lost: the whole request fails. */
  lose(fault: Fault): void {
    if (this.#ticket > 0) this.#fault ??= fault;
  }

  /** Takes what came; `threw` when the back end failed, after which it can go on. */
  advance(input: ReceiveBuffer): "done" | "input" | "threw" {
    while (this.#left > 0) {
      const available = input.available;
      if (this.#fault !== null) {
        this.wanted = 1;
        if (available === 0) return "input";
        this.#taken(input, Math.min(available, this.#left));
        continue;
      }
      let piece = Math.min(this.#left, PIECE_BYTES_MAX);
      if (available < piece) {
        this.wanted = piece;
        if (!input.full) return "input";
        // Without a large buffer, what fits an own one is a piece; the next begins at a page.
        piece = available - (this.#offset + available) % BLOCK_BYTES_PREFERRED;
      }
      if (!this.#write(input, piece)) return "threw";
    }
    return "done";
  }

  #write(input: ReceiveBuffer, piece: number): boolean {
    // Before the first piece it was asked already.
    const refusal = this.#ticket > 0 ? this.#backend.refusal : null;
    if (refusal !== null) {
      this.#fault = faultOfRefusal(refusal);
      return true;
    }
    const payload = input.bytes.subarray(input.start, input.start + piece);
    try {
      this.#ticket = this.#backend.write(payload, this.#offset);
    } catch (error) {
      this.#fault = faultOfError(error);
      return false;
    }
    this.#taken(input, piece);
    return true;
  }

  #taken(input: ReceiveBuffer, count: number): void {
    input.start += count;
    this.#offset += count;
    this.#left -= count;
  }
}
