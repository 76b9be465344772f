/**
 * A primary that was not stopped in order may have lost records that its sync peers received: a
 * client may have been answered on them. Before its new epoch begins it waits for those peers,
 * until their links' timeout has passed without a word, and takes back what they have beyond the
 * end of its log.
 *
 * @module
 */
import { CascadeError } from "./errors.ts";
import type { LinkConfig } from "./config.ts";
import type { Epoch } from "./history.ts";
import { checkRecord, markIn, readEpoch, RecordReader, RecordType } from "./log/record.ts";
import type { TailRecovery } from "./link/host.ts";
import type { Mark } from "./marks/mark_index.ts";
import { RECOVERY_WAIT_MS_MIN } from "./node_limits.ts";
import type { Pipeline } from "./pipeline.ts";
import type { Clock, Timer } from "./ports.ts";

export class TailRecoverer implements TailRecovery {
  readonly over: Promise<void>;
  /** The links whose peers are asked. */
  readonly asked: readonly string[];
  readonly #pipeline: Pipeline;
  readonly #waiting: Set<string>;
  readonly #record = new RecordReader();
  readonly #allHeard: Promise<void>;
  readonly #timeoutMs: number;
  readonly #clock: Clock;
  #timer: Timer;
  #tooLate = false;
  #goOn: () => void = () => {};
  #end: () => void = () => {};

  /** Begins to wait for the peers of those links that are `sync` and not paused. */
  static begin(
    pipeline: Pipeline,
    links: readonly { readonly config: LinkConfig; readonly pausedWhy: string | null }[],
    clock: Clock,
  ): TailRecoverer {
    const asked = links.filter(({ config, pausedWhy }) =>
      config.mode === "sync" && pausedWhy === null
    ).map(({ config }) => config);
    const timeoutMs = Math.max(RECOVERY_WAIT_MS_MIN, ...asked.map((config) => config.timeoutMs));
    const names = asked.map(({ name }) => name);
    const recovery = new TailRecoverer(pipeline, names, timeoutMs, clock);
    if (names.length === 0) recovery.heard("");
    return recovery;
  }

  /** `links`: the names of the sync links; waits for at most `timeoutMs` without a word of them. */
  constructor(pipeline: Pipeline, links: readonly string[], timeoutMs: number, clock: Clock) {
    this.#pipeline = pipeline;
    this.asked = links;
    this.#waiting = new Set(links);
    this.over = new Promise((end) => this.#end = end);
    this.#allHeard = new Promise((goOn) => this.#goOn = goOn);
    this.#timeoutMs = timeoutMs;
    this.#clock = clock;
    this.#timer = clock.after(timeoutMs, () => this.#goOn());
  }

  /** Two peers may send the same records: those that are here already are skipped. */
  take(records: Uint8Array): void {
    const { history, log } = this.#pipeline;
    const endLsn = this.#pipeline.appendedLsn;
    if (this.#tooLate) throw violation("records when a new epoch had begun", endLsn);
    const epochs: Epoch[] = [];
    const marks: Mark[] = [];
    let presentEpoch = history.lastNumber;
    let expectedLsn = endLsn;
    let newFrom = records.length;
    for (let at = 0; at < records.length; at += this.#record.totalBytes) {
      const fault = checkRecord(records, at, records.length - at);
      if (fault !== null) throw violation(`a damaged record: ${fault}`, expectedLsn);
      this.#record.at(records, at);
      const { lsn, type, epoch, totalBytes } = this.#record;
      if (lsn < endLsn && expectedLsn === endLsn) continue;
      if (lsn !== expectedLsn) throw violation(`a record of LSN ${lsn}`, expectedLsn);
      const begins = type === RecordType.EPOCH && epoch > presentEpoch;
      if (!begins && epoch !== presentEpoch) {
        throw violation(`a record of epoch ${epoch}`, expectedLsn);
      }
      this.#checkTarget(expectedLsn);
      if (begins) {
        const found = readEpoch(records, this.#record);
        if (history.has(found.id)) throw violation("an epoch that was there before", expectedLsn);
        epochs.push(found);
      }
      if (type === RecordType.MARK) marks.push(markIn(records, this.#record));
      presentEpoch = epoch;
      newFrom = Math.min(newFrom, at);
      expectedLsn += totalBytes;
    }
    log.append(records.subarray(newFrom));
    for (const epoch of epochs) history.add(epoch);
    for (const mark of marks) this.#pipeline.marks.note(mark);
    this.#wait();
  }

  /** What the record touches must be there. */
  #checkTarget(lsn: number): void {
    const { type, volume, offset, length } = this.#record;
    if (type === RecordType.MARK || type === RecordType.EPOCH) return;
    const target = this.#pipeline.volumes[volume];
    if (target === undefined) throw violation(`a record of volume number ${volume}`, lsn);
    if (offset + length > target.sizeBytes) {
      throw violation(`a record past the end of volume number ${volume}`, lsn);
    }
  }

  /** Whoever sends gets its time anew. */
  #wait(): void {
    this.#timer.cancel();
    this.#timer = this.#clock.after(this.#timeoutMs, () => this.#goOn());
  }

  heard(link: string): void {
    this.#waiting.delete(link);
    if (this.#waiting.size === 0) this.#goOn();
  }

  /**
   * Settles when every sync peer was heard, or time is up; tells who was not. Nothing is taken any
   * more after it.
   */
  async wait(): Promise<readonly string[]> {
    await this.#allHeard;
    this.#tooLate = true;
    this.#timer.cancel();
    return [...this.#waiting];
  }

  /** The new epoch has begun. */
  finish(): void {
    this.#end();
  }
}

function violation(found: string, lsn: number): CascadeError {
  return new CascadeError("protocol", `the peer sent ${found} for the lost tail`, {
    where: { lsn },
  });
}
