/**
 * The hash maps of a node, `DIR/scan/VOLUME.hashes`: which of them tell what the volumes were at the end
 * of the log.
 *
 * A scan seals its maps before its delta is committed, and puts them in the place of those before once
 * the log has gone on behind it. So after a crash a sealed one counts if its LSN is where the log goes on
 * now, and the one before if not. A map of any other LSN says nothing: it is as good as none.
 *
 * @module
 */
import type { VolumeConfig } from "../config.ts";
import { describeError, isCascadeError } from "../errors.ts";
import { makeDurableFolder } from "../folders.ts";
import type { History, Position } from "../history.ts";
import type { Gap } from "../log/gaps.ts";
import type { Disk, Journal, Random } from "../ports.ts";
import { type DigestKey, SEED_BYTES } from "./block_digest.ts";
import { isSameKey } from "./digests.ts";
import { HashMap, type MapOwner } from "./hash_map.ts";
import { HashMapWriter, keepMap, type MapPlace, temporaryMapPath } from "./hash_map_writer.ts";

/** Blocks that are hashed, compared and sent: what most file systems write. */
export const SCAN_BLOCK_BYTES = 4096;

/** What the log tells of an LSN. */
export interface MapGround {
  readonly history: History;
  readonly log: {
    readonly startLsn: number;
    readonly endLsn: number;
    readonly gaps: readonly Gap[];
  };
}

/** Whether a volume that was so at a position is so at the end of the log: no delta came since. */
export function isCurrent({ history, log }: MapGround, position: Position): boolean {
  return history.holds(position, log.endLsn) && position.lsn >= log.startLsn &&
    log.gaps.every(({ toLsn }) => toLsn <= position.lsn);
}

/** Where maps are kept. */
export interface MapFilesParts {
  readonly disk: Disk;
  readonly journal: Journal;
  readonly random: Random;
  /** Of the node. */
  readonly dir: string;
  readonly cluster: string;
  readonly node: string;
  readonly volumes: readonly VolumeConfig[];
}

/** See the module's text. */
export class MapFiles {
  readonly #parts: MapFilesParts;

  constructor(parts: MapFilesParts) {
    this.#parts = parts;
  }

  get folder(): string {
    return `${this.#parts.dir}/scan`;
  }

  #place(volume: VolumeConfig): MapPlace {
    return { disk: this.#parts.disk, folder: this.folder, name: `${volume.name}.hashes` };
  }

  #owner({ name, sizeBytes }: VolumeConfig): MapOwner {
    const { cluster, node } = this.#parts;
    return { cluster, node, volume: name, volumeBytes: sizeBytes };
  }

  /**
   * The maps of all volumes, to be closed by the caller; null when one of them is missing, damaged, or
   * of another LSN than the log's end. Damage is told in the journal. Throws `wrong-volume`.
   */
  async open(ground: MapGround): Promise<readonly HashMap[] | null> {
    const maps: HashMap[] = [];
    for (const volume of this.#parts.volumes) {
      const map = await this.#open(volume, ground);
      if (map !== null) maps.push(map);
    }
    const [first] = maps;
    const isWhole = first !== undefined && maps.length === this.#parts.volumes.length &&
      maps.every(({ key, position }) =>
        isSameKey(key, first.key) && position.lsn === first.position.lsn
      );
    if (isWhole) return maps;
    for (const map of maps) map.close();
    return null;
  }

  async #open(volume: VolumeConfig, ground: MapGround): Promise<HashMap | null> {
    const place = this.#place(volume);
    const path = `${place.folder}/${place.name}`;
    if (this.#load(temporaryMapPath(place), volume, ground, false)) await keepMap(place);
    return this.#load(path, volume, ground, true, true);
  }

  #load(
    path: string,
    volume: VolumeConfig,
    ground: MapGround,
    tells: boolean,
    keeps: true,
  ): HashMap | null;
  #load(path: string, volume: VolumeConfig, ground: MapGround, tells: boolean): boolean;
  #load(
    path: string,
    volume: VolumeConfig,
    ground: MapGround,
    tells: boolean,
    keeps = false,
  ): HashMap | boolean | null {
    const { disk, journal } = this.#parts;
    try {
      const map = HashMap.open(disk, path, this.#owner(volume));
      const isGood = map !== null && isCurrent(ground, map.position);
      if (isGood && keeps) return map;
      map?.close();
      return keeps ? null : isGood;
    } catch (error) {
      // One that was being made when the node was killed is no loss.
      if (!isCascadeError(error, "state-corrupt")) throw error;
      if (tells) journal.write("error", "a hash map is lost", { reason: describeError(error) });
      return keeps ? null : false;
    }
  }

  /** A key for maps that follow no others. */
  newKey(): DigestKey {
    return { seed: this.#parts.random.bytes(SEED_BYTES), blockBytes: SCAN_BLOCK_BYTES };
  }

  /** Begins new maps: one a volume. */
  async begin(key: DigestKey): Promise<readonly HashMapWriter[]> {
    await makeDurableFolder(this.#parts.disk, this.folder);
    return this.#parts.volumes.map((volume) =>
      new HashMapWriter(this.#place(volume), this.#owner(volume), key)
    );
  }

  /** Maps that were sealed take the place of those before. */
  async keep(): Promise<void> {
    for (const volume of this.#parts.volumes) await keepMap(this.#place(volume));
  }
}
