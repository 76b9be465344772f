/**
 * What a node has to do with deltas: what they are made from here, and what takes those that come.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { NodeConfig } from "./config.ts";
import type { BlockSet } from "./delta/block_set.ts";
import { DeltaTaker } from "./delta/delta_taker.ts";
import { MapChain } from "./delta/map_chain.ts";
import type { InPlace } from "./delta/in_place.ts";
import { CascadeError, describeError, isCascadeError } from "./errors.ts";
import type { PlanGround } from "./link/delta_plan.ts";
import type { Descendants } from "./link/descendants.ts";
import type { LinkHub } from "./link/hub.ts";
import type { RunLog } from "./link/runs.ts";
import { SeedMap } from "./link/seed_map.ts";
import type { TimeIndex } from "./link/time_index.ts";
import type { Pipeline } from "./pipeline.ts";
import type { Ports } from "./ports.ts";
import type { PrimaryClock } from "./primary_clock.ts";
import { forgetTouched, loadTouched } from "./rejoin.ts";
import type { ScanImage } from "./scan/scan_image.ts";
import type { NodeState } from "./state.ts";
import { BLANK } from "./volume/base.ts";

/** The node, as deltas see it. */
export interface NodeParts {
  readonly config: NodeConfig;
  readonly ports: Ports;
  readonly pipeline: Pipeline;
  readonly times: TimeIndex;
  readonly tide: PrimaryClock;
  readonly hub: () => LinkHub;
  readonly descendants: () => Descendants;
  readonly state: () => NodeState;
  readonly save: (change: Partial<NodeState>) => Promise<void>;
  readonly onFatal: (error: unknown) => void;
}

/** With `capture: scan`: what was scanned, in place of the volumes. */
export interface ScannedVolumes {
  readonly images: readonly ScanImage[];
  /** See core/delta/made_delta.ts. */
  settled(): Promise<void>;
}

const NO_SCAN = "the peer is given what it lacks with the next scan: run `cascade sync`";

/** See the module's text. */
export class NodeDeltas {
  readonly ground: PlanGround;
  readonly taker: DeltaTaker;
  readonly chain: MapChain;
  readonly seedMap: SeedMap;
  readonly runLog: RunLog;
  readonly #node: NodeParts;
  #settled: Promise<void> = Promise.resolve();
  #touchedSet: BlockSet | null = null;

  constructor(node: NodeParts, scanned: ScannedVolumes | null = null) {
    this.#node = node;
    const { config, ports, pipeline } = node;
    this.runLog = {
      lastMs: (link) => node.state().runs.find((run) => run.link === link)?.startedAtMs ?? null,
      save: (link, startedAtMs) => this.#saveRun(link, startedAtMs),
    };
    this.ground = {
      log: pipeline.log,
      shelf: pipeline.shelf,
      clock: ports.clock,
      volumes: scanned?.images ?? pipeline.volumes,
      scans: scanned !== null,
      imageLacks: () => scanned?.images.every(({ isOpen }) => isOpen) === false ? NO_SCAN : null,
      settled: () => scanned?.settled() ?? Promise.resolve(),
      sizes: config.volumes.map(({ sizeBytes }) => sizeBytes),
      volumeNames: config.volumes.map(({ name }) => name),
      history: pipeline.history,
      cluster: config.cluster,
      appliedLsn: () => pipeline.appliedLsn,
      stableLsn: () => pipeline.stableLsn,
      timeAtMs: (lsn) => this.#timeAtMs(lsn),
      newId: () => this.#series + Buffer.from(ports.random.bytes(8)).toString("hex"),
      seedMap: () => this.seedMap.map,
      isOwn: (id) => node.state().deltaSeries !== undefined && id.startsWith(this.#series),
    };
    this.chain = new MapChain(this.ground, ports.disk, `${config.dir}/maps`, ports.journal);
    this.seedMap = new SeedMap(this.ground, ports.disk, `${config.dir}/maps`, (lsn) => {
      const { downstream } = node.hub();
      return downstream.every((link) => (link.durableLsn ?? -1) >= lsn);
    });
    this.taker = new DeltaTaker({
      pipeline,
      cluster: config.cluster,
      volumes: config.volumes,
      hasVolumes: pipeline.volumes.length > 0,
      budgetBytes: config.log.deltaBudgetBytes,
      allowInconsistent: config.allowInconsistent,
      isFresh: () => this.isFresh,
      inPlace: () => this.inPlace,
      saveInPlace: (inPlace, base) => this.#saveInPlace(inPlace, base),
      beforeInconsistent: () => this.#beforeInconsistent(),
      onBeginInPlace: () => node.hub().closeDownstream("this node is being filled"),
      trim: (bytes) => this.trim(bytes),
      beginTouched: () => this.#beginTouched(),
      touched: (records) => this.#touched(records),
      saveTouched: (toLsn) => this.#saveTouched(toLsn),
      isRejoining: () => this.isRejoining,
      onTaken: () => this.#onTaken(),
    });
  }

  get #series(): string {
    const { state, ports } = this.#node;
    return state().deltaSeries ?? Buffer.from(ports.random.bytes(8)).toString("hex");
  }

  /** The delta that is being taken in place, or null. */
  get inPlace(): InPlace | null {
    return this.#node.state().inPlace;
  }

  /** The volumes hold a part of a delta that is taken in place. */
  get isInPlace(): boolean {
    return this.inPlace !== null;
  }

  /** Nothing was ever replicated to this node, and its volumes are blank but for a first copy begun. */
  get isFresh(): boolean {
    const { pipeline, config, state } = this.#node;
    const { base } = state();
    const isBlank = base !== null && Object.values(base).every((print) => print === BLANK);
    return config.role !== "primary" && isBlank && pipeline.volumes.length > 0 &&
      pipeline.appendedLsn === 0 && (this.inPlace?.header.full ?? true);
  }

  /** The volumes are the image of an abandoned epoch. */
  get isRejoining(): boolean {
    return this.#node.state().rejoin !== null;
  }

  /** What that epoch touched since the fork. */
  touched(): BlockSet {
    const { config, ports } = this.#node;
    this.#touchedSet ??= loadTouched(ports.disk, config.dir, this.ground.sizes);
    return this.#touchedSet;
  }

  /** What leads from an abandoned epoch to the present one was taken. */
  async #onTaken(): Promise<void> {
    const { state, save, pipeline, ports, config } = this.#node;
    const { rejoin } = state();
    if (rejoin === null || pipeline.appendedLsn <= rejoin.forkLsn) return;
    await save({ rejoin: null });
    this.#touchedSet = null;
    await forgetTouched(ports.disk, config.dir);
    ports.journal.write("info", "left the abandoned epoch", {
      epoch: rejoin.epoch,
      ...(rejoin.kept === null ? {} : { kept: rejoin.kept }),
    });
  }

  #saveRun(link: string, startedAtMs: number): void {
    const { state, save, onFatal } = this.#node;
    const others = state().runs.filter((run) => run.link !== link);
    save({ runs: [...others, { link, startedAtMs }] }).catch(onFatal);
  }

  #timeAtMs(lsn: number): number {
    const { times, tide } = this.#node;
    const nowMs = tide.timeMs();
    return Math.max(0, Math.floor(nowMs - 1000 * (times.ageSeconds(lsn, nowMs) ?? 0)));
  }

  /**
   * After a start: what was kept is read, and the log goes on behind what was committed. There may be no room for that before nodes
   * below have taken older log: it is not waited for, but by the link from above.
   */
  async finish(): Promise<void> {
    const { pipeline, onFatal, ports } = this.#node;
    await this.seedMap.load(ports.journal);
    await this.taker.finishInPlace();
    this.#settled = this.#takeCommitted();
    if (pipeline.reigns) return await this.#settled;
    this.#settled.catch((error) => {
      const isStopping = isCascadeError(error, "log-full") || isCascadeError(error, "stopping");
      if (!isStopping) onFatal(error);
    });
  }

  /** Settles when nothing of an earlier life is left to be taken. */
  get settled(): Promise<void> {
    return this.#settled;
  }

  async #takeCommitted(): Promise<void> {
    const { pipeline } = this.#node;
    for (const delta of [...pipeline.shelf.deltas]) {
      const { stableLsn } = pipeline;
      if (delta.fromLsn <= stableLsn && delta.toLsn > stableLsn) await pipeline.takeDelta(delta);
    }
    await this.#onTaken();
  }

  async #saveInPlace(
    inPlace: InPlace | null,
    base: Readonly<Record<string, string>> | null,
  ): Promise<void> {
    const { pipeline, save } = this.#node;
    await save({
      inPlace,
      checkpointLsn: pipeline.checkpointedLsn,
      ...(base === null ? {} : { base: { ...base } }),
    });
  }

  async #beforeInconsistent(): Promise<void> {
    const { config, ports } = this.#node;
    const command = config.beforeInconsistent;
    try {
      if (command !== null) {
        await ports.hooks.run("beforeInconsistent", command, config.hookTimeoutMs);
      }
    } catch (error) {
      // The node above is told: its operator is the one who waits for the delta.
      throw new CascadeError("refused", `nothing was taken in place: ${describeError(error)}`, {
        cause: error,
      });
    }
    ports.journal.write(
      "warn",
      "taking a delta in place: the volumes are inconsistent until it ends",
    );
  }

  async #beginTouched(): Promise<void> {
    if (this.isFresh) return;
    const { hub, pipeline, descendants } = this.#node;
    await hub().folding.alone(async () => {
      await this.chain.begin(pipeline.appendedLsn, descendants().knownLsns);
      // It is not told of what comes in place.
      await this.seedMap.clear();
    });
  }

  /** Gives room back for `bytes` more: what peers lack of deltas that go is kept in their maps. */
  async trim(bytes: number): Promise<void> {
    const { pipeline, config, hub } = this.#node;
    const { shelf } = pipeline;
    const isShort = () => shelf.bytes + bytes > config.log.deltaBudgetBytes;
    pipeline.trimDeltas();
    while (isShort() && shelf.deltas.length > 0) {
      const [oldest] = shelf.deltas;
      if (oldest === undefined || oldest.toLsn > pipeline.checkpointedLsn) return;
      if (oldest.isInUse) return;
      await hub().folding.foldTo(oldest.toLsn);
      const { length } = shelf.deltas;
      pipeline.trimDeltas();
      if (shelf.deltas.length === length) return;
    }
  }

  #touched(records: Uint8Array): void {
    if (!this.isFresh) this.chain.add(records);
  }

  async #saveTouched(toLsn: number | null): Promise<void> {
    if (!this.isFresh) await this.chain.save(toLsn);
  }
}
