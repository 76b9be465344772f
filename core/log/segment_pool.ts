/**
 * Segment files that hold no records now: made ahead, freed, and given out again.
 *
 * A spare's header says `free`, durably, before it is given out: so the old records in it can never
 * be taken for a segment of the log, whatever a crash leaves of the new header.
 *
 * @module
 */
import { isCascadeError } from "../errors.ts";
import type { Disk, DiskFile, Timer } from "../ports.ts";
import { type Segment, SegmentState, writeSegmentHeader } from "./segment.ts";

/** What a pool works on. */
export interface PoolOptions {
  readonly disk: Disk;
  readonly folder: string;
  readonly segmentBytes: number;
  /** Segment files in all: those of the log, spare ones, and those on their way. */
  readonly filesMax: number;
  readonly onSpare: () => void;
  readonly onDiskFull: (error: unknown) => void;
  readonly onFatal: (error: unknown) => void;
  readonly retry: (call: () => void) => Timer;
}

export class SegmentPool {
  readonly #options: PoolOptions;
  readonly #spares: Segment[] = [];
  #names = new Set<string>();
  /** Files that are being freed or made. */
  #underWay = 0;
  #making = false;
  #work: Promise<void> = Promise.resolve();
  #retry: Timer | null = null;
  #toldFull = false;
  #closed = false;
  #used = 0;

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  get spareCount(): number {
    return this.#spares.length;
  }

  /** Files that the pool holds, ready or on their way. */
  get fileCount(): number {
    return this.#spares.length + this.#underWay;
  }

  /** Files that may still be made, beside the `used` ones; none while the disk is full. */
  mayMakeCount(used: number): number {
    return this.#toldFull ? 0 : Math.max(0, this.#options.filesMax - used - this.fileCount);
  }

  /** Takes over what recovery left; files of another size, or too many, are removed. */
  async adopt(
    leftover: readonly { readonly name: string; readonly file: DiskFile; readonly free: boolean }[],
    used: number,
  ): Promise<void> {
    const { disk, folder, segmentBytes, filesMax } = this.#options;
    this.#used = used;
    for (const name of disk.list(folder)) this.#names.add(name);
    let removed = false;
    for (const { name, file } of leftover) {
      if (file.size() === segmentBytes && this.fileCount + used < filesMax) {
        await this.#makeFree(file);
        this.#spares.push({ name, file, baseLsn: 0, endLsn: 0 });
      } else {
        await this.#makeFree(file);
        file.close();
        disk.remove(`${folder}/${name}`);
        this.#names.delete(name);
        removed = true;
      }
    }
    if (removed) await disk.flushFolder(folder);
  }

  async #makeFree(file: DiskFile): Promise<void> {
    writeSegmentHeader(file, {
      state: SegmentState.FREE,
      baseLsn: 0,
      fileBytes: this.#options.segmentBytes,
    });
    await file.flush();
  }

  /** A spare, or null. */
  take(): Segment | null {
    const spare = this.#spares.shift() ?? null;
    if (spare !== null) this.#used++;
    return spare;
  }

  /** Waits until there is a spare: the first segment of a new log. Throws what is in the way. */
  async waitForSpare(): Promise<void> {
    if (this.#spares.length === 0) await this.#make();
  }

  /** Makes a spare ahead of need, in the background. `fullness` of the present segment: 0 to 1. */
  prepare(used: number, fullness = 0): void {
    this.#used = used;
    const wanted = fullness > 0.5 ? 2 : 1;
    if (this.#making || this.#retry !== null || this.#closed || this.fileCount >= wanted) return;
    if (used + this.fileCount >= this.#options.filesMax) return;
    this.#making = true;
    this.#underWay++;
    this.#background(async () => {
      try {
        await this.#make();
        this.#toldFull = false;
      } catch (error) {
        if (!isCascadeError(error, "disk-full")) throw error;
        this.#onDiskFull(error);
      } finally {
        this.#making = false;
        this.#underWay--;
      }
      if (!this.#closed && this.#spares.length > 0) this.#options.onSpare();
    });
  }

  #onDiskFull(error: unknown): void {
    if (!this.#toldFull) this.#options.onDiskFull(error);
    this.#toldFull = true;
    this.#retry = this.#options.retry(() => {
      this.#retry = null;
      this.prepare(this.#used);
    });
  }

  /** Makes one segment file: zeroes, header, flush, folder flush. A failed one is removed. */
  async #make(): Promise<void> {
    const { disk, folder, segmentBytes } = this.#options;
    const name = this.#freeName();
    const path = `${folder}/${name}`;
    const file = disk.open(path, { create: true });
    try {
      await file.preallocate(segmentBytes);
      await this.#makeFree(file);
      await disk.flushFolder(folder);
    } catch (error) {
      file.close();
      if (isCascadeError(error, "disk-full")) disk.remove(path);
      this.#names.delete(name);
      throw error;
    }
    this.#spares.push({ name, file, baseLsn: 0, endLsn: 0 });
  }

  #freeName(): string {
    for (let number = 1;; number++) {
      const name = `${String(number).padStart(6, "0")}.seg`;
      if (this.#names.has(name)) continue;
      this.#names.add(name);
      return name;
    }
  }

  /** Takes a segment back, in the background. */
  free(segment: Segment): void {
    this.#underWay++;
    this.#background(async () => {
      await this.#makeFree(segment.file);
      this.#underWay--;
      this.#spares.push(segment);
      if (!this.#closed) this.#options.onSpare();
    });
  }

  /** Takes a segment back; settles when that is durable. */
  async freeNow(segment: Segment): Promise<void> {
    await this.#makeFree(segment.file);
    this.#spares.push(segment);
  }

  /** One thing after the other. Whatever fails here has left the log's files in doubt: fatal. */
  #background(work: () => Promise<void>): void {
    this.#work = this.#work.then(work).catch((error) => this.#options.onFatal(error));
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#retry?.cancel();
    await this.#work;
    for (const { file } of this.#spares) file.close();
  }
}
