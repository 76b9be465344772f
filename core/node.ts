/**
 * One node of a cascade: the pipeline, its links, its exports, and the order in which they start
 * and stop. The same code runs on Deno and in the simulator, over other ports.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { TICK_INTERVAL_MS } from "./node_limits.ts";
import type { NodeConfig } from "./config.ts";
import { drainLinks } from "./drain.ts";
import { describeError } from "./errors.ts";
import { makeExports } from "./exports.ts";
import { NodeFront } from "./front.ts";
import type { Tide } from "./link/frames.ts";
import type { LinkHost } from "./link/host.ts";
import { LinkHub } from "./link/hub.ts";
import { Pauses } from "./link/pauses.ts";
import type { Refusal } from "./link/messages.ts";
import { TimeIndex } from "./link/time_index.ts";
import type { ExportBackend } from "./nbd/backend.ts";
import { NbdServer } from "./nbd/server.ts";
import { NodeCapture } from "./node_capture.ts";
import { NodeDeltas } from "./node_deltas.ts";
import { NodeMarks } from "./marks/node_marks.ts";
import { NodeSeeds } from "./node_seeds.ts";
import { NodeSync } from "./node_sync.ts";
import { NodeVerify } from "./node_verify.ts";
import { type OpenedNode, openNode } from "./open_node.ts";
import { Pipeline } from "./pipeline.ts";
import type { Ports, Timer } from "./ports.ts";
import { PrimaryClock } from "./primary_clock.ts";
import { TailRecoverer } from "./recover_tail.ts";
import { advance, beginEpoch } from "./reign.ts";
import { reportNode, tellRecovery } from "./report.ts";
import { RoomQueue } from "./room_queue.ts";
import { tellLogRoom, VolumeRoomTeller } from "./room_teller.ts";
import type { NodeState } from "./state.ts";
import type { NodeStatus } from "./status.ts";

/** What a node is doing, for its status. */
export type NodePhase = NodeStatus["state"];

export class CascadeNode implements LinkHost {
  readonly config: NodeConfig;
  readonly ports: Ports;
  readonly instance: string;
  readonly pipeline: Pipeline;
  readonly times = new TimeIndex();
  readonly tide: PrimaryClock;
  readonly pauses: Pauses;
  readonly deltas: NodeDeltas;
  readonly scans: NodeCapture | null;
  readonly hub: LinkHub;
  readonly front: NodeFront;
  /** The exports: writable on the primary, the applied image elsewhere. */
  readonly exports: readonly ExportBackend[];
  readonly nbd: NbdServer;
  /** Ships what is pending, once, on request. */
  readonly sync: NodeSync;
  /** Compares the ends of links. */
  readonly verify: NodeVerify;
  /** Makes seed files. */
  readonly seeds: NodeSeeds;
  /** Marks, and what holds applying back on purpose. */
  readonly marks: NodeMarks;
  readonly startedAtMs: number;
  /** Settles when the node has stopped; rejects with the fatal error when it had to. */
  readonly done: Promise<void>;
  /** Settles when the node serves its clients. */
  readonly ready: Promise<void>;
  recovery: TailRecoverer | null = null;
  phase: NodePhase = "starting";
  reason: string | null = null;
  /** Why the log cannot grow, or null. Older segments may still be used again. */
  logFull: string | null = null;
  readonly #opened: OpenedNode;
  /** It has no exports, and ships what is asked for alone: the node for as long as one sync takes. */
  readonly onRequest: boolean;
  readonly #roomQueue: RoomQueue;
  readonly #roomTeller: VolumeRoomTeller;
  #state: NodeState;
  #ticker: Timer | null = null;
  readonly #end = Promise.withResolvers<void>();

  /**
   * Opens the node and starts it; `onRequest`: without exports, and its links ship what a sync asks for alone.
   * Settles when its links run; see {@linkcode CascadeNode.ready}. Throws what is in the way: `locked`, ...
   */
  static async start(
    config: NodeConfig,
    ports: Ports,
    onRequest = false,
  ): Promise<CascadeNode> {
    const holder: { node: CascadeNode | null; failure: { error: unknown } | null } = {
      node: null,
      failure: null,
    };
    const opened = await openNode(config, ports, {
      onDurable: () => holder.node?.pipeline.onDurable(),
      onRoom: () => ports.clock.soon(() => holder.node?.onProgress()),
      onDiskFull: (error) => holder.node?.onDiskFull(error),
      onFatal: (error) => {
        holder.failure ??= { error };
        holder.node?.onFatal(error);
      },
    });
    const node = new CascadeNode(config, ports, opened, onRequest);
    holder.node = node;
    try {
      // The log may have failed while the rest was being opened.
      if (holder.failure !== null) throw holder.failure.error;
      await node.#start();
    } catch (error) {
      node.#shut(error);
      throw error;
    }
    return node;
  }

  private constructor(config: NodeConfig, ports: Ports, opened: OpenedNode, onRequest: boolean) {
    this.onRequest = onRequest;
    this.config = config;
    this.ports = ports;
    this.#opened = opened;
    this.#state = opened.state;
    this.startedAtMs = ports.clock.nowMs();
    this.instance = Buffer.from(ports.random.bytes(16)).toString("hex");
    this.done = this.#end.promise;
    this.done.catch(() => {/* whoever awaits it is told; nobody has to */});
    const reigns = config.role === "primary";
    this.pipeline = new Pipeline({
      log: opened.log,
      shelf: opened.shelf,
      history: opened.history,
      marks: opened.report.marks,
      volumes: opened.volumes,
      reigns,
      checkpointLsn: opened.state.checkpointLsn,
      budgetBytes: config.log.budgetBytes,
      segmentBytes: config.log.segmentBytes,
      clock: ports.clock,
      events: {
        onProgress: () => this.onProgress(),
        saveCheckpoint: (lsn) => this.#saveState({ checkpointLsn: lsn }),
        neededLsn: () => this.hub.folding.neededLsn(),
        onCutBack: () => this.onCutBack(),
        letGo: (lsn) => this.hub.folding.letGo(lsn),
        heldLsn: () => this.hub.heldLsn(),
        stallLsn: () => this.hub.neededBy("stall"),
        failLsn: () => this.hub.neededBy("fail"),
        onFatal: (error) => this.onFatal(error),
      },
    });
    this.#roomQueue = new RoomQueue(this.pipeline);
    this.#roomTeller = new VolumeRoomTeller(ports.journal, ports.clock);
    this.tide = new PrimaryClock(ports.clock, reigns ? this.pipeline : null);
    this.pauses = new Pauses(opened.state.paused, (list) => this.#saveState({ paused: [...list] }));
    const parts = {
      config,
      ports,
      pipeline: this.pipeline,
      times: this.times,
      tide: this.tide,
      hub: () => this.hub,
      state: () => this.#state,
      save: (change: Partial<NodeState>) => this.#saveState(change),
      onFatal: (error: unknown) => this.onFatal(error),
    };
    this.scans = NodeCapture.of({ ...parts, trim: (bytes) => this.deltas.trim(bytes) });
    this.deltas = new NodeDeltas(parts, this.scans);
    this.verify = new NodeVerify(parts);
    this.seeds = new NodeSeeds(parts, this.deltas);
    this.marks = NodeMarks.of(this, parts, opened.report.lastTimeMs);
    this.hub = new LinkHub(this);
    this.sync = new NodeSync(parts, this.verify, this.scans);
    const sync = {
      receivedLsn: () => this.hub.groupReceivedLsn(),
      durableLsn: () => this.hub.groupDurableLsn(),
      failed: () => this.hub.failed(),
      failures: () => this.hub.failures(),
      onAppended: (firstLsn: number, timeMs: number) => this.#onClientAppended(firstLsn, timeMs),
      onFlushWanted: () => this.hub.onAppended(),
    };
    this.front = new NodeFront(this.pipeline, sync, ports.clock, opened.report.lastTimeMs);
    this.exports = makeExports(this, opened.volumes);
    const { network, clock, journal } = ports;
    this.nbd = new NbdServer({ network, clock, journal, exports: this.exports });
    this.ready = new Promise((go, fail) => {
      this.#setReady = go;
      this.done.catch(fail);
    });
    this.ready.catch(() => {/* as above */});
  }

  #setReady: () => void = () => {};

  async #start(): Promise<void> {
    tellRecovery(this.ports.journal, this.#opened.report, this.pipeline.appendedLsn);
    await this.hub.load();
    await this.deltas.finish();
    await this.marks.start();
    await this.pipeline.applyAll();
    const [reigns, clean] = [this.pipeline.reigns, this.#state.clean];
    await this.#saveState({ clean: false });
    const first = this.pipeline.history.last === null;
    if (reigns && !clean && !first) this.#beginRecovery();
    else if (reigns && (first || !clean)) await beginEpoch(this);
    await this.hub.start();
    this.#tick();
    this.#serve().catch((error) => this.onFatal(error));
  }

  /** Waits for the lost tail if there may be one, then serves clients. */
  async #serve(): Promise<void> {
    if (this.recovery !== null) await this.#endRecovery(this.recovery);
    if (this.phase !== "starting") return;
    const addresses = this.onRequest ? [] : this.config.nbd;
    for (const address of addresses) await this.nbd.listen(address);
    if (this.phase !== "starting") return;
    this.phase = "running";
    this.reason = null;
    this.#setReady();
  }

  #beginRecovery(): void {
    this.recovery = TailRecoverer.begin(this.pipeline, this.hub.downstream, this.ports.clock);
    const { asked } = this.recovery;
    if (asked.length === 0) return;
    this.reason = `asking sync peers for what a crash may have lost (${asked.join(", ")})`;
  }

  async #endRecovery(recovery: TailRecoverer): Promise<void> {
    const unheard = await recovery.wait();
    // Stopped meanwhile: the next start asks again, since this one is never said to be clean.
    if (this.phase !== "starting") return;
    for (const link of unheard) {
      this.ports.journal.write("warn", "began a new epoch without word from a sync peer", { link });
    }
    await beginEpoch(this);
    // What came back is in no overlay: clients must not read the volumes before it is applied.
    await this.pipeline.applyAll();
    this.recovery = null;
    this.hub.restartGrace();
    recovery.finish();
  }

  #saveState(change: Partial<NodeState>): Promise<void> {
    this.#state = { ...this.#state, ...change, history: [...this.pipeline.history.epochs] };
    return this.#opened.stateFile.save(this.#state);
  }

  alone<T>(work: () => Promise<T>): Promise<T> {
    return this.hub.folding.alone(work);
  }

  get base(): Readonly<Record<string, string>> | null {
    return this.#state.base;
  }

  adoptBase(base: Readonly<Record<string, string>>): Promise<void> {
    return this.#saveState({ base: { ...base } });
  }

  /** Hot path: a client's batch was appended. */
  #onClientAppended(firstLsn: number, timeMs: number): void {
    this.times.note(firstLsn, timeMs);
    this.hub.onAppended();
  }

  onAppended(): void {
    this.hub.onAppended();
  }

  advance(lsn: number, wanted: () => boolean): Promise<void> {
    return advance(this, lsn, wanted);
  }

  groupReceivedLsn(): number {
    return this.hub.groupReceivedLsn();
  }

  groupDurableLsn(): number {
    return this.hub.groupDurableLsn();
  }

  onLinkProgress(): void {
    this.front.progress();
    this.hub.upstream?.progress();
  }

  /** Positions of the pipeline moved, or room was made. */
  onProgress(): void {
    this.front.progress();
    this.hub.onProgress();
    this.#roomQueue.wake();
  }

  onTide(tide: Tide): void {
    this.tide.heard(tide.primaryTimeMs, tide.primaryEndLsn);
    if (this.pipeline.durableLsn >= tide.primaryEndLsn) this.tide.caughtUp();
  }

  room(bytes: number, wanted: () => boolean): Promise<void> {
    return this.#roomQueue.wait(bytes, wanted);
  }

  onCutBack(): void {
    this.hub.closeDownstream("the provisional tail was cut off");
  }

  onRefusedForGood(refusal: Refusal): void {
    if (refusal.code !== "abandoned-tail" || this.phase !== "running") return;
    this.phase = "abandoned-tail";
    this.reason = refusal.message;
    this.ports.journal.write("error", "this node holds an abandoned tail", {
      reason: refusal.message,
    });
  }

  /** The log cannot grow; null: it can again. */
  onDiskFull(error: unknown): void {
    this.logFull = error === null ? null : describeError(error);
    tellLogRoom(this.ports.journal, this.logFull);
  }

  #tick(): void {
    if (this.phase === "stopped" || this.phase === "failed") return;
    this.#ticker = this.ports.clock.after(TICK_INTERVAL_MS, () => this.#tick());
    this.hub.tick();
    this.verify.tick();
    this.scans?.tick();
    this.pipeline.tick();
    this.marks.tick();
    this.#roomTeller.look(this.pipeline.blocked);
    this.#roomQueue.wake();
    if (!this.front.accepting) this.pipeline.makeRoom(0);
    this.front.progress();
  }

  /** Statuses of the links at and below this node. */
  subtree(): NodeStatus["links"] {
    return this.hub.downstream.flatMap((link) => [
      { ...link.status(), verify: this.verify.status(link) },
      ...link.subtree,
    ]);
  }

  status(): NodeStatus {
    return reportNode(this, this.#opened.log);
  }

  /** Stops for good: nothing is flushed any more, clients and peers are cut off. */
  onFatal(error: unknown): void {
    if (this.phase === "failed" || this.phase === "stopped") return;
    this.#shut(error);
    this.ports.journal.write("error", "the node stops", { reason: describeError(error) });
    this.#end.reject(error);
  }

  #shut(error: unknown): void {
    this.phase = "failed";
    this.reason = describeError(error);
    this.#ticker?.cancel();
    this.front.stop("failed");
    this.hub.stop();
    this.scans?.stop();
    this.marks.stop().catch(() => {/* it ends with the node */});
    this.nbd.abort();
    this.pipeline.stop(null).catch(() => {/* it had failed already */})
      .finally(() => this.#opened.lock.close());
  }

  /** Drains clients and peers, makes everything durable and applied, and stops. */
  async stop(): Promise<void> {
    if (this.phase === "stopped" || this.phase === "failed" || this.phase === "draining") {
      return this.done;
    }
    this.phase = "draining";
    try {
      this.front.stop("stopping");
      await this.marks.stop();
      await this.nbd.stop();
      this.front.commit();
      this.pipeline.flushNow();
      await drainLinks(this.hub, this.pipeline, this.ports.clock);
      this.hub.stop();
      await this.scans?.stop();
      // Clean means: no peer holds records of this reign beyond the end of this log.
      const clean = this.recovery === null;
      await this.pipeline.stop(() => this.#saveState({ clean }));
    } catch (error) {
      this.onFatal(error);
      throw error;
    }
    this.#ticker?.cancel();
    this.phase = "stopped";
    this.#opened.lock.close();
    this.#end.resolve();
  }
}
