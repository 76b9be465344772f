/**
 * One scan, to its commit. What the volumes are is compared with what they were at LSN a, the end of the
 * log; what differs becomes a delta, and the log goes on behind it, at b:
 *
 *  1. The volumes are hashed, into new maps.
 *  2. What differs from the maps before is read once more and staged as a delta of this node's own. Its
 *     blocks are in the new maps as they were read then.
 *  3. The maps are sealed, as those of b.
 *  4. The delta is committed, the log goes on at b: from here on links ship it.
 *  5. The maps take the place of those before.
 *
 * A crash before 4 leaves all as it was: the next scan finds the same. One behind it leaves maps that are
 * those of the log's end. The volumes themselves are never written.
 *
 * Where there is no room for the delta, what it would have held is written down in the dirty map of each
 * link instead, and the links read it from what was scanned while that is open.
 *
 * @module
 */
import { BlockSet } from "../delta/block_set.ts";
import type { DeltaHeader } from "../delta/delta_format.ts";
import { describeError, isCascadeError } from "../errors.ts";
import type { DiskFile } from "../ports.ts";
import type { DigestKey } from "./block_digest.ts";
import { blankDigests } from "./digests.ts";
import type { HashMap } from "./hash_map.ts";
import type { HashMapWriter } from "./hash_map_writer.ts";
import { type ScanProgress, scanVolume } from "./scan.ts";
import { bodyBytesAbout, type BodyTotals, writeScanBody } from "./scan_delta.ts";
import type { ScanGround } from "./scan_ground.ts";

/** What is scanned, one of each a volume. */
export interface ScanPaths {
  readonly paths: readonly string[];
  readonly files: readonly DiskFile[];
}

/** What a scan found. */
export interface ScanFound {
  /** Where the log ends now. */
  readonly lsn: number;
  /** Bytes of the blocks that were not what they were. */
  readonly changedBytes: number;
}

/** See the module's text. One a scan. */
export class ScanRun {
  readonly #ground: ScanGround;
  readonly #at: ScanPaths;
  readonly #progress: ScanProgress;
  readonly #changed: BlockSet;
  #isScanned = false;

  constructor(ground: ScanGround, at: ScanPaths, progress: ScanProgress) {
    this.#ground = ground;
    this.#at = at;
    this.#progress = progress;
    this.#changed = new BlockSet(ground.sizes);
  }

  /** Finds what changed, and makes nothing of it. Returns its bytes. */
  async preview(): Promise<number> {
    return await this.#trusting(async (old) => {
      await this.#scan(old, null);
      return this.#changed.countBytes();
    });
  }

  /** All of it. Throws `stopping`, and what reading throws. */
  async commit(): Promise<ScanFound> {
    return await this.#trusting((old) => this.#commit(old));
  }

  /** Gives `work` the maps to compare with; none when one of them turns out to be damaged. */
  async #trusting<T>(
    work: (old: readonly HashMap[] | null) => Promise<T>,
  ): Promise<T> {
    const old = await this.#old();
    try {
      return await work(old);
    } catch (error) {
      if (!isCascadeError(error, "state-corrupt") || old === null || this.#isScanned) throw error;
      const reason = describeError(error);
      this.#ground.journal.write("error", "a hash map is damaged: all is sent", { reason });
    } finally {
      for (const map of old ?? []) map.close();
    }
    this.#changed.clear();
    return await work(null);
  }

  async #commit(old: readonly HashMap[] | null): Promise<ScanFound> {
    const { maps, unsure, endLsn } = this.#ground;
    const writers = await maps.begin(old?.[0]?.key ?? maps.newKey());
    try {
      await this.#scan(old, writers);
      const changedBytes = this.#changed.countBytes();
      if (this.#changed.isEmpty && old !== null) return { lsn: endLsn, changedBytes };
      const lsn = await this.#take(writers);
      await maps.keep();
      await unsure.clear();
      return { lsn, changedBytes };
    } finally {
      for (const writer of writers) writer.discard();
    }
  }

  /** The maps to compare with; null: it is not known what the peers have. */
  async #old(): Promise<readonly HashMap[] | null> {
    const { maps, mapGround, unsure, journal } = this.#ground;
    try {
      unsure.load();
    } catch (error) {
      if (!isCascadeError(error, "state-corrupt")) throw error;
      journal.write("error", "what was written during a scan is not known any more: all is sent");
      return null;
    }
    return await maps.open(mapGround);
  }

  /** Step 1. */
  async #scan(
    old: readonly HashMap[] | null,
    writers: readonly HashMapWriter[] | null,
  ): Promise<void> {
    const { sizes, isBlank, unsure, maps } = this.#ground;
    await this.#hash(old, old?.[0]?.key ?? writers?.[0]?.key ?? maps.newKey(), writers);
    this.#isScanned = true;
    if (unsure.set !== null) this.#changed.addAll(unsure.set);
    if (old !== null || isBlank) return;
    // Nothing is known of what the peers have: holes are sent too.
    for (const [number, sizeBytes] of sizes.entries()) this.#changed.add(number, 0, sizeBytes);
  }

  async #hash(
    old: readonly HashMap[] | null,
    key: DigestKey,
    writers: readonly HashMapWriter[] | null,
  ): Promise<void> {
    const { disk, openHasher, sizes, stopped } = this.#ground;
    let before = 0;
    for (const [number, sizeBytes] of sizes.entries()) {
      const own = { doneBytes: 0, readBytes: 0 };
      const readBefore = this.#progress.readBytes;
      const [base, progress] = [before, this.#progress];
      const isWhole = await scanVolume({
        disk,
        openHasher,
        path: this.#at.paths[number]!,
        sizeBytes,
        old: old?.[number] ?? blankDigests(key),
        map: writers?.[number] ?? null,
        changed: this.#changed,
        volume: number,
        stopped: () => {
          progress.doneBytes = base + own.doneBytes;
          progress.readBytes = readBefore + own.readBytes;
          return stopped();
        },
        progress: own,
      });
      if (!isWhole) throw this.#ground.stopping();
      before += sizeBytes;
      progress.doneBytes = before;
      progress.readBytes = readBefore + own.readBytes;
    }
  }

  /** Steps 2 to 4. Returns b. */
  async #take(writers: readonly HashMapWriter[]): Promise<number> {
    const blockBytes = writers[0]?.key.blockBytes ?? this.#changed.blockBytes;
    const about = bodyBytesAbout(this.#changed, this.#at.files, blockBytes);
    const staged = await this.#ground.roomFor(about) ? await this.#stage(writers) : null;
    return staged ?? await this.#fold(writers);
  }

  /** Null: there was no room after all. */
  async #stage(writers: readonly HashMapWriter[]): Promise<number | null> {
    const { shelf, clock, stopped, endLsn } = this.#ground;
    const header = this.#header(endLsn);
    let totals: BodyTotals | null;
    try {
      const target = shelf.begin(header);
      const { files } = this.#at;
      totals = await writeScanBody({
        ...{ changed: this.#changed, files, maps: writers, target, clock, stopped },
      });
    } catch (error) {
      shelf.discardIncoming();
      if (isCascadeError(error, "disk-full")) return null;
      throw error;
    }
    if (totals === null) {
      shelf.discardIncoming();
      throw this.#ground.stopping();
    }
    const toLsn = this.#ground.nextLsn(totals.bodyBytes);
    await this.#seal(writers, toLsn);
    const delta = await shelf.commit(this.#ground.trailer(header, toLsn, totals));
    await this.#ground.takeDelta(delta);
    return toLsn;
  }

  async #fold(writers: readonly HashMapWriter[]): Promise<number> {
    const toLsn = this.#ground.nextLsn(this.#changed.countBytes());
    await this.#seal(writers, toLsn);
    await this.#ground.goOn(this.#changed, toLsn);
    return toLsn;
  }

  async #seal(writers: readonly HashMapWriter[], lsn: number): Promise<void> {
    const epochId = this.#ground.mapGround.history.idAt(lsn);
    for (const writer of writers) await writer.seal({ epochId, lsn });
  }

  #header(fromLsn: number): DeltaHeader {
    const { sizes, volumeNames, newId, cluster, mapGround } = this.#ground;
    return {
      id: newId(),
      cluster,
      epochId: mapGround.history.idAt(fromLsn),
      fromLsn,
      source: "scan",
      toLsn: null,
      sinceLsn: fromLsn,
      full: false,
      volumes: sizes.map((sizeBytes, number) => ({ name: volumeNames[number] ?? "", sizeBytes })),
    };
  }
}
