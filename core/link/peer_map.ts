/**
 * What the peer of a link lacks of the log that went: its dirty map, in memory and in its file.
 *
 * @module
 */
import { BlockSet } from "../delta/block_set.ts";
import { DirtyMap, DirtyMapFile } from "../delta/dirty_map.ts";
import { visitExtents } from "../delta/fold.ts";
import type { DeltaGround } from "../delta/made_delta.ts";
import { CascadeError, describeError, isCascadeError } from "../errors.ts";
import { makeDurableFolder } from "../folders.ts";
import { RecordReader } from "../log/record.ts";
import type { Disk, Journal } from "../ports.ts";

/** See the module's text. The caller sees to one call at a time. */
export class PeerMap {
  readonly #ground: DeltaGround;
  readonly #file: DirtyMapFile;
  readonly #folder: string;
  readonly #link: string;
  readonly #disk: Disk;
  #map: DirtyMap | null = null;
  #isOnDisk = false;
  #heldLsn = Infinity;

  constructor(ground: DeltaGround, disk: Disk, folder: string, link: string) {
    this.#ground = ground;
    this.#disk = disk;
    this.#folder = folder;
    this.#link = link;
    this.#file = new DirtyMapFile(disk, folder, `${link}.map`);
  }

  get map(): DirtyMap | null {
    return this.#map;
  }

  /**
   * Reads what an earlier life left. A damaged one is of no use: it is told, and forgotten; but not
   * while blocks come in place, which it alone knows.
   */
  async load(journal: Journal, isInPlace: boolean): Promise<void> {
    if (!this.#disk.exists(this.#folder)) return;
    try {
      this.#map = this.#within(this.#file.load(this.#ground.sizes));
      this.#isOnDisk = this.#map !== null;
      // Log goes by what is found: its name may be there in memory alone.
      if (this.#isOnDisk) await this.#disk.flushFolder(this.#folder);
    } catch (error) {
      if (!isCascadeError(error, "state-corrupt") || isInPlace) throw error;
      journal.write("error", "what the peer lacks is not known any more", {
        link: this.#link,
        reason: describeError(error),
      });
      await this.#file.clear();
    }
  }

  /** A log that was cut back, since its end was abandoned, leaves maps that go beyond it. */
  #within(map: DirtyMap | null): DirtyMap | null {
    const { endLsn } = this.#ground.log;
    if (map === null || map.foldLsn <= endLsn) return map;
    return map.fromLsn > endLsn ? null : new DirtyMap(map.set, map.epochId, map.fromLsn, endLsn);
  }

  /** The log from here on is being read: it stays, though the peer may tell meanwhile that it has it. */
  get heldLsn(): number {
    return this.#heldLsn;
  }

  /** Takes in all that [.., lsn) touched since `neededLsn`, durably: that log may go then. */
  async foldTo(lsn: number, neededLsn: number): Promise<void> {
    if (this.#map !== null && this.#map.foldLsn >= lsn) return;
    this.#heldLsn = Math.min(this.#map?.foldLsn ?? Infinity, neededLsn);
    try {
      await makeDurableFolder(this.#disk, this.#folder);
      const map = await this.#grown(lsn) ?? await this.#begun(lsn, neededLsn);
      await this.#file.save(map, this.#ground.clock);
      this.#map = map;
      this.#isOnDisk = true;
    } finally {
      this.#heldLsn = Infinity;
    }
  }

  /** The map there is, with all below `lsn`; null: there is none that is of use. */
  async #grown(lsn: number): Promise<DirtyMap | null> {
    if (this.#map === null) return null;
    try {
      await this.#visit(this.#map, lsn);
      return this.#map;
    } catch (error) {
      // The peer had all of it once, and the log went on without the map; then a crash brought back
      // the file that had been removed.
      if (!isCascadeError(error, "log-gone")) throw error;
      return null;
    }
  }

  async #begun(lsn: number, neededLsn: number): Promise<DirtyMap> {
    const { history, sizes } = this.#ground;
    const fromLsn = this.#known(Math.min(neededLsn, lsn));
    const map = new DirtyMap(new BlockSet(sizes), history.idAt(fromLsn), fromLsn);
    await this.#visit(map, lsn);
    return map;
  }

  async #visit(map: DirtyMap, lsn: number): Promise<void> {
    await visitExtents(this.#ground, map.foldLsn, lsn, (volume, offset, length) => {
      map.set.add(volume, offset, length);
    });
    map.advance(Math.max(lsn, map.foldLsn));
  }

  /** From where on it is known what was touched: a delta that was taken in place tells nothing. */
  #known(lsn: number): number {
    const { log, shelf } = this.#ground;
    let known = lsn;
    for (const { fromLsn, toLsn } of log.gaps) {
      const isUnknown = toLsn > known && shelf.covering(Math.max(fromLsn, known)) === null;
      if (isUnknown) known = toLsn;
    }
    return known;
  }

  /** Blocks that this node was given in place. */
  add(records: Uint8Array): void {
    const map = this.#map;
    if (map === null) throw new CascadeError("bug", "a map is begun before blocks are added to it");
    const record = new RecordReader();
    for (let at = 0; at < records.length; at += record.totalBytes) {
      const { volume, offset, length } = record.at(records, at);
      map.set.add(volume, offset, length);
    }
  }

  /** The same, of blocks that a scan found. */
  addAll(blocks: BlockSet): void {
    if (this.#map === null) {
      throw new CascadeError("bug", "a map is begun before blocks are added to it");
    }
    this.#map.set.addAll(blocks);
  }

  /** Makes what was added durable; with `toLsn`, as all that was touched below it. */
  async save(toLsn: number | null): Promise<void> {
    if (this.#map === null) return;
    if (toLsn !== null) this.#map.advance(toLsn);
    await this.#file.save(this.#map, this.#ground.clock);
  }

  /** The peer has all that the map covers. */
  async clear(): Promise<void> {
    this.#map = null;
    if (!this.#isOnDisk) return;
    this.#isOnDisk = false;
    await this.#file.clear();
  }
}
