/**
 * Segment files that hold no records now: made ahead, freed, and given out again.
 *
 * A spare's header says `free`, durably, before it is given out: so the old records in it can never
 * be taken for a segment of the log, whatever a crash leaves of the new header. Files are freed one
 * by one, oldest first: so a crash never leaves a gap between segments that are still there.
 *
 * What lies in the body of a freed file is older than the log's beginning. Of a free file that was
 * found when the log was opened that is not known: its new header may have been lost, and records
 * behind it not. Such a file is made anew before it is given out.
 *
 * @module
 */
import { CascadeError, isCascadeError } from "../errors.ts";
import { SEGMENT_FILES_MAX } from "../limits.ts";
import type { Timer } from "../ports.ts";
import { SegmentState } from "./segment.ts";
import { SegmentFile, type SegmentFolder } from "./segment_file.ts";

/** Past this fullness of the present segment a second spare is made. */
const HALF = 0.5;

/** What a pool works on. */
export interface PoolOptions {
  readonly folder: SegmentFolder;
  readonly segmentBytes: number;
  /** Segment files in all: those of the log, spare ones, and those on their way. */
  readonly filesMax: number;
  /** Another spare is there. */
  readonly onSpare: () => void;
  /** The disk has no room for another segment; null: it has again. */
  readonly onDiskFull: (error: unknown) => void;
  readonly onFatal: (error: unknown) => void;
  /** Calls again a while later. */
  readonly retry: (call: () => void) => Timer;
  /** A file goes whose header page may hold the log's newest watermark. */
  readonly beforeRemoval: () => Promise<void>;
}

/** See the module's text. */
export class SegmentPool {
  readonly #options: PoolOptions;
  readonly #spares: SegmentFile[] = [];
  /** Free files that were found when the log was opened. */
  readonly #found: SegmentFile[];
  readonly #names: Set<string>;
  /** Files that are being freed or made. */
  #underWay = 0;
  /** Of those, the ones that are being freed. */
  #freeing = 0;
  #making = false;
  #work: Promise<void> = Promise.resolve();
  #retry: Timer | null = null;
  #full = false;
  #failure: { readonly error: unknown } | null = null;
  #closed = false;

  /** `found`: free files. All segment files that are in the folder now count. */
  constructor(options: PoolOptions, found: readonly SegmentFile[]) {
    this.#options = options;
    this.#found = [...found];
    this.#names = new Set(options.folder.names());
  }

  /** Spares that can be taken now. */
  get spareCount(): number {
    return this.#spares.length;
  }

  /** Spares that can be had: there, on their way, or within the limit of files. */
  get possibleCount(): number {
    const there = this.#spares.length + this.#found.length + this.#underWay;
    return this.#full ? there : there + Math.max(0, this.#options.filesMax - this.#names.size);
  }

  /** Segment files on the disk, those of the log and those begun included. */
  get fileCount(): number {
    return this.#names.size;
  }

  /** Before first use. Removes free files that are too many, as after the budget was lowered. */
  async begin(): Promise<void> {
    const { folder, filesMax } = this.#options;
    let removed = false;
    while (this.#names.size > filesMax && this.#found.length > 0) {
      this.#remove(this.#found.pop());
      removed = true;
    }
    if (removed) await folder.disk.flushFolder(folder.path);
    // That they are free may be so in memory alone. Once they were the oldest of the log, and must
    // not be so again when a newer one is not: so this comes before anything else is freed.
    const found = [...this.#found];
    this.#background(async () => {
      for (const file of found) await this.#makeFree(file);
    });
  }

  #remove(file: SegmentFile | undefined): void {
    if (file === undefined) return;
    file.remove();
    this.#names.delete(file.name);
  }

  /** A spare, or null. */
  take(): SegmentFile | null {
    return this.#spares.shift() ?? null;
  }

  /**
   * A spare, waited for or made when there is none; null when none can be had within the limit of
   * files, or on the disk. Not from within what the pool itself may wait for.
   */
  async obtain(): Promise<SegmentFile | null> {
    for (;;) {
      const spare = this.take();
      if (spare !== null) return spare;
      if (this.#failure !== null) throw this.#failure.error;
      this.prepare(0);
      if (this.#underWay === 0) return null;
      await this.#work;
    }
  }

  /** Makes a spare now: for the first segment of a new log. Throws what is in the way. */
  async makeFirst(): Promise<void> {
    await this.#work;
    // What was begun before failed: the files are in doubt, and no flush is tried again.
    if (this.#failure !== null) throw this.#failure.error;
    await this.#make(this.#found.pop() ?? this.#newFile());
  }

  /** Makes spares ahead of need, in the background. `fullness` of the present segment: 0 to 1. */
  prepare(fullness: number): void {
    const wanted = fullness > HALF ? 2 : 1;
    if (this.#making || this.#retry !== null || this.#closed || this.#failure !== null) return;
    if (this.#spares.length + this.#underWay >= wanted) return;
    if (this.#found.length === 0 && this.#names.size >= this.#options.filesMax) return;
    const file = this.#found.pop() ?? this.#newFile();
    this.#making = true;
    this.#underWay++;
    this.#background(async () => {
      let isMade = false;
      try {
        await this.#make(file);
        this.#diskHasRoom();
        isMade = true;
      } catch (error) {
        if (!isCascadeError(error, "disk-full")) throw error;
        await this.#onDiskFull(file, error);
      } finally {
        this.#making = false;
        this.#underWay--;
      }
      if (isMade) this.#tell();
    });
  }

  #diskHasRoom(): void {
    if (!this.#full) return;
    this.#full = false;
    if (!this.#closed) this.#options.onDiskFull(null);
  }

  /** What was written of the file is given back: others may need the room more. */
  async #onDiskFull(file: SegmentFile, error: unknown): Promise<void> {
    const { folder, onDiskFull, retry } = this.#options;
    this.#remove(file);
    await folder.disk.flushFolder(folder.path);
    const wasFull = this.#full;
    this.#full = true;
    if (this.#closed) return;
    this.#retry = retry(() => {
      this.#retry = null;
      this.prepare(0);
    });
    if (!wasFull) onDiskFull(error);
  }

  #newFile(): SegmentFile {
    for (let number = 1; number <= SEGMENT_FILES_MAX; number++) {
      const name = `${String(number).padStart(6, "0")}.seg`;
      if (this.#names.has(name)) continue;
      this.#names.add(name);
      return new SegmentFile(this.#options.folder, name);
    }
    throw new CascadeError("log-full", "there are no names left for segment files", {
      where: { folder: this.#options.folder.path },
      hint: "Choose larger segments in the topology",
    });
  }

  /** Zeroes, header, flush, flush of the folder. */
  async #make(file: SegmentFile): Promise<void> {
    const { folder, segmentBytes } = this.#options;
    await file.create(segmentBytes);
    await this.#makeFree(file);
    await folder.disk.flushFolder(folder.path);
    this.#spares.push(file);
  }

  async #makeFree(file: SegmentFile): Promise<void> {
    file.writeHeader(SegmentState.FREE, this.#options.segmentBytes);
    await file.flush();
  }

  /** Takes a segment back, in the background. One too many, or of another size, is removed. */
  free(file: SegmentFile): void {
    this.#underWay++;
    this.#freeing++;
    this.#background(async () => {
      const { folder, segmentBytes, filesMax, beforeRemoval } = this.#options;
      if (this.#names.size > filesMax || file.sizeBytes() !== segmentBytes) {
        await beforeRemoval();
        this.#remove(file);
        await folder.disk.flushFolder(folder.path);
      } else {
        await this.#makeFree(file);
        this.#spares.push(file);
      }
      this.#underWay--;
      this.#freeing--;
      this.#tell();
    });
  }

  /** Whether {@linkcode PoolOptions.beforeRemoval} may be called yet. */
  get isFreeing(): boolean {
    return this.#freeing > 0 && this.#failure === null;
  }

  /** Settles when what is being freed now is free or removed, or something failed. */
  async freed(): Promise<void> {
    await this.#work;
  }

  /** Removes a segment; settles when that is durable. Nothing of it is ever met again. */
  discard(file: SegmentFile): Promise<void> {
    const { folder } = this.#options;
    return this.#background(async () => {
      this.#remove(file);
      await folder.disk.flushFolder(folder.path);
    });
  }

  #tell(): void {
    if (!this.#closed && this.#failure === null) this.#options.onSpare();
  }

  /**
   * One thing after the other. Whatever fails here has left the log's files in doubt: fatal, and
   * nothing that waits is done any more, since the order in which files are freed counts.
   */
  #background(work: () => Promise<void>): Promise<void> {
    const done = this.#work.then(() => {
      if (this.#failure !== null) throw this.#failure.error;
      return work();
    });
    this.#work = done.catch((error) => {
      if (this.#failure !== null) return;
      this.#failure = { error };
      this.#options.onFatal(error);
    });
    return done;
  }

  /** Waits for what is under way. Closes no file: they are the folder's. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#retry?.cancel();
    await this.#work;
  }
}
