/**
 * A primary that was not stopped in order may have lost records that its sync peers received: a
 * client may have been answered on them. Before its new epoch begins it waits for those peers,
 * for as long as their links' timeouts, and takes back what they have beyond the end of its log.
 *
 * @module
 */
import { CascadeError } from "./errors.ts";
import { checkRecord, readEpoch, RecordReader, RecordType } from "./log/record.ts";
import type { TailRecovery } from "./link/host.ts";
import type { Pipeline } from "./pipeline.ts";
import type { Clock, Timer } from "./ports.ts";

export class TailRecoverer implements TailRecovery {
  readonly over: Promise<void>;
  readonly #pipeline: Pipeline;
  readonly #waiting: Set<string>;
  readonly #record = new RecordReader();
  readonly #allHeard: Promise<void>;
  readonly #timer: Timer;
  #goOn: () => void = () => {};
  #end: () => void = () => {};

  /** `links`: the names of the sync links; waits for at most `timeoutMs`. */
  constructor(pipeline: Pipeline, links: readonly string[], timeoutMs: number, clock: Clock) {
    this.#pipeline = pipeline;
    this.#waiting = new Set(links);
    this.over = new Promise((end) => this.#end = end);
    this.#allHeard = new Promise((goOn) => this.#goOn = goOn);
    this.#timer = clock.after(timeoutMs, () => this.#goOn());
  }

  take(records: Uint8Array): void {
    const { history, log } = this.#pipeline;
    let expectedLsn = this.#pipeline.appendedLsn;
    for (let at = 0; at < records.length; at += this.#record.totalBytes) {
      const fault = checkRecord(records, at, records.length - at);
      if (fault !== null) throw violation(`a damaged record: ${fault}`, expectedLsn);
      this.#record.at(records, at);
      const { lsn, type, epoch, totalBytes } = this.#record;
      if (lsn !== expectedLsn) throw violation(`a record of LSN ${lsn}`, expectedLsn);
      const begins = type === RecordType.EPOCH && epoch > history.lastNumber;
      if (!begins && epoch !== history.lastNumber) {
        throw violation(`a record of epoch ${epoch}`, expectedLsn);
      }
      if (begins) history.add(readEpoch(records, this.#record));
      expectedLsn += totalBytes;
    }
    log.append(records);
  }

  heard(link: string): void {
    this.#waiting.delete(link);
    if (this.#waiting.size === 0) this.#goOn();
  }

  /** Settles when every sync peer was heard, or time is up; tells who was not. */
  async wait(): Promise<readonly string[]> {
    await this.#allHeard;
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
