/**
 * The transmission phase of NBD as a machine: takes requests out of a receive buffer, acts on them
 * through the back end, and puts replies into a reply buffer. It knows no socket. Payload stays
 * where the socket put it until the back end copies it.
 *
 * | phase    | waits for                                  | then                                    |
 * | -------- | ------------------------------------------ | --------------------------------------- |
 * | requests | a header, and room for its reply           | requests, payload, reading or ended     |
 * | payload  | the payload of a WRITE, or of one refused  | requests                                |
 * | reading  | room for the next piece of a READ's reply  | requests, or broken when it fails midway |
 * | ended    | nothing more is taken (DISC, or no magic); what waits is still answered        ||
 * | broken   | nothing: hang up at once                                                       ||
 *
 * @module
 */
import { unreachable } from "../assert.ts";
import type { ExportBackend, Front, Refusal } from "./backend.ts";
import { allocationExtents } from "./block_status.ts";
import type { ReceiveBuffer } from "./buffers.ts";
import {
  ALLOCATION_CONTEXT_ID,
  Chunk,
  CHUNK_FLAG_DONE,
  CHUNK_HEADER_BYTES,
  Command,
  CommandFlag,
  REQUEST_HEADER_BYTES,
  REQUEST_MAGIC,
} from "./constants.ts";
import { type Fault, faultOfError, faultOfRefusal, Faults } from "./faults.ts";
import type { Session } from "./handshake.ts";
import { EXTENTS_MAX, SMALL_REPLY_BYTES_MAX } from "./nbd_limits.ts";
import { ReadReply } from "./read_reply.ts";
import type { ReplyBuffer } from "./reply_buffer.ts";
import { Unanswered } from "./unanswered.ts";
import { type RequestRules, validateRequest } from "./validate.ts";
import { WritePayload } from "./write_payload.ts";

const TWO_TO_32 = 0x1_0000_0000;
const STATUS_REPLY_BYTES_MAX = CHUNK_HEADER_BYTES + 4 + 8 * EXTENTS_MAX;

/** See the module's table. */
export type TransmissionPhase = "requests" | "payload" | "reading" | "ended" | "broken";

/** Why no more is taken: bytes from the client, room for replies, or a place to wait is lacking. */
export type Lack = "input" | "room" | "places" | "nothing";

/** One client's requests. Hot path: no promise, and no allocation but the views that payload needs. */
export class Transmission {
  /** While the server stops, new requests are answered with ESHUTDOWN. */
  draining = false;
  readonly #backend: ExportBackend;
  readonly #front: Front;
  readonly #structured: boolean;
  readonly #rules: RequestRules;
  readonly #replies: ReplyBuffer;
  readonly #read: ReadReply;
  readonly #payload: WritePayload;
  #phase: TransmissionPhase = "requests";
  #wanted = REQUEST_HEADER_BYTES;

  readonly #unanswered: Unanswered;
  /** Since the last commit: something was written; somebody began to wait for a flush. */
  #written = false;
  #flushWanted = false;

  /** The request at hand. */
  #flags = 0;
  #handleHigh = 0;
  #handleLow = 0;
  #offset = 0;
  #length = 0;

  constructor(session: Session, replies: ReplyBuffer) {
    this.#backend = session.backend;
    this.#front = session.backend.front;
    this.#structured = session.structured;
    this.#replies = replies;
    this.#read = new ReadReply(session, replies);
    this.#payload = new WritePayload(session.backend);
    this.#unanswered = new Unanswered(this.#front, replies);
    this.#rules = {
      sizeBytes: session.backend.sizeBytes,
      readOnly: session.backend.readOnly,
      structured: session.structured,
      blockStatus: session.blockStatus,
    };
  }

  get phase(): TransmissionPhase {
    return this.#phase;
  }

  /** How many bytes from the start of the receive buffer the next step needs, if they fit it. */
  get wanted(): number {
    return this.#wanted;
  }

  /** Nothing is in flight: all that was taken has its reply. */
  get idle(): boolean {
    return this.#unanswered.isEmpty && this.#phase !== "payload" && this.#phase !== "reading";
  }

  /** Something waits for the front. */
  get isWaiting(): boolean {
    return !this.#unanswered.isEmpty;
  }

  /** There is a place for another request that must wait. */
  get hasPlaces(): boolean {
    return !this.#unanswered.isFull;
  }

  /** Takes all requests that it can; tells what is lacking for more. */
  advance(input: ReceiveBuffer): Lack {
    for (;;) {
      const lack = this.#step(input);
      if (lack !== null) return lack;
    }
  }

  #step(input: ReceiveBuffer): Lack | null {
    switch (this.#phase) {
      case "requests":
        return this.#takeRequest(input);
      case "payload":
        return this.#takePayload(input);
      case "reading":
        return this.#continueRead();
      case "ended":
      case "broken":
        return "nothing";
      default:
        return unreachable(this.#phase);
    }
  }

  /** Ends a batch: hands it to the log, answers what can be, asks for a flush if it takes one. */
  commit(): void {
    this.#commitWrites();
    this.settle();
    if (!this.#flushWanted) return;
    this.#flushWanted = false;
    if (!this.#unanswered.someFlush) return;
    try {
      this.#front.requestFlush();
    } catch (error) {
      this.#refuseWaiting(faultOfError(error));
    }
    this.settle();
  }

  /** Answers those whose position was reached, as far as there is room. */
  settle(): void {
    // The data of a READ must not be interrupted.
    if (this.#phase !== "reading") this.#unanswered.settle();
  }

  /** All that wait now are answered with an error. */
  refuse(refusal: Refusal): void {
    this.#refuseWaiting(faultOfRefusal(refusal));
    this.settle();
  }

  #refuseWaiting(fault: Fault): void {
    this.#unanswered.refuse(fault);
    // The earlier pieces of a large write share the fate of what waits.
    if (this.#phase === "payload") this.#payload.lose(fault);
  }

  /** Whatever waits when this fails may not be in the log: none of it may be answered well. */
  #commitWrites(): void {
    if (!this.#written) return;
    this.#written = false;
    try {
      this.#front.commit();
    } catch (error) {
      this.#refuseWaiting(faultOfError(error));
    }
  }

  #takeRequest(input: ReceiveBuffer): Lack | null {
    const at = input.start;
    const replies = this.#replies;
    this.#wanted = REQUEST_HEADER_BYTES;
    if (input.available < REQUEST_HEADER_BYTES) return "input";
    if (replies.room < SMALL_REPLY_BYTES_MAX) return "room";
    if (this.#unanswered.isFull) return "places";
    const view = input.view;
    if (view.getUint32(at) !== REQUEST_MAGIC) return this.#end();
    const flags = view.getUint16(at + 4);
    const command = view.getUint16(at + 6);
    if (command === Command.DISC) return this.#end();
    if (command === Command.BLOCK_STATUS && replies.room < STATUS_REPLY_BYTES_MAX) {
      if (replies.length > 0) return "room";
    }
    this.#flags = flags;
    this.#handleHigh = view.getUint32(at + 8);
    this.#handleLow = view.getUint32(at + 12);
    this.#offset = view.getUint32(at + 16) * TWO_TO_32 + view.getUint32(at + 20);
    this.#length = view.getUint32(at + 24);
    input.start = at + REQUEST_HEADER_BYTES;
    const fault = this.draining
      ? Faults.STOPPING
      : validateRequest(this.#rules, command, flags, this.#offset, this.#length);
    if (command === Command.WRITE) {
      this.#payload.begin(this.#offset, this.#length, fault);
      this.#phase = "payload";
    } else if (fault !== null) this.#fail(fault);
    else this.#act(command);
    return null;
  }

  #end(): "nothing" {
    this.#phase = "ended";
    return "nothing";
  }

  #act(command: number): void {
    switch (command) {
      case Command.READ:
        this.#commitWrites();
        this.#read.begin(
          this.#flags,
          this.#handleHigh,
          this.#handleLow,
          this.#offset,
          this.#length,
        );
        this.#phase = "reading";
        return;
      case Command.FLUSH:
        return this.#flush();
      case Command.TRIM:
      case Command.WRITE_ZEROES:
        return this.#zero(command);
      case Command.BLOCK_STATUS:
        return this.#status();
      default:
        // CACHE: there is nothing to do ahead of time.
        return this.#replies.simple(0, this.#handleHigh, this.#handleLow);
    }
  }

  #flush(): void {
    if (this.#rules.readOnly) return this.#replies.simple(0, this.#handleHigh, this.#handleLow);
    const refusal = this.#backend.refusal;
    // A full disk takes no writes, but what it took before can be flushed.
    if (refusal !== null && refusal !== "disk-full") {
      return this.#fail(faultOfRefusal(refusal));
    }
    this.#unanswered.addFlush(this.#front.flushTicket(), this.#handleHigh, this.#handleLow);
    this.#flushWanted = true;
  }

  #zero(command: number): void {
    const refusal = this.#backend.refusal;
    if (refusal !== null) return this.#fail(faultOfRefusal(refusal));
    if (this.#length === 0) return this.#replies.simple(0, this.#handleHigh, this.#handleLow);
    try {
      const ticket = command === Command.TRIM
        ? this.#backend.trim(this.#offset, this.#length)
        : this.#backend.zero(
          this.#offset,
          this.#length,
          (this.#flags & CommandFlag.NO_HOLE) === 0,
        );
      this.#wait(ticket);
    } catch (error) {
      // It may have taken earlier writes of the batch with it.
      const fault = faultOfError(error);
      this.#refuseWaiting(fault);
      this.#fail(fault);
    }
  }

  /** What was written waits in the ring of its kind. */
  #wait(ticket: number): void {
    this.#written = true;
    if ((this.#flags & CommandFlag.FUA) === 0) {
      this.#unanswered.addWrite(ticket, this.#handleHigh, this.#handleLow);
    } else {
      this.#front.countFuaWrite();
      this.#unanswered.addFlush(ticket, this.#handleHigh, this.#handleLow);
      this.#flushWanted = true;
    }
  }

  #takePayload(input: ReceiveBuffer): Lack | null {
    const payload = this.#payload;
    const outcome = payload.advance(input);
    if (payload.ticket > 0) this.#written = true;
    switch (outcome) {
      case "input":
        this.#wanted = payload.wanted;
        return "input";
      case "threw":
        // It may have taken earlier writes of the batch with it.
        this.#refuseWaiting(payload.fault ?? Faults.IO);
        return null;
      case "done":
        return this.#endPayload();
      default:
        return unreachable(outcome);
    }
  }

  #endPayload(): Lack | null {
    if (this.#replies.room < SMALL_REPLY_BYTES_MAX) return "room";
    const { fault, ticket } = this.#payload;
    this.#phase = "requests";
    if (fault !== null) this.#fail(fault);
    else if (ticket === 0) this.#replies.simple(0, this.#handleHigh, this.#handleLow);
    else this.#wait(ticket);
    return null;
  }

  #continueRead(): Lack | null {
    const outcome = this.#read.advance();
    switch (outcome) {
      case "done":
        this.#phase = "requests";
        return null;
      case "room":
        return "room";
      case "broken":
        this.#phase = "broken";
        return "nothing";
      default:
        return unreachable(outcome);
    }
  }

  #status(): void {
    this.#commitWrites();
    const one = (this.#flags & CommandFlag.REQ_ONE) !== 0;
    const replies = this.#replies;
    let extents;
    try {
      extents = allocationExtents(this.#backend, this.#offset, this.#length, one ? 1 : EXTENTS_MAX);
    } catch (error) {
      return this.#fail(faultOfError(error));
    }
    const { lengths, flags } = extents;
    const bytes = 4 + 8 * lengths.length;
    replies.chunk(CHUNK_FLAG_DONE, Chunk.BLOCK_STATUS, this.#handleHigh, this.#handleLow, bytes);
    replies.uint32(ALLOCATION_CONTEXT_ID);
    for (let index = 0; index < lengths.length; index++) {
      replies.uint32(lengths[index] ?? 0);
      replies.uint32(flags[index] ?? 0);
    }
  }

  /** An error chunk where the client understands it, since that carries a message. */
  #fail(fault: Fault): void {
    if (this.#structured) this.#replies.errorChunk(fault, this.#handleHigh, this.#handleLow);
    else this.#replies.simple(fault.errorNumber, this.#handleHigh, this.#handleLow);
  }
}
