/**
 * Blocks of which it is not known what the peers hold: the volume was written between its scan and the
 * moment that it was sent. The next scan takes them for changed, whatever their digests say. Kept in
 * `DIR/scan/unsure.map`, in the form of a dirty map.
 *
 * @module
 */
import { BlockSet } from "../delta/block_set.ts";
import { DirtyMap, DirtyMapFile } from "../delta/dirty_map.ts";
import { makeDurableFolder } from "../folders.ts";
import { NO_EPOCH } from "../history.ts";
import type { Clock, Disk } from "../ports.ts";

/** See the module's text. */
export class UnsureBlocks {
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #folder: string;
  readonly #file: DirtyMapFile;
  readonly #sizes: readonly number[];
  #map: DirtyMap | null = null;
  /** What is not in the map yet. */
  #added: BlockSet | null = null;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(disk: Disk, clock: Clock, folder: string, sizes: readonly number[]) {
    this.#disk = disk;
    this.#clock = clock;
    this.#folder = folder;
    this.#sizes = sizes;
    this.#file = new DirtyMapFile(disk, folder, "unsure.map");
  }

  /** Reads what an earlier life left. Throws `state-corrupt`. */
  load(): void {
    this.#map = this.#file.load(this.#sizes);
  }

  /** Those that are saved; null: there are none. */
  get set(): BlockSet | null {
    return this.#map?.set ?? null;
  }

  add(volume: number, offset: number, length: number): void {
    if (this.#map?.set.has(volume, offset) && length <= this.#map.set.blockBytes) return;
    this.#added ??= new BlockSet(this.#sizes);
    this.#added.add(volume, offset, length);
  }

  /** Settles when all that was added is durable. */
  save(): Promise<void> {
    if (this.#added === null) return this.#turn.then(() => {});
    const done = this.#turn.then(() => this.#save());
    this.#turn = done.catch(() => {/* whoever asked for it is told */});
    return done;
  }

  async #save(): Promise<void> {
    const added = this.#added;
    if (added === null) return;
    this.#added = null;
    this.#map ??= new DirtyMap(new BlockSet(this.#sizes), NO_EPOCH, 0);
    this.#map.set.addAll(added);
    await makeDurableFolder(this.#disk, this.#folder);
    await this.#file.save(this.#map, this.#clock);
  }

  /** They were sent once more. */
  async clear(): Promise<void> {
    this.#map = this.#added = null;
    await this.#file.clear();
  }
}
