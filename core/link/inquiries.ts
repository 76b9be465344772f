/**
 * Questions between the two ends of a link, on its own connection: a node that only dials can be asked in no other way.
 *
 * @module
 */
import { CascadeError } from "../errors.ts";
import {
  type Ask,
  type AskAnswer,
  linkAnswerSchema,
  linkAskSchema,
  valueOf,
} from "../tree/asks.ts";
import { FrameType, jsonFrame } from "./frames.ts";
import type { LinkHost } from "./host.ts";
import { CONTROL_BODY_BYTES_MAX } from "./link_limits.ts";
import { decodeMessage } from "./messages.ts";
import type { Clock } from "../ports.ts";
import type { Wire } from "./wire.ts";

/** Questions that wait for their answers at one time, in each direction. */
const PENDING_MAX = 16;

/** See the module's text. */
export class Inquiries {
  #wire: Wire | null = null;
  readonly #pending = new Map<number, (answer: AskAnswer) => void>();
  #lastId = 0;
  #answering = 0;

  /** A connection carries the link from now on. */
  begin(wire: Wire): void {
    this.#wire = wire;
  }

  /** Whether an answer is on its way to whoever asked. */
  get isAnswering(): boolean {
    return this.#answering > 0;
  }

  /** Asks the other end. Throws what it answers in place of an answer; `timed-out`, `connection-lost`. */
  async ask(clock: Clock, question: Ask, timeoutMs: number): Promise<unknown> {
    const wire = this.#wire;
    if (wire === null || wire.closed) throw new CascadeError("connection-lost", "not connected");
    if (this.#pending.size >= PENDING_MAX) {
      throw new CascadeError("refused", "too many questions are open", { retryable: true });
    }
    const id = ++this.#lastId;
    const asked = new Promise<AskAnswer>((tell) => this.#pending.set(id, tell));
    let fail: (error: CascadeError) => void = () => {};
    const failed = new Promise<never>((_, reject) => fail = reject);
    failed.catch(() => {/* it was answered before */});
    const timer = clock.after(timeoutMs, () => {
      fail(new CascadeError("timed-out", `no answer within ${timeoutMs} ms`, { retryable: true }));
    });
    wire.whenClosed.then(() => {
      fail(new CascadeError("connection-lost", "closed before the answer", { retryable: true }));
    });
    try {
      wire.send(jsonFrame(FrameType.ASK, { id, question }));
      return valueOf(await Promise.race([asked, failed]));
    } finally {
      timer.cancel();
      this.#pending.delete(id);
    }
  }

  /** Takes a frame if it is a question or an answer. Throws `protocol`. */
  take(host: LinkHost, wire: Wire, type: FrameType, body: Uint8Array): boolean {
    if (type === FrameType.ASK) {
      const { id, question } = decodeMessage(linkAskSchema, body, "question");
      if (this.#answering >= PENDING_MAX) throw new CascadeError("protocol", "too many questions");
      void this.#answer(host, wire, id, question);
    } else if (type === FrameType.ANSWER) {
      const { id, answer } = decodeMessage(linkAnswerSchema, body, "answer");
      if (id > this.#lastId) {
        throw new CascadeError("protocol", "an answer to what was never asked");
      }
      this.#pending.get(id)?.(answer);
    } else return false;
    return true;
  }

  async #answer(host: LinkHost, wire: Wire, id: number, question: Ask): Promise<void> {
    this.#answering++;
    try {
      const answer = await host.answer(question);
      const frame = jsonFrame(FrameType.ANSWER, { id, answer });
      if (wire.closed || frame.length > CONTROL_BODY_BYTES_MAX) return;
      wire.send(frame);
      await wire.drain();
    } catch {
      // The connection is gone, and with it whoever asked.
    } finally {
      this.#answering--;
    }
  }
}
