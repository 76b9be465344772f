/**
 * What a node with `capture: scan` has to do with its scans: what they are made from, and what becomes of
 * what they find.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { NodeConfig } from "./config.ts";
import type { BlockSet } from "./delta/block_set.ts";
import type { DeltaHeader, DeltaTrailer } from "./delta/delta_format.ts";
import { CascadeError, describeError } from "./errors.ts";
import type { Descendants } from "./link/descendants.ts";
import type { LinkHub } from "./link/hub.ts";
import { RUN_RETRY_MAX_MS } from "./link/link_limits.ts";
import type { TimeIndex } from "./link/time_index.ts";
import { RECORD_ALIGN_BYTES } from "./log/record.ts";
import type { Pipeline } from "./pipeline.ts";
import type { Ports } from "./ports.ts";
import { Capture, type ScanLease } from "./scan/capture.ts";
import { hashHere } from "./scan/hasher.ts";
import { MapFiles } from "./scan/map_files.ts";
import type { BodyTotals } from "./scan/scan_delta.ts";
import type { ScanGround } from "./scan/scan_ground.ts";
import { ScanImage } from "./scan/scan_image.ts";
import { UnsureBlocks } from "./scan/unsure.ts";
import type { NodeDeltas } from "./node_deltas.ts";
import type { NodeState } from "./state.ts";

/** The node, as its scans see it. */
export interface CapturingNode {
  readonly config: NodeConfig;
  readonly ports: Ports;
  readonly pipeline: Pipeline;
  readonly times: TimeIndex;
  readonly hub: () => LinkHub;
  readonly state: () => NodeState;
  readonly save: (change: Partial<NodeState>) => Promise<void>;
  readonly descendants: () => Descendants;
  readonly deltas: () => NodeDeltas;
}

/** See the module's text. */
export class NodeCapture {
  readonly capture: Capture;
  /** What was scanned last, while it is open: by number of the volume. */
  readonly images: readonly ScanImage[];
  readonly #node: CapturingNode;
  readonly #unsure: UnsureBlocks;
  #stopped = false;
  /** When the first scan may be tried. */
  #firstAtMs = 0;

  /** Null where clients write, and nothing is scanned. */
  static of(node: CapturingNode): NodeCapture | null {
    return node.config.capture === "scan" ? new NodeCapture(node) : null;
  }

  private constructor(node: CapturingNode) {
    this.#node = node;
    const { config, ports } = node;
    const sizes = config.volumes.map(({ sizeBytes }) => sizeBytes);
    this.#unsure = new UnsureBlocks(ports.disk, ports.clock, `${config.dir}/scan`, sizes);
    this.images = sizes.map((size, number) => new ScanImage(number, size, this.#unsure));
    this.capture = new Capture({
      ground: this.#ground(sizes),
      ...{ disk: ports.disk, clock: ports.clock, hooks: ports.hooks, journal: ports.journal },
      ...{ beforeScan: config.beforeScan, afterScan: config.afterScan },
      hookTimeoutMs: config.hookTimeoutMs,
      volumes: config.volumes.map(({ name, path, sizeBytes }) => {
        if (path === null) throw new CascadeError("topology", `${name} has no place to be scanned`);
        return { name, path, sizeBytes };
      }),
      images: this.images,
      memory: () => node.state().scan ?? NOTHING,
      remember: (change) => node.save({ scan: { ...node.state().scan ?? NOTHING, ...change } }),
      onOpen: () => node.hub().onScanned(),
    });
  }

  /** Makes what was found to be unsure durable: only then may it be sent. */
  settled(): Promise<void> {
    return this.#unsure.save();
  }

  /** Nothing was ever scanned: what the volumes are is not known. */
  get isNeeded(): boolean {
    return !this.capture.hasScanned && this.#isBlank;
  }

  /** A scan for a link that is due. */
  share(): Promise<ScanLease> {
    return this.capture.take(false);
  }

  /** A node that serves begins with a scan, once a link is due: before that no peer is let in. */
  tick(): void {
    const { hub, ports: { clock, journal } } = this.#node;
    if (!this.isNeeded || this.#stopped || clock.monotonicMs() < this.#firstAtMs) return;
    if (!hub().downstream.some(({ runs }) => runs?.isDue)) return;
    this.#firstAtMs = Infinity;
    this.share().then((lease) => lease.release()).catch((error) => {
      journal.write("error", "the first scan failed", { reason: describeError(error) });
      this.#firstAtMs = clock.monotonicMs() + RUN_RETRY_MAX_MS;
    });
  }

  /** Settles when nothing is open any more, or that failed. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.capture.stop().catch(() => {/* told, and the next run closes it */});
  }

  /** The log begins where all began, and nothing was ever found. */
  get #isBlank(): boolean {
    const { log } = this.#node.pipeline;
    return log.startLsn === 0 && log.gaps.length === 0;
  }

  #ground(sizes: readonly number[]): ScanGround {
    const { config, ports, pipeline } = this.#node;
    const { cluster, name: node, dir, volumes } = config;
    const { disk, journal, random, clock } = ports;
    const isBlank = () => this.#isBlank;
    return {
      ...{ disk, clock, journal, cluster, sizes, unsure: this.#unsure, shelf: pipeline.shelf },
      openHasher: ports.openHasher ?? hashHere(ports),
      volumeNames: volumes.map(({ name }) => name),
      newId: () => Buffer.from(random.bytes(16)).toString("hex"),
      maps: new MapFiles({ disk, journal, random, dir, cluster, node, volumes }),
      mapGround: pipeline,
      get isBlank() {
        return isBlank();
      },
      get endLsn() {
        return pipeline.appendedLsn;
      },
      stopped: () => this.#stopped,
      stopping: () => new CascadeError("stopping", "the scan was stopped", { retryable: true }),
      roomFor: (bytes) => this.#roomFor(bytes),
      nextLsn: (bytes) => this.#nextLsn(bytes),
      trailer: (header, toLsn, totals) => this.#trailer(header, toLsn, totals),
      takeDelta: async (delta) => {
        this.#note(delta.trailer.timeMs);
        await pipeline.takeDelta(delta);
      },
      goOn: (changed, toLsn) => this.#goOn(changed, toLsn),
    };
  }

  async #roomFor(bytes: number): Promise<boolean> {
    const { pipeline, config, deltas } = this.#node;
    const isShort = () => pipeline.shelf.bytes + bytes > config.log.deltaBudgetBytes;
    if (!isShort()) return true;
    await pipeline.checkpoint();
    await deltas().trim(bytes);
    return !isShort();
  }

  /** Beyond all that a map knows of already: one that was interrupted may have got ahead of the log. */
  #nextLsn(bytes: number): number {
    const endLsn = this.#node.pipeline.appendedLsn;
    const ahead = Math.ceil(Math.max(bytes, 1) / RECORD_ALIGN_BYTES) * RECORD_ALIGN_BYTES;
    return Math.max(endLsn + ahead, this.#node.deltas().chain.endLsn + RECORD_ALIGN_BYTES);
  }

  #trailer(header: DeltaHeader, toLsn: number, totals: BodyTotals): DeltaTrailer {
    const { pipeline, ports } = this.#node;
    return {
      id: header.id,
      toLsn,
      ...totals,
      logBytes: toLsn - header.fromLsn,
      history: pipeline.history.epochs.filter(({ firstLsn }) => firstLsn < toLsn),
      timeMs: Math.floor(ports.clock.nowMs()),
    };
  }

  /** What peers lack from now on counts as so old. */
  #note(timeMs: number): void {
    this.#node.times.note(this.#node.pipeline.appendedLsn, timeMs);
  }

  async #goOn(changed: BlockSet, toLsn: number): Promise<void> {
    const { hub, pipeline, ports, save, descendants } = this.#node;
    const { chain } = this.#node.deltas();
    await hub().folding.alone(async () => {
      await chain.begin(pipeline.appendedLsn, descendants().knownLsns);
      chain.addAll(changed);
      await chain.save(toLsn);
    });
    this.#note(Math.floor(ports.clock.nowMs()));
    await pipeline.moveTo(toLsn, []);
    await save({ checkpointLsn: pipeline.checkpointedLsn });
  }
}

const NOTHING = { isOpen: false, last: null };
