/**
 * Bits that flip in the log of a node that is down. The node must find each at its next start and
 * say where it is; then the bit is set right, and the node must go on as if nothing had been.
 *
 * @module
 */
import { describeError, isCascadeError } from "../../core/errors.ts";
import { SEGMENT_HEADER_BYTES } from "../../core/limits.ts";
import { SegmentFolder } from "../../core/log/segment_file.ts";
import { survey } from "../../core/log/survey.ts";
import { SimDisk } from "./disk.ts";
import { Life } from "./life.ts";
import type { Prng } from "./prng.ts";
import type { SimHost } from "./sim_host.ts";
import { Violation, type World } from "./world.ts";

/** A flipped bit. */
interface Flip {
  readonly file: string;
  readonly offset: number;
  readonly mask: number;
  /** null: in a header page, which a log may be able to do without. */
  readonly lsn: number | null;
}

/** See the module's text. */
export class Rot {
  readonly #world: World;
  readonly #prng: Prng;
  readonly #flips = new Map<SimHost, Flip>();
  /** Flips that a node has found. */
  found = 0;

  constructor(world: World, prng: Prng) {
    this.#world = world;
    this.#prng = prng;
  }

  /** Kills the node and flips a bit of what it knows to be durable, or of a header page. */
  strike(host: SimHost): void {
    if (!host.isAlive || this.#flips.has(host)) return;
    host.crash("process");
    const flip = this.#draw(host);
    if (flip === null) return;
    this.#flips.set(host, flip);
    this.#flip(host, flip);
  }

  #draw(host: SimHost): Flip | null {
    const folder = `${host.planned.config.dir}/log`;
    if (!host.disk.names.has(folder)) return null;
    const disk = new SimDisk(host.disk, new Life(host.name, 0));
    const { streams, watermark } = survey(new SegmentFolder(disk, folder, true));
    const index = this.#prng.below(Math.max(1, streams.length));
    const segment = streams[index];
    if (segment === undefined) return null;
    const file = `${folder}/${segment.name}`;
    const mask = 1 << this.#prng.below(8);
    if (this.#prng.chance(0.2)) {
      return { file, offset: this.#prng.below(SEGMENT_HEADER_BYTES), mask, lsn: null };
    }
    const endLsn = Math.min(
      streams[index + 1]?.joinLsn ?? Infinity,
      watermark?.durableLsn ?? 0,
    );
    if (endLsn <= segment.baseLsn) return null;
    const lsn = this.#prng.between(segment.baseLsn, endLsn - 1);
    return { file, offset: SEGMENT_HEADER_BYTES + lsn - segment.baseLsn, mask, lsn };
  }

  #flip(host: SimHost, flip: Flip): void {
    // Recovery may have removed a file that the log could do without.
    if (host.disk.image(flip.file) === null) return;
    host.disk.flip(flip.file, flip.offset, flip.mask);
  }

  /**
   * The host loses power with a flipped bit: it is set right first. The watermark that tells of the
   * last flush may go, and then what it told of may be taken for a torn end: two faults at once
   * are more than a log can tell apart.
   */
  onPowerLoss(host: SimHost): void {
    const flip = this.#flips.get(host);
    if (flip === undefined) return;
    this.#flip(host, flip);
    this.#flips.delete(host);
  }

  /** Whether the node gave up for what was flipped; it is set right then. */
  explains(host: SimHost, error: unknown): boolean {
    const flip = this.#flips.get(host);
    if (flip === undefined || !isCascadeError(error, "log-corrupt")) return false;
    const { LSN: lsn } = error.where;
    const isRight = flip.lsn === null || (typeof lsn === "number" && lsn <= flip.lsn &&
      error.where["file"] === flip.file);
    if (!isRight) {
      const text = `${host.name}: a flipped bit at ${JSON.stringify(flip)} is told as ` +
        describeError(error);
      this.#world.fail("correctness", new Violation(text));
    }
    this.found++;
    this.#flip(host, flip);
    this.#flips.delete(host);
    return true;
  }

  /** The node runs: it cannot have seen what was flipped. */
  onStarted(host: SimHost): void {
    const flip = this.#flips.get(host);
    if (flip === undefined) return;
    this.#flips.delete(host);
    if (flip.lsn === null) return;
    const text = `${host.name} runs with a flipped bit at ${JSON.stringify(flip)}`;
    this.#world.fail("correctness", new Violation(text));
  }
}
