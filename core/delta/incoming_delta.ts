/**
 * A delta that is being received: a file that grows, and what of it is durable.
 *
 * @module
 */
import { assert } from "../assert.ts";
import { CascadeError } from "../errors.ts";
import type { DiskFile } from "../ports.ts";
import type { BodyChecker, BodyCursor } from "./delta_body.ts";
import { type DeltaHeader, type DeltaTrailer, encodeDeltaTrailer } from "./delta_format.ts";

/** So much is handed to the disk before anybody waits for it. */
const EARLY_FLUSH_BYTES = 2 * 1024 * 1024;

/** See the module's text. */
export class IncomingDelta {
  readonly header: DeltaHeader;
  readonly #file: DiskFile;
  readonly #bodyAt: number;
  readonly #checker: BodyChecker;
  /** Settles when the file has its name for good. */
  readonly #placed: Promise<void>;
  /** Bytes of the file that are durable, as far as was asked for. */
  #durableBytes = 0;
  /** A flush that was begun before anybody waits for it. */
  #early: Promise<void> | null = null;
  #earlyBytes = 0;
  #isCommitting = false;

  constructor(
    header: DeltaHeader,
    file: DiskFile,
    bodyAt: number,
    checker: BodyChecker,
    placed: Promise<void> = Promise.resolve(),
  ) {
    this.header = header;
    this.#file = file;
    this.#bodyAt = bodyAt;
    this.#checker = checker;
    this.#placed = placed;
    placed.catch(() => {/* thrown by flush() */});
  }

  /** Bytes of the body that are here. */
  get position(): number {
    return this.#checker.position;
  }

  get cursor(): BodyCursor {
    return this.#checker.cursor;
  }

  get fileBytes(): number {
    return this.#bodyAt + this.position;
  }

  /**
   * Takes the next whole records. Throws `protocol` when they are not, and has taken those before the bad one;
   * what the disk throws, and what was taken counts for nothing then.
   */
  append(records: Uint8Array): void {
    assert(!this.#isCommitting, "a delta is appended to before it is committed");
    const at = this.#bodyAt + this.position;
    const { position } = this;
    try {
      this.#checker.take(records);
    } finally {
      // What is counted is what is there, whatever comes behind it: the sender goes on from there.
      const taken = this.position - position;
      if (taken > 0) this.#file.writeAt(records.subarray(0, taken), at);
    }
    if (this.fileBytes - this.#earlyBytes >= EARLY_FLUSH_BYTES) this.#flushEarly();
  }

  /** Lets the disk work while the rest arrives. A failure is told by the flush that is waited for. */
  #flushEarly(): void {
    if (this.#early !== null) return;
    this.#earlyBytes = this.fileBytes;
    const early = this.#file.flush();
    this.#early = early;
    early.then(() => this.#early = null, () => {/* kept, and so thrown by flush() */});
  }

  /** Makes what is here durable: a restart goes on from it. */
  async flush(): Promise<void> {
    await this.#placed;
    await this.#early;
    const { fileBytes } = this;
    if (this.#durableBytes >= fileBytes) return;
    await this.#file.flush();
    this.#durableBytes = fileBytes;
  }

  /**
   * The trailer as it is kept, with what is here counted: a sender that was cut off counts what it sent twice, and one
   * that went on in another life only what it sent in that one.
   */
  counted(trailer: DeltaTrailer): DeltaTrailer {
    const { records, payloadBytes } = this.#checker;
    return { ...trailer, records, payloadBytes };
  }

  /** Steps of a commit that concern the file; see the module's text. */
  async seal(trailer: DeltaTrailer): Promise<number> {
    this.#isCommitting = true;
    if (trailer.id !== this.header.id || trailer.bodyBytes !== this.position) {
      throw new CascadeError(
        "protocol",
        `the delta ends at byte ${trailer.bodyBytes}, ${this.position} are here`,
      );
    }
    const bytes = encodeDeltaTrailer(trailer);
    const at = this.fileBytes;
    // What stood behind a torn end must not stand behind the footer.
    if (this.#file.size() !== at) {
      this.#file.truncate(at);
      this.#durableBytes = 0;
    }
    await this.flush();
    this.#file.writeAt(bytes, at);
    await this.#file.flush();
    return at + bytes.length;
  }

  get bodyAt(): number {
    return this.#bodyAt;
  }

  close(): void {
    this.#file.close();
  }
}
