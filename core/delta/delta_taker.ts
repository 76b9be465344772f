/**
 * The receiving side of deltas at a node: stages what comes, commits it, and lets the log go on behind
 * it. A node without an image, or one that may be inconsistent for a while, takes the blocks in place.
 *
 * @module
 */
import { assert } from "../assert.ts";
import { CascadeError, describeError, isCascadeError } from "../errors.ts";
import type { Pipeline } from "../pipeline.ts";
import { BODY_START, BodyChecker, type BodyCursor } from "./delta_body.ts";
import type { DeltaHeader, DeltaTrailer } from "./delta_format.ts";
import type { InPlace } from "./in_place.ts";

/** In place, progress is made durable each time that this much was written. */
const PROGRESS_BYTES = 64 * 1024 * 1024;

/** What the taker asks of its node. */
export interface TakerHost {
  readonly pipeline: Pipeline;
  readonly cluster: string;
  readonly volumes: readonly { readonly name: string; readonly sizeBytes: number }[];
  /** Whether the volumes are here: a log-only node stages, and forwards. */
  readonly hasVolumes: boolean;
  /** Room for deltas, bytes. */
  readonly budgetBytes: number;
  /** The operator lets the node be inconsistent while it takes what it has no room to stage. */
  readonly allowInconsistent: boolean;
  /** Nothing was ever replicated to this node, and its volumes are blank. */
  readonly isFresh: () => boolean;
  /** What the node is in the midst of; null when its image is whole. */
  readonly inPlace: () => InPlace | null;
  /** Makes that durable, and what `base` gives, if anything, with it. */
  readonly saveInPlace: (
    inPlace: InPlace | null,
    base: Readonly<Record<string, string>> | null,
  ) => Promise<void>;
  /** The last word of an operator before the image goes. Throws when the hook fails. */
  readonly beforeInconsistent: () => Promise<void>;
  /** From now on the node cannot serve those below it. */
  readonly onBeginInPlace: () => void;
  /** Tries to give room back for `bytes` more. */
  readonly trim: (bytes: number) => Promise<void>;
  /** Blocks will be written in place. */
  readonly beginTouched: () => Promise<void>;
  /** Blocks are written in place: nodes below lack them. */
  readonly touched: (records: Uint8Array) => void;
  /** Makes that durable; with `toLsn`, as all that lies below it. */
  readonly saveTouched: (toLsn: number | null) => Promise<void>;
  /** The volumes are the image of an abandoned epoch: only a delta that mends them may come. */
  readonly isRejoining: () => boolean;
  /** The log goes on behind a delta. */
  readonly onTaken: () => Promise<void>;
}

/** What the node has of a delta. */
export interface Staged {
  readonly header: DeltaHeader;
  readonly position: number;
  readonly cursor: BodyCursor;
}

/** See the module's text. One delta at a time. */
export class DeltaTaker {
  readonly #host: TakerHost;
  #durable = 0;
  /** What a delta came to at least that was larger than it was told to be. */
  #outgrownBytes = 0;
  /** In place: what follows the body. */
  #checker: BodyChecker | null = null;
  #base: Readonly<Record<string, string>> | null = null;

  constructor(host: TakerHost) {
    this.#host = host;
  }

  /** What is here of a delta that was cut off, or null. */
  get staged(): Staged | null {
    const inPlace = this.#host.inPlace();
    if (inPlace !== null) {
      const { header } = inPlace;
      if (this.#checker === null) return inPlace;
      return { header, position: this.#checker.position, cursor: this.#checker.cursor };
    }
    const { incoming } = this.#host.pipeline.shelf;
    if (incoming === null) return null;
    return { header: incoming.header, position: incoming.position, cursor: incoming.cursor };
  }

  /** Bytes of the body that survive a power cut. */
  get durable(): number {
    return this.#durable;
  }

  /** Begins a delta, or goes on with it at `position`. Throws `refused`, `protocol`. */
  async begin(
    header: DeltaHeader,
    position: number,
    bytesExpected: number,
    base: Readonly<Record<string, string>> | null,
  ): Promise<void> {
    this.#checkHeader(header);
    this.#base = base;
    const { staged } = this;
    if (staged !== null && staged.header.id === header.id && staged.position === position) {
      this.#durable = 0;
      if (this.#host.inPlace() !== null) await this.#goOnInPlace();
      return;
    }
    if (position !== 0) throw violation(`a delta that goes on at byte ${position}`);
    this.#durable = 0;
    if (this.#host.inPlace() !== null || header.full) {
      return await this.#beginInPlace(header);
    }
    this.#host.pipeline.shelf.discardIncoming();
    const bytes = Math.max(bytesExpected, this.#outgrownBytes);
    if (this.#missingBytes(bytes) > 0) await this.#host.trim(bytes);
    const missing = this.#missingBytes(bytes);
    if (missing <= 0) {
      this.#host.pipeline.shelf.begin(header);
      return;
    }
    if (!this.#host.allowInconsistent || !this.#host.hasVolumes) {
      // What made another one outgrow its word may be over: each time it is believed less.
      this.#outgrownBytes = Math.floor(this.#outgrownBytes / 2);
      throw noRoom(missing);
    }
    // What the hook keeps a copy of is an image that existed.
    await this.#applyDurably();
    await this.#host.beforeInconsistent();
    await this.#beginInPlace(header);
  }

  /** All that is stable is in the volumes for good: no restart applies it again over what follows. */
  async #applyDurably(): Promise<void> {
    const { pipeline } = this.#host;
    await pipeline.applyAll();
    // The first one may have been under way, and cover less.
    while (pipeline.checkpointedLsn < pipeline.appliedLsn) await pipeline.checkpoint();
  }

  #checkHeader(header: DeltaHeader): void {
    const { cluster, volumes, pipeline } = this.#host;
    const same = header.cluster === cluster && header.volumes.length === volumes.length &&
      volumes.every(({ name, sizeBytes }, number) => {
        const theirs = header.volumes[number];
        return theirs?.name === name && theirs.sizeBytes === sizeBytes;
      });
    if (!same) throw violation("a delta of other volumes");
    if (header.fromLsn > pipeline.stableLsn) {
      throw violation(`a delta from LSN ${header.fromLsn}, this node is at ${pipeline.stableLsn}`);
    }
    const isHere = header.fromLsn === 0 ||
      pipeline.history.idAt(header.fromLsn) === header.epochId;
    if (!isHere) throw violation("a delta of another history");
    if (this.#host.isRejoining() && header.mends !== true) {
      throw violation("a delta that leaves out what was written in an abandoned epoch");
    }
    if (header.full && !this.#host.isFresh() && this.#host.inPlace() === null) {
      throw violation("a first copy, but this node has an image");
    }
  }

  /** Room that a delta of so many bytes in all lacks. */
  #missingBytes(bytes: number): number {
    const { shelf } = this.#host.pipeline;
    const others = shelf.bytes - (shelf.incoming?.fileBytes ?? 0);
    return bytes + others - this.#host.budgetBytes;
  }

  async #beginInPlace(header: DeltaHeader): Promise<void> {
    if (!this.#host.hasVolumes) throw violation("a first copy, but this node has no volumes");
    const { pipeline } = this.#host;
    await pipeline.cutToStable();
    await this.#applyDurably();
    this.#host.onBeginInPlace();
    this.#checker = null;
    pipeline.shelf.discardIncoming();
    const { position, cursor } = { position: 0, cursor: BODY_START };
    await this.#host.saveInPlace({ header, position, cursor, trailer: null }, null);
    await this.#goOnInPlace();
  }

  async #goOnInPlace(): Promise<void> {
    // Once that is known to be so in the state file no map is forgotten until the delta ends.
    await this.#host.beginTouched();
    const inPlace = this.#host.inPlace();
    assert(inPlace !== null, "a delta is taken in place");
    if (this.#checker !== null && this.#checker.position > inPlace.position) return;
    const sizes = this.#host.volumes.map(({ sizeBytes }) => sizeBytes);
    this.#checker = new BodyChecker(sizes, inPlace.position, inPlace.cursor);
    this.#durable = inPlace.position;
  }

  /** Takes the next records of the body. Throws `protocol`, `refused`, or what the disk throws. */
  async take(position: number, records: Uint8Array): Promise<void> {
    const { pipeline } = this.#host;
    const { incoming } = pipeline.shelf;
    const here = this.#host.inPlace() === null ? incoming?.position : this.#checker?.position;
    if (position !== here) {
      throw violation(`a delta's byte ${position}, expected ${here ?? "none"}`);
    }
    if (this.#host.inPlace() !== null) return await this.#takeInPlace(records);
    assert(incoming !== null, "a delta is being received");
    if (this.#missingBytes(incoming.fileBytes + records.length) > 0) {
      // It was told to be smaller. The next try knows better.
      this.#outgrownBytes = 2 * (incoming.fileBytes + records.length);
      pipeline.shelf.discardIncoming();
      throw noRoom(records.length);
    }
    try {
      incoming.append(records);
    } catch (error) {
      // What is staged may be short of what was counted; and others need the room more.
      if (!isCascadeError(error, "protocol")) pipeline.shelf.discardIncoming();
      if (!isCascadeError(error, "disk-full")) throw error;
      throw new CascadeError("refused", `no room to stage the delta: ${describeError(error)}`);
    }
  }

  async #takeInPlace(records: Uint8Array): Promise<void> {
    const checker = this.#checker;
    assert(checker !== null, "a delta is being taken");
    try {
      checker.take(records);
      this.#host.touched(records);
      await this.#host.pipeline.applyForeign(records);
    } catch (error) {
      // How much of it is in the volumes is not known: what is durable is gone on behind.
      this.#checker = null;
      throw error;
    }
    if (checker.position - this.#durable >= PROGRESS_BYTES) await this.makeDurable();
  }

  /** Makes what was taken durable. */
  async makeDurable(): Promise<void> {
    const { pipeline } = this.#host;
    const inPlace = this.#host.inPlace();
    if (inPlace === null) {
      const { incoming } = pipeline.shelf;
      if (incoming === null) return;
      const { position } = incoming;
      try {
        await incoming.flush();
      } catch (error) {
        // What a failed flush leaves behind may be in memory alone: nothing of it counts, and it comes again.
        pipeline.shelf.discardIncoming();
        throw error;
      }
      this.#durable = position;
      return;
    }
    const checker = this.#checker;
    assert(checker !== null, "a delta is being taken");
    const { position, cursor } = checker;
    await Promise.all(pipeline.volumes.map((volume) => volume.flush()));
    await this.#host.saveTouched(null);
    await this.#host.saveInPlace({ ...inPlace, position, cursor }, null);
    this.#durable = position;
  }

  /** Commits: from here on the node is, with its log, at the trailer's end. */
  async end(trailer: DeltaTrailer): Promise<void> {
    const { pipeline } = this.#host;
    const header = this.staged?.header;
    const fits = header !== undefined && header.id === trailer.id &&
      this.staged?.position === trailer.bodyBytes && trailer.toLsn >= header.fromLsn &&
      trailer.toLsn % 16 === 0;
    if (!fits) throw violation("the end of another delta");
    this.#checkHistory(trailer);
    if (this.#host.inPlace() !== null && trailer.toLsn < pipeline.stableLsn) {
      throw violation(`a delta that goes back to LSN ${trailer.toLsn}`);
    }
    if (this.#host.inPlace() !== null) return await this.#endInPlace(trailer);
    // Nothing in it is news here.
    if (trailer.toLsn <= pipeline.stableLsn) return pipeline.shelf.discardIncoming();
    this.#outgrownBytes = 0;
    const delta = await pipeline.shelf.commit(trailer);
    await pipeline.takeDelta(delta);
    await this.#host.onTaken();
  }

  /** All that is stable here must lie on the history that comes with the delta. */
  #checkHistory(trailer: DeltaTrailer): void {
    const { pipeline } = this.#host;
    let before = { number: 0, firstLsn: 0 };
    for (const epoch of trailer.history) {
      const ordered = epoch.number > before.number && epoch.firstLsn >= before.firstLsn &&
        epoch.firstLsn < trailer.toLsn;
      if (!ordered) throw violation("a delta with a history that goes back");
      before = epoch;
    }
    const mineOf = new Map(pipeline.history.epochs.map((epoch) => [epoch.id, epoch]));
    for (const { id, number, firstLsn } of trailer.history) {
      const same = mineOf.get(id);
      if (same !== undefined && (same.number !== number || same.firstLsn !== firstLsn)) {
        throw violation(`a delta that tells otherwise of epoch ${number}`);
      }
    }
    const { mine } = pipeline.history.fork(trailer.history);
    if (mine !== null && mine.firstLsn < pipeline.stableLsn) {
      throw violation("a delta of another history");
    }
  }

  async #endInPlace(trailer: DeltaTrailer): Promise<void> {
    const inPlace = this.#host.inPlace();
    assert(inPlace !== null, "a delta is taken in place");
    await this.makeDurable();
    const now = this.#host.inPlace();
    assert(now !== null, "it is still");
    await this.#host.saveTouched(trailer.toLsn);
    await this.#host.saveInPlace({ ...now, trailer }, this.#base);
    await this.finishInPlace();
  }

  /** The last steps of a delta that was taken in place: done again after a crash. */
  async finishInPlace(): Promise<void> {
    const trailer = this.#host.inPlace()?.trailer ?? null;
    if (trailer === null) return;
    await this.#host.pipeline.moveTo(trailer.toLsn, trailer.history);
    this.#checker = null;
    this.#outgrownBytes = 0;
    await this.#host.saveInPlace(null, null);
    await this.#host.onTaken();
  }
}

function noRoom(missing: number): CascadeError {
  return new CascadeError(
    "refused",
    `the delta needs ${
      Math.ceil(missing / 1024 / 1024)
    } MiB more than the node has room for; raise ` +
      "`log.deltaBudget`, or set `allowInconsistent: true`",
  );
}

function violation(found: string): CascadeError {
  return new CascadeError("protocol", `the upstream sent ${found}`, { retryable: true });
}
