/**
 * What a node knows of the log that it has let go: for each node below it, the blocks that were touched since the LSN
 * that this one has. One chain serves all of them.
 *
 * The chain is a row of dirty maps, **spans**, each of which begins where the one before it ends. Whoever stands at an
 * LSN lacks the blocks of the span that it stands in, and of all that follow. So log that goes is read once, and one
 * map grows, however many nodes lack it; a span begins where one of them stands.
 *
 * Each span is a file (`dirty_map.ts`), named after its from-LSN; only the newest changes, and only that one is held in
 * memory. The rule for each fold: read, save, and only then may the log go. A crash leaves a chain and its log; or, of
 * two spans that were being united, both, which overlap then.
 *
 * @module
 */
import { assert } from "../assert.ts";
import { CascadeError, describeError, isCascadeError } from "../errors.ts";
import { makeDurableFolder } from "../folders.ts";
import { RecordReader } from "../log/record.ts";
import type { Disk, Journal } from "../ports.ts";
import { BlockSet } from "./block_set.ts";
import { DirtyMap, DirtyMapFile } from "./dirty_map.ts";
import { coversGap, visitExtents } from "./fold.ts";
import type { DeltaGround } from "./made_delta.ts";

/** Files: where more nodes than this stand at LSNs of their own, some are given a little more than they lack. */
const SPANS_MAX = 64;
/** More than so many are united where nobody stands at the beginning of one. */
const SPANS_KEPT = 8;

/** Maps in the same folder that are no part of the chain. */
const OTHERS: readonly string[] = ["rejoin@.map", "seed@.map"];

/** What was touched since an LSN, as far as `foldLsn`; from there on the log tells. */
export interface Touched {
  readonly fromLsn: number;
  readonly foldLsn: number;
  /** Id of the epoch that the from-LSN lies in. */
  readonly epochId: string;
  /** Not to be changed; null: it turned out to be damaged. */
  blocks(): BlockSet | null;
}

interface Span {
  readonly fromLsn: number;
  readonly epochId: string;
  /** As far as this it is saved. */
  foldLsn: number;
  bytes: number;
}

/** What a chain stands on. */
export type ChainGround = DeltaGround & { readonly log: { readonly startLsn: number } };

/** See the module's text. The caller sees to one call at a time of those that return a promise. */
export class MapChain {
  readonly #ground: ChainGround;
  readonly #disk: Disk;
  readonly #folder: string;
  readonly #journal: Journal;
  /** From the oldest on. */
  readonly #spans: Span[] = [];
  /** The last span, in memory. */
  #newest: DirtyMap | null = null;
  #heldLsn = Infinity;

  constructor(ground: ChainGround, disk: Disk, folder: string, journal: Journal) {
    this.#ground = ground;
    this.#disk = disk;
    this.#folder = folder;
    this.#journal = journal;
  }

  get isEmpty(): boolean {
    return this.#spans.length === 0;
  }

  /** All below is in the chain, durably, if anybody lacks it; 0: there is none. */
  get endLsn(): number {
    return this.#spans.at(-1)?.foldLsn ?? 0;
  }

  /** The log from here on is being read: it stays, whoever tells meanwhile to have it. */
  get heldLsn(): number {
    return this.#heldLsn;
  }

  /** From where on a node that stands at `lsn` needs the log. */
  neededFrom(lsn: number): number {
    return Math.max(lsn, this.endLsn);
  }

  /** What a node that stands at `lsn` lacks of the log that went; null: that is not known. */
  since(lsn: number): Touched | null {
    const place = this.#placeOf(lsn);
    const span = this.#spans[place];
    if (span === undefined) return null;
    const { fromLsn, epochId } = span;
    return { fromLsn, epochId, foldLsn: this.endLsn, blocks: () => this.#unite(place) };
  }

  /** Bytes of those blocks, or a little more: a block of two spans counts twice. */
  bytesSince(lsn: number): number {
    let bytes = 0;
    for (const span of this.#spans.slice(Math.max(0, this.#placeOf(lsn)))) bytes += span.bytes;
    return Math.min(bytes, this.#ground.sizes.reduce((sum, size) => sum + size, 0));
  }

  #placeOf(lsn: number): number {
    // It went on without the chain, since nobody lacked anything.
    if (this.endLsn < this.#ground.log.startLsn) return -1;
    return this.#spans.findLastIndex(({ fromLsn }) => fromLsn <= lsn);
  }

  #unite(place: number): BlockSet | null {
    if (place === this.#spans.length - 1) return this.#newest?.set ?? null;
    const set = new BlockSet(this.#ground.sizes);
    for (const span of this.#spans.slice(place)) {
      const map = this.#load(span);
      if (map === null) return null;
      set.addAll(map.set);
    }
    return set;
  }

  #load(span: Span): DirtyMap | null {
    if (span.fromLsn === this.#newest?.fromLsn) return this.#newest;
    try {
      const map = this.#file(span.fromLsn).load(this.#ground.sizes);
      if (map !== null) return map;
      throw new CascadeError("state-corrupt", "a dirty map is gone", {
        where: { LSN: span.fromLsn },
      });
    } catch (error) {
      if (!isCascadeError(error, "state-corrupt")) throw error;
      this.#tellDamage(error);
      this.#spans.splice(0, this.#spans.indexOf(span) + 1);
      return null;
    }
  }

  #tellDamage(error: unknown): void {
    this.#journal.write("error", "what nodes below lack is not known any more", {
      reason: describeError(error),
    });
  }

  #file(fromLsn: number): DirtyMapFile {
    return new DirtyMapFile(this.#disk, this.#folder, nameOf(fromLsn));
  }

  /**
   * Reads what an earlier life left. A damaged map is of no use, nor are those before it: that is told, and they are
   * forgotten; but not while blocks come in place, which the chain alone knows.
   */
  async load(isInPlace: boolean): Promise<void> {
    if (!this.#disk.exists(this.#folder)) return;
    const found: { readonly name: string; readonly map: DirtyMap }[] = [];
    for (const name of this.#disk.list(this.#folder)) {
      if (name.endsWith(".map.new")) this.#disk.remove(`${this.#folder}/${name}`);
      if (!name.endsWith(".map") || OTHERS.includes(name)) continue;
      const file = new DirtyMapFile(this.#disk, this.#folder, name);
      try {
        const map = file.load(this.#ground.sizes);
        if (map !== null) found.push({ name, map });
      } catch (error) {
        if (!isCascadeError(error, "state-corrupt") || isInPlace) throw error;
        this.#tellDamage(error);
        await file.clear();
      }
    }
    found.sort((a, b) => b.map.fromLsn - a.map.fromLsn || b.map.foldLsn - a.map.foldLsn);
    for (const { name, map } of found) await this.#adopt(name, map);
    // Log goes by what is found: its name may be there in memory alone.
    if (!this.isEmpty) await this.#disk.flushFolder(this.#folder);
  }

  /** Takes a map over that an earlier life left, the newest first, or removes it. */
  async #adopt(name: string, map: DirtyMap): Promise<void> {
    const { startLsn, endLsn } = this.#ground.log;
    const [next] = this.#spans;
    const { fromLsn, epochId, set } = map;
    // A log that was cut back, since its end was abandoned, leaves maps that go beyond it.
    const foldLsn = Math.min(map.foldLsn, endLsn);
    const reaches = next === undefined ? foldLsn >= startLsn : foldLsn >= next.fromLsn;
    if (!reaches || fromLsn > endLsn || fromLsn === next?.fromLsn) {
      return await new DirtyMapFile(this.#disk, this.#folder, name).clear();
    }
    if (name !== nameOf(fromLsn)) {
      this.#disk.rename(`${this.#folder}/${name}`, `${this.#folder}/${nameOf(fromLsn)}`);
    }
    if (next === undefined) this.#newest = new DirtyMap(set, epochId, fromLsn, foldLsn);
    this.#spans.unshift({ fromLsn, epochId, foldLsn, bytes: set.countBytes() });
  }

  /**
   * The log below `lsn` goes: takes in, durably, what those lack of it who have all below the LSNs of `taken`.
   * Throws `disk-full`, and what the disk throws: nothing may go then.
   */
  async foldTo(lsn: number, taken: readonly number[]): Promise<void> {
    if (this.endLsn >= lsn) return;
    this.#heldLsn = this.#firstLsn(lsn, taken);
    try {
      await this.trim(taken);
      await this.#fold(this.#firstLsn(lsn, taken), lsn, taken);
    } catch (error) {
      // Everybody had all of it once, and the log went on without the chain; then one was given new disks.
      if (this.isEmpty || !isCascadeError(error, "log-gone")) throw error;
      await this.clear();
      await this.#fold(this.#firstLsn(lsn, taken), lsn, taken);
    } finally {
      this.#heldLsn = Infinity;
    }
  }

  /** From where on log that goes is to be taken in. */
  #firstLsn(lsn: number, taken: readonly number[]): number {
    if (!this.isEmpty) return this.endLsn;
    const least = Math.min(...taken, lsn);
    return this.#known(Math.max(this.#boundary(least) ?? 0, this.#ground.log.startLsn), lsn);
  }

  /** From where on it is known what was touched: a delta that was taken in place tells nothing. */
  #known(lsn: number, untilLsn: number): number {
    const { log, shelf } = this.#ground;
    let known = lsn;
    for (const { fromLsn, toLsn } of log.gaps) {
      if (fromLsn >= untilLsn) break;
      if (toLsn > known && !coversGap(shelf, Math.max(fromLsn, known), toLsn)) known = toLsn;
    }
    return known;
  }

  /** Where a span may begin for a node that stands at `lsn`; null: it tells of an LSN where nothing begins. */
  #boundary(lsn: number): number | null {
    const { log } = this.#ground;
    const gap = log.gapAt(lsn);
    if (gap !== null) return gap.fromLsn;
    return lsn < log.startLsn || log.beginsRecord(lsn) ? lsn : null;
  }

  async #fold(fromLsn: number, lsn: number, taken: readonly number[]): Promise<void> {
    // Where it is not known what was touched, the chain begins behind it: else that log would be asked for for ever.
    if (Math.min(...taken, Infinity) >= lsn) return;
    try {
      await makeDurableFolder(this.#disk, this.#folder);
      const cuts = taken.map((at) => this.#boundary(at) ?? 0)
        .filter((at) => at >= fromLsn && at < lsn).sort((a, b) => a - b);
      if (this.isEmpty) this.#begin(fromLsn);
      for (const cut of cuts) {
        await this.#grow(cut);
        if (this.#spans.length < SPANS_MAX) this.#begin(Math.max(cut, this.endLsn));
      }
      await this.#grow(lsn);
      if (this.endLsn === fromLsn) await this.#save(fromLsn);
    } finally {
      this.#dropUnsaved();
    }
  }

  /** A new span, not saved yet. */
  #begin(fromLsn: number): void {
    if (this.#newest?.fromLsn === fromLsn) return;
    const epochId = this.#ground.history.idAt(fromLsn);
    this.#newest = new DirtyMap(new BlockSet(this.#ground.sizes), epochId, fromLsn);
    this.#spans.push({ fromLsn, epochId, foldLsn: fromLsn, bytes: 0 });
  }

  /** The newest span takes in all below `lsn`, durably. */
  async #grow(lsn: number): Promise<void> {
    const map = this.#newest;
    assert(map !== null, "a span is begun before it grows");
    if (this.endLsn >= lsn) return;
    await visitExtents(this.#ground, this.endLsn, lsn, (volume, offset, length) => {
      map.set.add(volume, offset, length);
    });
    await this.#save(lsn);
  }

  /** Makes the newest span durable, as all that was touched below `lsn`. */
  async #save(lsn: number): Promise<void> {
    const [map, span] = [this.#newest, this.#spans.at(-1)];
    assert(map !== null && map.fromLsn === span?.fromLsn, "the newest span is in memory");
    // Should it fail, the span still ends where it did: what was added beyond is added again.
    const saved = new DirtyMap(map.set, map.epochId, map.fromLsn, Math.max(lsn, span.foldLsn));
    await this.#file(map.fromLsn).save(saved, this.#ground.clock);
    span.foldLsn = saved.foldLsn;
    span.bytes = map.set.countBytes();
    this.#newest = saved;
  }

  /** A span that was begun and could not be saved is none. */
  #dropUnsaved(): void {
    const span = this.#spans.at(-1);
    if (span === undefined || span.foldLsn > span.fromLsn) return;
    if (this.#disk.exists(`${this.#folder}/${nameOf(span.fromLsn)}`)) return;
    this.#spans.pop();
    const last = this.#spans.at(-1);
    this.#newest = null;
    if (last !== undefined) this.#newest = this.#load(last);
  }

  /** From here on blocks are written in place, which the chain is told by itself. To be called before the first. */
  async begin(lsn: number, taken: readonly number[]): Promise<void> {
    await this.foldTo(lsn, taken);
    await makeDurableFolder(this.#disk, this.#folder);
    if (this.isEmpty || taken.some((at) => at >= lsn)) this.#begin(Math.max(lsn, this.endLsn));
    try {
      await this.#save(lsn);
    } finally {
      this.#dropUnsaved();
    }
  }

  /** Blocks that this node was given in place. */
  add(records: Uint8Array): void {
    const { set } = this.#begun();
    const record = new RecordReader();
    for (let at = 0; at < records.length; at += record.totalBytes) {
      const { volume, offset, length } = record.at(records, at);
      set.add(volume, offset, length);
    }
  }

  /** The same, of blocks that a scan found. */
  addAll(blocks: BlockSet): void {
    this.#begun().set.addAll(blocks);
  }

  #begun(): DirtyMap {
    assert(this.#newest !== null, "a map is begun before blocks are added to it");
    return this.#newest;
  }

  /** Makes what was added durable; with `toLsn`, as all that was touched below it. */
  async save(toLsn: number | null): Promise<void> {
    if (!this.isEmpty) await this.#save(toLsn ?? this.endLsn);
  }

  /** Whether there is a span that nobody lacks. */
  isSpare(leastTaken: number): boolean {
    const [oldest, next] = this.#spans;
    return oldest !== undefined && leastTaken >= (next?.fromLsn ?? oldest.foldLsn);
  }

  /** Removes what nobody lacks any more of those who have all below these LSNs. */
  async trim(taken: readonly number[]): Promise<void> {
    const least = Math.min(...taken, Infinity);
    while (this.isSpare(least)) await this.#drop(0);
    for (let i = 1; this.#spans.length > SPANS_KEPT && i < this.#spans.length;) {
      const [span, next] = this.#spans.slice(i);
      assert(span !== undefined, "a place in the chain");
      const endLsn = next?.fromLsn ?? Infinity;
      const isUsed = taken.some((at) => at >= span.fromLsn && at < endLsn);
      if (isUsed) i++;
      else await this.#join(i);
    }
  }

  /** Unites a span with the one before it. */
  async #join(place: number): Promise<void> {
    const [before, span] = this.#spans.slice(place - 1);
    assert(before !== undefined && span !== undefined, "two spans of the chain");
    const map = this.#load(span);
    const old = map === null ? null : this.#load(before);
    if (map === null || old === null) return;
    old.set.addAll(map.set);
    const joined = new DirtyMap(old.set, before.epochId, before.fromLsn, span.foldLsn);
    await this.#file(before.fromLsn).save(joined, this.#ground.clock);
    before.foldLsn = span.foldLsn;
    before.bytes = old.set.countBytes();
    if (place === this.#spans.length - 1) this.#newest = joined;
    await this.#drop(place);
  }

  async #drop(place: number): Promise<void> {
    const [span] = this.#spans.splice(place, 1);
    if (span === undefined) return;
    if (span.fromLsn === this.#newest?.fromLsn) this.#newest = null;
    await this.#file(span.fromLsn).clear();
  }

  /** It is of no use any more. */
  async clear(): Promise<void> {
    while (!this.isEmpty) await this.#drop(0);
  }
}

/** A map that is no part of a chain. */
export function touchedIn(map: DirtyMap): Touched {
  const { fromLsn, foldLsn, epochId } = map;
  return { fromLsn, foldLsn, epochId, blocks: () => map.set };
}

/** The file of the span that begins there. */
function nameOf(fromLsn: number): string {
  return `${fromLsn}.map`;
}
