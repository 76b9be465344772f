/**
 * What is durable: how far the log is, and what is known of the upstream; and the flush that
 * makes it so. The watermark in the last segment's header page tells both to recovery.
 *
 * @module
 */
import { assert } from "../assert.ts";
import type { SegmentChain } from "./chain.ts";
import type { Watermark } from "./segment.ts";
import type { SegmentFile } from "./segment_file.ts";

/** Calls of {@linkcode flush} and {@linkcode rewrite} never overlap: the caller sees to that. */
export class Durability {
  readonly #chain: SegmentChain;
  #durableLsn: number;
  #upstreamMark: number;
  #upstreamMarkDurable: number;
  #sequence: number;
  /** What was written last: the mark, and the segment into which it went. */
  #writtenMark = -1;
  #writtenInto: SegmentFile | null = null;
  /** What became durable is not told by a watermark yet. */
  #isNoteDue = false;

  /** `watermark`: the newest one, which is durable. */
  constructor(chain: SegmentChain, watermark: Watermark) {
    this.#chain = chain;
    this.#durableLsn = watermark.durableLsn;
    this.#upstreamMark = this.#upstreamMarkDurable = watermark.upstreamMark;
    this.#sequence = watermark.sequence;
  }

  get durableLsn(): number {
    return this.#durableLsn;
  }

  get upstreamMark(): number {
    return this.#upstreamMark;
  }

  set upstreamMark(lsn: number) {
    assert(lsn <= this.#chain.endLsn, "only what is here can be known to be stable upstream");
    if (lsn > this.#upstreamMark) this.#upstreamMark = lsn;
  }

  get upstreamMarkDurable(): number {
    return this.#upstreamMarkDurable;
  }

  /** Whether a flush would change anything. */
  get isComplete(): boolean {
    return this.#durableLsn === this.#chain.endLsn &&
      this.#upstreamMark === this.#upstreamMarkDurable;
  }

  /** One group commit. Rejects with what the disk throws; nothing may be believed then. */
  async flush(): Promise<void> {
    const { endLsn, last } = this.#chain;
    const mark = this.#upstreamMark;
    if (mark !== this.#upstreamMarkDurable) {
      const isThere = this.#writtenInto === last && this.#writtenMark === mark;
      if (!isThere) this.#write(this.#durableLsn, false);
      this.#chain.markDirty();
    }
    // In the order of their age: an older segment is never less durable than a newer one.
    for (const segment of this.#chain.takeDirty()) await segment.flush();
    assert(endLsn >= this.#durableLsn, "what is durable grows");
    this.#durableLsn = endLsn;
    this.#upstreamMarkDurable = mark;
    this.#isNoteDue = true;
  }

  /**
   * Writes the watermark of what has become durable: to be called soon after a flush. It is durable
   * itself with the next flush; until then it survives a killed process.
   */
  note(): void {
    if (this.#isNoteDue) this.#write(this.#durableLsn, true);
  }

  #write(durableLsn: number, lazy: boolean): void {
    const { last } = this.#chain;
    const mark = this.#upstreamMark;
    this.#isNoteDue = false;
    last.writeWatermark({ sequence: ++this.#sequence, durableLsn, upstreamMark: mark }, lazy);
    this.#writtenMark = mark;
    this.#writtenInto = last;
  }

  /** Writes the watermark into the last segment and flushes that. */
  async rewrite(): Promise<void> {
    this.#write(this.#durableLsn, false);
    await this.#chain.last.flush();
  }

  /** Writes into `segment`, where the log goes on, that all below is durable and stable; not flushed. */
  writeJump(segment: SegmentFile): void {
    const lsn = segment.baseLsn;
    assert(lsn > this.#durableLsn, "a jump goes ahead");
    const mark = { sequence: ++this.#sequence, durableLsn: lsn, upstreamMark: lsn };
    segment.writeWatermark(mark, false);
    this.#writtenMark = lsn;
    this.#writtenInto = segment;
    this.#isNoteDue = false;
  }

  /** What {@linkcode writeJump} wrote is durable. */
  jump(lsn: number): void {
    this.#durableLsn = this.#upstreamMark = this.#upstreamMarkDurable = lsn;
  }

  /** Nothing behind `lsn` counts any more. */
  cutBack(lsn: number): void {
    this.#durableLsn = Math.min(this.#durableLsn, lsn);
    this.#upstreamMark = Math.min(this.#upstreamMark, lsn);
    this.#upstreamMarkDurable = Math.min(this.#upstreamMarkDurable, lsn);
  }
}
