/**
 * A back end in memory: the model of the node that the NBD server's tests talk to, with a hand on
 * every lever that the real one pulls by itself.
 *
 * @module
 */
import { CascadeError } from "../../../core/errors.ts";
import type { ExportBackend, Front, FrontListener, Refusal } from "../../../core/nbd/backend.ts";
import type { DataRange } from "../../../core/ports.ts";

/** One unit of the position for each call that writes, so that every ticket differs. */
const TICKET_STEP = 1;
const PAGE_BYTES = 4096;

/** A log that is a number. By default everything is acknowledged and flushed as soon as it can. */
export class MemoryFront implements Front {
  acknowledgedLsn = 0;
  flushedLsn = 0;
  accepting = true;
  /** Whether a commit acknowledges, and a wanted flush flushes, without being told. */
  autoAcknowledge = true;
  autoFlush = true;
  commits = 0;
  flushRequests = 0;
  fuaWrites = 0;
  /** What the next commit throws, once. */
  commitError: CascadeError | null = null;
  #committedLsn = 0;
  #stagedLsn = 0;
  readonly #listeners = new Set<FrontListener>();

  get listenerCount(): number {
    return this.#listeners.size;
  }

  get committedLsn(): number {
    return this.#committedLsn;
  }

  /** Something was written that no commit has taken yet. */
  get hasStaged(): boolean {
    return this.#stagedLsn > this.#committedLsn;
  }

  stage(): number {
    this.#stagedLsn += TICKET_STEP;
    return this.#stagedLsn;
  }

  flushTicket(): number {
    return this.#stagedLsn;
  }

  countFuaWrite(): void {
    this.fuaWrites++;
  }

  requestFlush(): void {
    this.flushRequests++;
    if (this.autoFlush) this.flushedLsn = this.#committedLsn;
  }

  commit(): void {
    if (this.commitError !== null) {
      const error = this.commitError;
      this.commitError = null;
      // What was staged is lost, and its positions are given out again.
      this.#stagedLsn = this.#committedLsn;
      throw error;
    }
    this.commits++;
    this.#committedLsn = this.#stagedLsn;
    if (this.autoAcknowledge) this.acknowledgedLsn = this.#committedLsn;
  }

  subscribe(listener: FrontListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Acknowledges (and with `flush` flushes) up to `lsn`, and tells. */
  progress(lsn: number = this.#committedLsn, flush = true): void {
    this.acknowledgedLsn = Math.max(this.acknowledgedLsn, lsn);
    if (flush) this.flushedLsn = Math.max(this.flushedLsn, lsn);
    for (const listener of [...this.#listeners]) listener.onProgress();
  }

  refuse(refusal: Refusal): void {
    for (const listener of [...this.#listeners]) listener.onRefused(refusal);
  }
}

/** A volume that is an array. Pages that were never written, or were zeroed, are holes. */
export class MemoryBackend implements ExportBackend {
  readonly name: string;
  readonly description: string;
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly front: MemoryFront;
  readonly bytes: Uint8Array;
  refusal: Refusal | null = null;
  /** A read that meets this offset throws. */
  badOffset: number | null = null;
  /** What the next write throws, once. */
  writeError: CascadeError | null = null;
  /** What was asked, as text, when the test wants to know. */
  calls: string[] | null = null;
  readonly #pageHasData: Uint8Array;

  constructor(
    sizeBytes: number,
    options: { name?: string; description?: string; readOnly?: boolean; front?: MemoryFront } = {},
  ) {
    this.sizeBytes = sizeBytes;
    this.name = options.name ?? "data";
    this.description = options.description ?? "";
    this.readOnly = options.readOnly ?? false;
    this.front = options.front ?? new MemoryFront();
    this.bytes = new Uint8Array(sizeBytes);
    this.#pageHasData = new Uint8Array(Math.ceil(sizeBytes / PAGE_BYTES));
  }

  read(into: Uint8Array, offset: number): void {
    this.calls?.push(`read ${offset} ${into.length}`);
    if (this.front.hasStaged) throw new Error("a read before the commit of what was written");
    const bad = this.badOffset;
    if (bad !== null && offset <= bad && bad < offset + into.length) {
      throw new CascadeError("disk-failed", "a bad block", { where: { offset: bad } });
    }
    into.set(this.bytes.subarray(offset, offset + into.length));
  }

  write(payload: Uint8Array, offset: number): number {
    this.calls?.push(`write ${offset} ${payload.length}`);
    this.#throwIfAsked();
    this.bytes.set(payload, offset);
    this.#pageHasData.fill(
      1,
      Math.floor(offset / PAGE_BYTES),
      Math.ceil((offset + payload.length) / PAGE_BYTES),
    );
    return this.front.stage();
  }

  zero(offset: number, length: number, hole: boolean): number {
    this.calls?.push(`zero ${offset} ${length} ${hole}`);
    return this.#clear(offset, length);
  }

  trim(offset: number, length: number): number {
    this.calls?.push(`trim ${offset} ${length}`);
    return this.#clear(offset, length);
  }

  dataRanges(offset: number, length: number): DataRange[] {
    if (this.front.hasStaged) throw new Error("asked before the commit of what was written");
    const ranges: DataRange[] = [];
    for (let at = offset; at < offset + length;) {
      const page = Math.floor(at / PAGE_BYTES);
      const end = Math.min(offset + length, (page + 1) * PAGE_BYTES);
      if (this.#pageHasData[page] === 1) ranges.push({ start: at, end });
      at = end;
    }
    return ranges;
  }

  #clear(offset: number, length: number): number {
    this.#throwIfAsked();
    this.bytes.fill(0, offset, offset + length);
    const first = Math.ceil(offset / PAGE_BYTES);
    const last = Math.floor((offset + length) / PAGE_BYTES);
    if (last > first) this.#pageHasData.fill(0, first, last);
    return this.front.stage();
  }

  #throwIfAsked(): void {
    const error = this.writeError;
    this.writeError = null;
    if (error !== null) throw error;
  }
}
