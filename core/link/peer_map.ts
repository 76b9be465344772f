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
    try {
      this.#map = this.#file.load(this.#ground.sizes);
      this.#isOnDisk = this.#map !== null;
    } catch (error) {
      if (!isCascadeError(error, "state-corrupt") || isInPlace) throw error;
      journal.write("error", "what the peer lacks is not known any more", {
        link: this.#link,
        reason: describeError(error),
      });
      await this.#file.clear();
    }
  }

  /** Takes in all that [.., lsn) touched since `neededLsn`, durably: that log may go then. */
  async foldTo(lsn: number, neededLsn: number): Promise<void> {
    const { history, sizes, clock } = this.#ground;
    const fromLsn = this.#known(Math.min(neededLsn, lsn));
    const map = this.#map ?? new DirtyMap(new BlockSet(sizes), history.idAt(fromLsn), fromLsn);
    if (this.#map !== null && map.foldLsn >= lsn) return;
    await makeDurableFolder(this.#disk, this.#folder);
    await visitExtents(this.#ground, map.foldLsn, lsn, (volume, offset, length) => {
      map.set.add(volume, offset, length);
    });
    map.advance(Math.max(lsn, map.foldLsn));
    await this.#file.save(map, clock);
    this.#map = map;
    this.#isOnDisk = true;
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
