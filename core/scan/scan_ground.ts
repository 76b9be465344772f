/**
 * What a scan asks of its node: see `node_capture.ts`.
 *
 * @module
 */
import type { BlockSet } from "../delta/block_set.ts";
import type { DeltaHeader, DeltaTrailer } from "../delta/delta_format.ts";
import type { Delta, DeltaShelf } from "../delta/delta_shelf.ts";
import type { Clock, Disk, Journal } from "../ports.ts";
import type { OpenHasher } from "./hasher.ts";
import type { MapFiles, MapGround } from "./map_files.ts";
import type { BodyTotals } from "./scan_delta.ts";
import type { UnsureBlocks } from "./unsure.ts";

export interface ScanGround {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly journal: Journal;
  readonly openHasher: OpenHasher;
  readonly cluster: string;
  readonly volumeNames: readonly string[];
  readonly sizes: readonly number[];
  /** 32 hexadecimal digits, random. */
  readonly newId: () => string;
  readonly maps: MapFiles;
  readonly mapGround: MapGround;
  readonly unsure: UnsureBlocks;
  readonly shelf: DeltaShelf;
  /** Nothing was ever found: at the log's end the volumes are as at LSN 0, blank. */
  readonly isBlank: boolean;
  readonly endLsn: number;
  readonly stopped: () => boolean;
  /** What it throws when it is stopped. */
  readonly stopping: () => Error;
  /** Makes room for a delta of so many bytes; false: there is none. */
  readonly roomFor: (bytes: number) => Promise<boolean>;
  /** Where the log goes on behind a delta of so many bytes. */
  readonly nextLsn: (bytes: number) => number;
  readonly trailer: (header: DeltaHeader, toLsn: number, totals: BodyTotals) => DeltaTrailer;
  /** The log goes on behind a delta of the shelf. */
  readonly takeDelta: (delta: Delta) => Promise<void>;
  /** The log goes on at `toLsn`, and what changed is noted for each link. */
  readonly goOn: (changed: BlockSet, toLsn: number) => Promise<void>;
}
