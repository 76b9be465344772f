/**
 * What the log holds and the volumes do not yet: how much of it there may be before clients slow down, and what a
 * primary does about it when its reign begins. Clients are then shown it through the overlays at once, and it is
 * applied behind them: a promotion waits for the log to be read, not for the volumes to be written.
 *
 * @module
 */
import { recordBytesIn } from "./log/gaps.ts";
import type { Log } from "./log/log.ts";
import { OVERLAY_EXTENTS_MAX, UNAPPLIED_BYTES_MAX } from "./node_limits.ts";
import type { Clock } from "./ports.ts";
import { overlayLog } from "./volume/log_overlay.ts";
import type { Volume } from "./volume/volume.ts";

/** Extents of a volume: some 64 MiB of memory. A reign that finds more waits until it is applied. */
const INHERITED_EXTENTS_MAX = 2 * 1024 * 1024;

/** The pipeline whose backlog it is. */
export interface BacklogHost {
  readonly log: Log;
  readonly volumes: readonly Volume[];
  readonly stableLsn: number;
  readonly appliedLsn: number;
  /** Settles when all that is stable below an LSN is applied. */
  applyAll(lsn?: number): Promise<void>;
}

/** See the module's text. */
export class Backlog {
  readonly #host: BacklogHost;
  readonly #clock: Clock;
  readonly #bytesMax: number;
  /** What lies below was there when the reign began, and its extents of the fullest volume. */
  #inheritedLsn = 0;
  #inheritedExtents = 0;

  constructor(host: BacklogHost, clock: Clock, budgetBytes: number) {
    this.#host = host;
    this.#clock = clock;
    this.#bytesMax = Math.min(UNAPPLIED_BYTES_MAX, budgetBytes / 2);
  }

  /** So many bytes wait that whoever gives more slows down. What was inherited does not count. */
  get isLong(): boolean {
    const { log, appliedLsn } = this.#host;
    const fromLsn = Math.max(appliedLsn, this.#inheritedLsn);
    return recordBytesIn(log.gaps, fromLsn, log.endLsn) > this.#bytesMax;
  }

  /** An overlay has so many extents that whoever gives more slows down. */
  get isCrowded(): boolean {
    const { volumes, appliedLsn } = this.#host;
    const inherited = appliedLsn < this.#inheritedLsn ? this.#inheritedExtents : 0;
    for (const volume of volumes) {
      if (volume.overlayCount > OVERLAY_EXTENTS_MAX + inherited) return true;
    }
    return false;
  }

  /**
   * Lays what is stable, and was not taken up before, over the volumes. No client may be served meanwhile.
   * `wanted`: the pipeline was not stopped.
   */
  async inherit(wanted: () => boolean): Promise<void> {
    const { log, volumes, stableLsn } = this.#host;
    // What came as a delta is on the shelf: no overlay can point there.
    await this.#host.applyAll(Math.min(stableLsn, log.gaps.at(-1)?.toLsn ?? 0));
    const { end } = await overlayLog(
      {
        log,
        volumes,
        appliedLsn: () => this.#host.appliedLsn,
        clock: this.#clock,
        extentsMax: INHERITED_EXTENTS_MAX,
        wanted,
      },
      this.#inheritedLsn,
      stableLsn,
    );
    if (end !== "all") await this.#host.applyAll(stableLsn);
    for (const volume of volumes) volume.prune(this.#host.appliedLsn);
    this.#inheritedLsn = stableLsn;
    this.#inheritedExtents = Math.max(0, ...volumes.map((volume) => volume.overlayCount));
  }
}
