/**
 * What was touched since the last seed file was made here: a node that was filled from it stands there, and
 * the log may be gone by the time it comes. It is a dirty map like that of a link, in a file of its own; one
 * that is lost costs bytes alone.
 *
 * @module
 */
import { BlockSet } from "../delta/block_set.ts";
import { DirtyMap, DirtyMapFile } from "../delta/dirty_map.ts";
import { visitExtents } from "../delta/fold.ts";
import type { DeltaGround } from "../delta/made_delta.ts";
import { describeError, isCascadeError } from "../errors.ts";
import { makeDurableFolder } from "../folders.ts";
import type { Disk, Journal } from "../ports.ts";
import type { LogHolder } from "./folding.ts";

/** No link has such a name. */
const FILE = "seed@.map";

/** See the module's text. The caller sees to one call at a time. */
export class SeedMap implements LogHolder {
  readonly #ground: DeltaGround & { readonly log: { readonly startLsn: number } };
  readonly #file: DirtyMapFile;
  readonly #folder: string;
  readonly #disk: Disk;
  readonly #isTaken: (lsn: number) => boolean;
  #map: DirtyMap | null = null;

  /** `isTaken`: every node below is past this LSN, durably. */
  constructor(
    ground: DeltaGround & { readonly log: { readonly startLsn: number } },
    disk: Disk,
    folder: string,
    isTaken: (lsn: number) => boolean,
  ) {
    this.#ground = ground;
    this.#disk = disk;
    this.#folder = folder;
    this.#file = new DirtyMapFile(disk, folder, FILE);
    this.#isTaken = isTaken;
  }

  get map(): DirtyMap | null {
    return this.#map;
  }

  /** Reads what an earlier life left. Throws what the disk throws. */
  async load(journal: Journal): Promise<void> {
    if (!this.#disk.exists(this.#folder)) return;
    try {
      const map = this.#file.load(this.#ground.sizes);
      // Log goes by what is found: its name may be there in memory alone.
      if (map !== null) await this.#disk.flushFolder(this.#folder);
      const { startLsn, endLsn } = this.#ground.log;
      const isWhole = map !== null && map.foldLsn >= startLsn && map.foldLsn <= endLsn;
      if (isWhole) this.#map = map;
      else if (map !== null) await this.#file.clear();
    } catch (error) {
      if (!isCascadeError(error, "state-corrupt")) throw error;
      journal.write("warn", "what was touched since the last seed is not known any more", {
        reason: describeError(error),
      });
      await this.#file.clear();
    }
  }

  /** A seed was made that stands at `lsn`: from here on it counts, and no older one. */
  async begin(lsn: number): Promise<void> {
    const { history, sizes, clock, log } = this.#ground;
    if (log.startLsn > lsn) return await this.clear();
    const map = new DirtyMap(new BlockSet(sizes), history.idAt(lsn), lsn);
    await makeDurableFolder(this.#disk, this.#folder);
    await this.#file.save(map, clock);
    this.#map = map;
  }

  get heldLsn(): number {
    return this.#map?.foldLsn ?? Infinity;
  }

  /** See {@linkcode LogHolder.foldTo}. */
  async foldTo(lsn: number): Promise<void> {
    const map = this.#map;
    if (map === null || map.foldLsn >= lsn) return;
    if (this.#isTaken(map.fromLsn)) return await this.clear();
    try {
      await visitExtents(this.#ground, map.foldLsn, lsn, (volume, offset, length) => {
        map.set.add(volume, offset, length);
      });
    } catch (error) {
      // A delta that was taken in place tells nothing.
      if (!isCascadeError(error, "log-gone")) throw error;
      return await this.clear();
    }
    map.advance(lsn);
    await this.#file.save(map, this.#ground.clock);
  }

  /** It is of no use any more. */
  async clear(): Promise<void> {
    if (this.#map === null) return;
    this.#map = null;
    await this.#file.clear();
  }
}
