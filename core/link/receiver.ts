/**
 * The downstream end of a streaming link: checks every record, appends it, and tells how far this
 * node and its sync peers are.
 *
 * The stream may begin below the end of this log. What is already here is the same bytes, is seen
 * to be, and is skipped. Another record there (an epoch record that this log does not have, as a
 * rule) tells that the upstream never had our tail from there on, or lost it. That tail is
 * provisional (never applied, never forwarded on an async link) and is cut off. A stable tail is
 * never cut: the link is refused.
 *
 * @module
 */
import { CascadeError } from "../errors.ts";
import type { Epoch } from "../history.ts";
import {
  checkRecord,
  markIn,
  readEpoch,
  RECORD_ALIGN_BYTES,
  RecordReader,
  RecordType,
} from "../log/record.ts";
import type { Mark } from "../marks/mark_index.ts";
import type { Pipeline } from "../pipeline.ts";
import type { Bytes } from "../ports.ts";
import {
  type Ack,
  ACK_BYTES,
  FLAG_FLUSH_WANTED,
  type Frame,
  FRAME_HEADER_BYTES,
  readTide,
  type Tide,
  TIDE_BYTES,
  writeAckFrame,
} from "./frames.ts";
import type { TimeIndex } from "./time_index.ts";
import type { WireSource } from "./wire.ts";

/** Room that a receiver's output buffer must have. */
export const RECEIVER_BUFFER_BYTES = FRAME_HEADER_BYTES + ACK_BYTES;

/** What the receiver asks of its node. */
export interface ReceiverParts {
  readonly pipeline: Pipeline;
  readonly times: TimeIndex;
  /** Sizes of the volumes, by number: what a record may name. */
  readonly volumeSizes: readonly number[];
  readonly fromLsn: number;
  /** How far all required sync peers below are; Infinity without any. */
  readonly groupReceivedLsn: () => number;
  readonly groupDurableLsn: () => number;
  /** Records were appended: look at the links below. */
  readonly onAppended: () => void;
  /** Waits until `bytes` can be appended; rejects when the link is closed meanwhile. */
  readonly room: (bytes: number) => Promise<void>;
  /** The tail from this LSN on goes: whoever was sent it must be asked anew where it stands. */
  readonly onCutBack: () => void;
  readonly onTide: (tide: Tide) => void;
}

export class Receiver implements WireSource {
  readonly #parts: ReceiverParts;
  readonly #record = new RecordReader();
  readonly #first = new RecordReader();
  readonly #mine = new Uint8Array(RECORD_ALIGN_BYTES);
  #expectedLsn: number;
  /** Below this LSN the upstream's log and this one are known to be the same. */
  #agreedLsn: number;
  /** The upstream's stable position as told last. */
  #stableLsn = 0;
  #toldAck = "";
  #ackDue = true;

  constructor(parts: ReceiverParts) {
    this.#parts = parts;
    this.#expectedLsn = parts.fromLsn;
    this.#agreedLsn = parts.fromLsn;
  }

  /** Takes a TIDE frame. Throws `protocol`. */
  onTide(frame: Frame): void {
    const tide = readTide(frame.body);
    this.#takeTide(tide, frame.flags);
    this.ackSoon();
  }

  /** Takes a DATA frame; the promise, if any, settles once there was room for it. */
  async onData(frame: Frame): Promise<void> {
    const tide = readTide(frame.body);
    if (tide.firstLsn !== this.#expectedLsn) {
      throw violation(`records from LSN ${tide.firstLsn}, expected ${this.#expectedLsn}`);
    }
    // First what is stable of what is here: applying it may be what makes room for the rest.
    this.#takeTide(tide, 0);
    await this.#takeRecords(frame.body.subarray(TIDE_BYTES));
    this.#agreedLsn = Math.max(this.#agreedLsn, this.#expectedLsn);
    this.#takeTide(tide, frame.flags);
    this.ackSoon();
  }

  /** A delta from `lsn` on comes: so much of what was sent is final upstream. */
  async settle(lsn: number): Promise<void> {
    const { pipeline } = this.#parts;
    this.#stableLsn = Math.max(this.#stableLsn, lsn);
    this.#markUpstream();
    pipeline.log.requestFlush();
    await pipeline.log.flushed();
  }

  /** This node was brought to `lsn` by a delta, and the records go on there. */
  moveTo(lsn: number, timeMs: number): void {
    this.#expectedLsn = lsn;
    this.#agreedLsn = Math.max(this.#agreedLsn, lsn);
    this.#parts.times.note(lsn, timeMs);
    this.ackSoon();
  }

  #takeTide(tide: Tide, flags: number): void {
    const { pipeline, onTide } = this.#parts;
    if (tide.stableLsn < this.#stableLsn) {
      throw violation(`LSN ${tide.stableLsn} as stable, behind ${this.#stableLsn}`);
    }
    this.#stableLsn = tide.stableLsn;
    this.#markUpstream();
    onTide(tide);
    if ((flags & FLAG_FLUSH_WANTED) === 0) return;
    pipeline.flushNow();
    // Sync peers below count upward: they hear of it now, not when this node's flush is done.
    this.#parts.onAppended();
  }

  #markUpstream(): void {
    const { pipeline } = this.#parts;
    const agreedLsn = Math.min(this.#agreedLsn, pipeline.appendedLsn);
    const markLsn = Math.min(this.#stableLsn, agreedLsn);
    if (markLsn <= pipeline.log.upstreamMark) return;
    if (markLsn < agreedLsn && !pipeline.log.beginsRecord(markLsn)) {
      throw violation(`LSN ${markLsn} as stable, where no record begins`);
    }
    pipeline.setUpstreamMark(markLsn);
  }

  /** Checks all records of a frame, and appends those that are new in as few writes as can be. */
  async #takeRecords(bytes: Uint8Array): Promise<void> {
    const { pipeline } = this.#parts;
    let newFrom = -1;
    let at = 0;
    while (at < bytes.length) {
      this.#checkRecord(bytes, at);
      const { lsn, type, totalBytes } = this.#record;
      if (newFrom < 0 && lsn < pipeline.appendedLsn && !this.#isHere(bytes, at)) {
        await this.#cutTail(lsn);
      }
      if (newFrom < 0 && lsn >= pipeline.appendedLsn) newFrom = at;
      if (newFrom >= 0) this.#checkEpoch();
      if (newFrom >= 0 && type === RecordType.EPOCH) {
        // The reign changes here: what comes before it is appended under the old one.
        await this.#append(bytes.subarray(newFrom, at));
        await this.#append(bytes.subarray(at, at + totalBytes), this.#readNewEpoch(bytes));
        newFrom = at + totalBytes;
      } else if (newFrom >= 0 && type === RecordType.MARK) {
        // Noted with its record, before anything can be applied past it.
        const mark = markIn(bytes, this.#record);
        await this.#append(bytes.subarray(newFrom, at));
        await this.#append(bytes.subarray(at, at + totalBytes), null, mark);
        newFrom = at + totalBytes;
      }
      at += totalBytes;
      this.#expectedLsn += totalBytes;
    }
    if (newFrom >= 0) await this.#append(bytes.subarray(newFrom));
  }

  /** One record, wholly checked before anything acts on it. */
  #checkRecord(bytes: Uint8Array, at: number): void {
    const fault = checkRecord(bytes, at, bytes.length - at);
    if (fault !== null) throw violation(`a damaged record at LSN ${this.#expectedLsn}: ${fault}`);
    const record = this.#record;
    record.at(bytes, at);
    if (record.lsn !== this.#expectedLsn) {
      throw violation(`a record of LSN ${record.lsn} at LSN ${this.#expectedLsn}`);
    }
    if (record.type === RecordType.MARK || record.type === RecordType.EPOCH) return;
    const size = this.#parts.volumeSizes[record.volume];
    if (size === undefined) throw violation(`a record of volume number ${record.volume}`);
    if (record.offset + record.length > size) {
      throw violation(`a record past the end of volume number ${record.volume}`);
    }
  }

  /** A new record must be of the present reign, or begin the next. */
  #checkEpoch(): void {
    const { type, epoch } = this.#record;
    const present = this.#parts.pipeline.history.lastNumber;
    if (type === RecordType.EPOCH ? epoch > present : epoch === present) return;
    throw violation(`a record of epoch ${epoch} in epoch ${present}`);
  }

  /**
   * Whether the record at `at`, which lies below our end, is the one that is here. Its first bytes
   * tell: they hold the CRC of all the rest. What was dropped here was stable, and is not asked.
   */
  #isHere(bytes: Uint8Array, at: number): boolean {
    const { log } = this.#parts.pipeline;
    const { lsn } = this.#record;
    if (lsn < log.startLsn || log.gapAt(lsn) !== null) return true;
    log.readAt(lsn, this.#mine);
    return this.#mine.every((byte, index) => byte === bytes[at + index]);
  }

  /** Our tail from `lsn` on was never upstream's, or was lost there. */
  async #cutTail(lsn: number): Promise<void> {
    const { pipeline, onCutBack } = this.#parts;
    if (lsn < pipeline.stableLsn) {
      throw violation(`another record than the stable one that is here, at LSN ${lsn}`);
    }
    onCutBack();
    await pipeline.cutBack(lsn);
    // Whoever shook hands in between was judged by the log as it was.
    onCutBack();
  }

  #readNewEpoch(bytes: Uint8Array): Epoch {
    const epoch = readEpoch(bytes, this.#record);
    if (epoch.number !== this.#record.epoch || epoch.firstLsn !== this.#record.lsn) {
      throw violation(`an epoch record that contradicts itself at LSN ${this.#record.lsn}`);
    }
    if (this.#parts.pipeline.history.has(epoch.id)) {
      throw violation(`an epoch that was there before, at LSN ${this.#record.lsn}`);
    }
    return epoch;
  }

  /** `begins`: the reign that the one record given begins; `mark`: the mark that it is. */
  async #append(
    bytes: Uint8Array,
    begins: Epoch | null = null,
    mark: Mark | null = null,
  ): Promise<void> {
    const { pipeline, times, onAppended } = this.#parts;
    let at = 0;
    while (at < bytes.length) {
      // In pieces that even a small log has room for.
      const piece = pipeline.log.wholeRecords(bytes, at, pipeline.batchBytesMax);
      if (piece === 0) throw violation("a record larger than half a segment of this node's log");
      await this.#makeRoom(piece);
      this.#first.at(bytes, at);
      times.note(this.#first.lsn, this.#first.timeMs);
      pipeline.log.append(bytes.subarray(at, at + piece));
      // Only now: an append that fails must not leave a reign behind that the log does not hold.
      if (begins !== null) pipeline.history.add(begins);
      if (mark !== null) pipeline.marks.note(mark);
      // At once: a frame may be larger than this log, and what is stable of it makes room.
      this.#agreedLsn = Math.max(this.#agreedLsn, pipeline.appendedLsn);
      this.#markUpstream();
      pipeline.appended();
      onAppended();
      at += piece;
    }
  }

  async #makeRoom(bytes: number): Promise<void> {
    if (!this.#parts.pipeline.accepts(bytes)) await this.#parts.room(bytes);
  }

  /** Something changed that the upstream wants to know. */
  ackSoon(): void {
    this.#ackDue = true;
  }

  /** What this node would acknowledge now. */
  ack(): Ack {
    const { pipeline, groupReceivedLsn, groupDurableLsn } = this.#parts;
    const receivedLsn = pipeline.appendedLsn;
    const durableLsn = Math.min(pipeline.durableLsn, receivedLsn);
    return {
      epochId: pipeline.history.lastId,
      receivedLsn,
      durableLsn,
      appliedLsn: Math.min(pipeline.appliedLsn, durableLsn),
      groupReceivedLsn: Math.min(receivedLsn, groupReceivedLsn()),
      groupDurableLsn: Math.min(durableLsn, groupDurableLsn(), receivedLsn, groupReceivedLsn()),
    };
  }

  /** See {@linkcode WireSource.fill}. */
  fill(into: Bytes, at: number): number {
    if (!this.#ackDue) return at;
    this.#ackDue = false;
    const ack = this.ack();
    const text = Object.values(ack).join();
    if (text === this.#toldAck) return at;
    this.#toldAck = text;
    writeAckFrame(into, at, ack);
    return at + RECEIVER_BUFFER_BYTES;
  }

  /** The heartbeat of an idle link: the ack is told again although nothing changed. */
  heartbeat(): void {
    this.#toldAck = "";
    this.#ackDue = true;
  }
}

function violation(found: string): CascadeError {
  return new CascadeError("protocol", `the upstream sent ${found}`, { retryable: true });
}
