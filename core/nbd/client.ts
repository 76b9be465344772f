/**
 * Drives one client over its connection: handshake, then transmission. Reads and writes of the
 * socket go on side by side, and there is a promise for each of those, none for a request.
 *
 * @module
 */
import { assert } from "../assert.ts";
import { describeError, isCascadeError } from "../errors.ts";
import type { Bytes, Clock, Connection } from "../ports.ts";
import type { ExportBackend, Front, Refusal } from "./backend.ts";
import { type BlockPool, ReceiveBuffer } from "./buffers.ts";
import { Command, REQUEST_HEADER_BYTES, REQUEST_MAGIC } from "./constants.ts";
import { Handshake, type Session, type TlsMode } from "./handshake.ts";
import { type Parting, WITHOUT_TLS } from "./parting.ts";
import { OWN_BYTES_FIRST, RECEIVE_BYTES } from "./nbd_limits.ts";
import { ReplyBuffer } from "./reply_buffer.ts";
import { type Lack, Transmission } from "./transmission.ts";

/** What a client needs of its server. */
export interface ClientOptions {
  readonly connection: Connection;
  readonly exports: readonly ExportBackend[];
  /** Left out: off. */
  readonly tls?: TlsMode;
  readonly pool: BlockPool;
  readonly clock: Clock;
  readonly handshakeTimeoutMs: number;
  /** Called when it chose an export; with the names in its certificate if it is connected over TLS. */
  onServing(exportName: string, certifiedNames: readonly string[] | null): void;
  /** Called once, when it is gone for good. `unexpected` tells of a fault here, not of the client. */
  onClosed(reason: string, unexpected: boolean, code: Parting): void;
}

/** One client of the server. */
export class NbdClient {
  readonly #options: ClientOptions;
  #connection: Connection;
  readonly #handshake: Handshake;
  readonly #input: ReceiveBuffer;
  readonly #replies: ReplyBuffer;
  #transmission: Transmission | null = null;
  #unsubscribe: () => void = () => {};
  /** The loop waits for bytes from the client. */
  #isReading = false;
  /** Set while the loop waits for something else. */
  #wake: (() => void) | null = null;
  /** A read that began while the loop waited for something else. */
  #reading: Promise<number | null> | null = null;
  /** That read is over, and its outcome is to be looked at. */
  #isHeard = false;
  /** The client sends no more; what it sent is still to be acted on. */
  #hasEnded = false;
  #draining = false;
  #closed = false;
  #reason = "";
  #unexpected = false;
  #code: Parting = "done";

  constructor(options: ClientOptions) {
    this.#options = options;
    this.#connection = options.connection;
    this.#handshake = new Handshake(options.exports, options.tls);
    this.#input = new ReceiveBuffer(options.pool, RECEIVE_BYTES, OWN_BYTES_FIRST);
    this.#replies = new ReplyBuffer(options.pool);
  }

  /** It has chosen an export: stopping waits for what it has in flight. */
  get isServing(): boolean {
    return this.#transmission !== null && !this.#closed;
  }

  /** Serves until the client leaves or is closed. Never fails. */
  async run(): Promise<void> {
    try {
      const session = await this.#shakeHands();
      if (session !== null && !this.#closed) await this.#serve(session);
    } catch (error) {
      this.#close(describeError(error), !isOfClient(error), codeOf(error));
    }
    if (this.#handshake.isDenied) this.#close(WITHOUT_TLS, false, "no-tls");
    this.#close("the client hung up", false, "hung-up");
    await this.#reading?.catch(() => {/* the connection is closed: no more of it is wanted */});
    // No read of the socket is under way any more.
    this.#input.release();
    this.#options.onClosed(this.#reason, this.#unexpected, this.#code);
  }

  /** Refuses what is new, answers what is in flight, then closes. */
  drain(): void {
    this.#draining = true;
    this.#handshake.draining = true;
    if (this.#transmission === null) return;
    this.#transmission.draining = true;
    this.#goOn();
  }

  /** Hangs up at once. */
  close(reason: string, code: Parting): void {
    this.#close(reason, false, code);
  }

  #close(reason: string, unexpected: boolean, code: Parting): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#reason = reason;
    this.#code = code;
    this.#unexpected = unexpected;
    this.#unsubscribe();
    this.#connection.close();
    this.#replies.release();
    this.#wakeUp();
  }

  async #shakeHands(): Promise<Session | null> {
    const { clock, handshakeTimeoutMs } = this.#options;
    const deadline = clock.after(
      handshakeTimeoutMs,
      () => this.close("the handshake took too long", "timed-out"),
    );
    try {
      const handshake = this.#handshake;
      while (!this.#closed) {
        const replies = handshake.takeReplies();
        if (handshake.phase === "upgrade") {
          if (!await this.#startTls(replies)) return null;
          continue;
        }
        if (replies.length > 0) await this.#connection.write(replies);
        if (handshake.phase === "ready") return handshake.session;
        if (handshake.phase === "closed") {
          this.close(handshake.reason, handshake.code);
          return null;
        }
        const { bytes, start, end } = this.#input;
        this.#input.start = handshake.consume(bytes, start, end);
        if (this.#input.start !== start) continue;
        const space = this.#input.space(handshake.wanted);
        const count = await this.#connection.read(space);
        if (count === null) return null;
        this.#input.received(count);
      }
      return null;
    } finally {
      deadline.cancel();
    }
  }

  /**
   * Goes on over TLS; false when it was closed. Whatever came behind the option came in plain: whoever sends it
   * before the answer may be somebody on the way, who wants it to be taken for the client's.
   */
  async #startTls(replies: Bytes): Promise<boolean> {
    if (this.#input.available > 0) {
      this.close("it sent more in plain after it asked for TLS", "no-tls");
      return false;
    }
    assert(this.#connection.startTls !== undefined, "TLS was offered where it is to be had");
    const secured = await this.#connection.startTls(replies);
    if (this.#closed) secured.close();
    this.#connection = secured;
    this.#handshake.secured();
    return !this.#closed;
  }

  async #serve(session: Session): Promise<void> {
    const transmission = new Transmission(session, this.#replies);
    const front = session.backend.front;
    transmission.draining = this.#draining;
    this.#input.isEager = true;
    this.#transmission = transmission;
    this.#unsubscribe = front.subscribe({
      onProgress: () => this.#onProgress(),
      onRefused: (refusal) => this.#onRefused(refusal),
    });
    this.#options.onServing(session.backend.name, this.#connection.certifiedNames);
    while (!this.#closed) {
      const lack = this.#pump(transmission, front);
      if (this.#closed) return;
      const wantsInput = lack === "input" && !this.#isHeld(front);
      if (wantsInput && this.#hasEnded) return;
      if (wantsInput || this.#isHeard) {
        if (!await this.#read(transmission, front)) return;
      } else {
        if (transmission.phase !== "ended") this.#listen(transmission.wanted);
        await new Promise<void>((resolve) => this.#wake = resolve);
      }
    }
  }

  /** Waits for bytes from the client; false when it has hung up. */
  async #read(transmission: Transmission, front: Front): Promise<boolean> {
    this.#isReading = !this.#isHeard;
    const count = await (this.#reading ??
      this.#connection.read(this.#input.space(transmission.wanted)));
    const wasWaiting = !this.#isReading;
    this.#isReading = this.#isHeard = false;
    this.#reading = null;
    if (count !== null) {
      this.#input.received(count);
      return true;
    }
    if (!wasWaiting) return false;
    this.#hasEnded = true;
    // Whoever vanished while it had to wait waits for nothing. Whoever said goodbye, or is being
    // answered, gets what it asked for before.
    return !this.#isHeld(front) || transmission.phase === "ended" || this.#saidGoodbye();
  }

  /**
   * Reads on while the loop waits for something else, as far as there is room: so a client that
   * vanishes is noticed, and not only when it is its turn again.
   */
  #listen(wanted: number): void {
    if (this.#reading !== null || this.#hasEnded || this.#input.full) return;
    // No large block for whoever has to wait.
    const space = this.#input.space(Math.min(wanted, RECEIVE_BYTES));
    if (space.length === 0) return;
    const reading = this.#connection.read(space);
    this.#reading = reading;
    const heard = () => {
      this.#isHeard = this.#reading === reading;
      this.#wakeUp();
    };
    reading.then(heard, heard);
  }

  /** What came last looks like a request to disconnect. */
  #saidGoodbye(): boolean {
    const { view, end, available } = this.#input;
    const at = end - REQUEST_HEADER_BYTES;
    return available >= REQUEST_HEADER_BYTES && view.getUint32(at) === REQUEST_MAGIC &&
      view.getUint16(at + 6) === Command.DISC;
  }

  /** Clients are asked to slow down: no more requests of this one are taken. */
  #isHeld(front: Front): boolean {
    return !front.accepting && !this.#draining;
  }

  /** Acts on all that came, as one batch, and sends what there is to say. Hot path. */
  #pump(transmission: Transmission, front: Front): Lack {
    for (;;) {
      const lack = this.#isHeld(front) ? "nothing" : transmission.advance(this.#input);
      transmission.commit();
      if (transmission.phase === "broken") {
        this.close("a read failed in the middle of its reply", "disk-failed");
        return lack;
      }
      const hasRoom = this.#send();
      if (lack === "room" && hasRoom) continue;
      if (lack === "places" && transmission.hasPlaces) continue;
      if (lack === "input" || lack === "nothing") this.#closeWhenDone();
      return lack;
    }
  }

  /** Begins to send what was gathered, unless a write is under way; true if it began. */
  #send(): boolean {
    if (this.#replies.isSending || this.#replies.length === 0 || this.#closed) return false;
    this.#connection.write(this.#replies.take()).then(this.#onSent, this.#onSendFailed);
    return true;
  }

  readonly #onSent = (): void => {
    this.#replies.sent();
    this.#onProgress();
  };

  readonly #onSendFailed = (error: unknown): void => {
    this.#replies.sent();
    this.#close(describeError(error), !isCascadeError(error, "connection-lost"), codeOf(error));
  };

  /** Positions moved, clients are welcome again, or there is room for replies. */
  #onProgress(): void {
    if (this.#closed || this.#transmission === null) return;
    if (this.#transmission.isWaiting) this.#transmission.settle();
    this.#send();
    this.#goOn();
  }

  #onRefused(refusal: Refusal): void {
    if (this.#closed || this.#transmission === null) return;
    this.#transmission.refuse(refusal);
    this.#onProgress();
  }

  /** Lets the loop look at what has changed, if it can do anything about it. */
  #goOn(): void {
    if (this.#isReading) this.#closeWhenDone();
    else this.#wakeUp();
  }

  #wakeUp(): void {
    const wake = this.#wake;
    this.#wake = null;
    wake?.();
  }

  /** Ends when the client said goodbye or the server stops, and every reply is on its way. */
  #closeWhenDone(): void {
    const transmission = this.#transmission;
    if (transmission === null || this.#closed) return;
    const isLast = transmission.phase === "ended" || this.#draining;
    if (!isLast || !transmission.idle) return;
    if (this.#replies.isSending || this.#replies.length > 0) return;
    if (this.#draining) this.close("the server stops", "stopping");
    else this.close("the client is done", "done");
  }
}

function codeOf(error: unknown): Parting {
  return isCascadeError(error) ? error.code : "bug";
}

/** It went, or does not speak as it should, or nobody vouches for it. */
function isOfClient(error: unknown): boolean {
  return isCascadeError(error) && ["connection-lost", "protocol", "refused"].includes(error.code);
}
