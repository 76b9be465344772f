/**
 * One node of a cascade: the pipeline, its links, its exports, and the order in which they start
 * and stop. The same code runs on Deno and in the simulator, over other ports.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { TICK_INTERVAL_MS } from "./node_limits.ts";
import type { NodeConfig } from "./config.ts";
import { answersTold, drainLinks } from "./drain.ts";
import { describeError } from "./errors.ts";
import { makeExports } from "./exports.ts";
import type { NodeFront } from "./front.ts";
import type { Tide } from "./link/frames.ts";
import { Descendants } from "./link/descendants.ts";
import type { LinkHost } from "./link/host.ts";
import { LinkHub } from "./link/hub.ts";
import { ByHand } from "./link/by_hand.ts";
import type { Hello, Refusal } from "./link/messages.ts";
import { TimeIndex } from "./link/time_index.ts";
import type { ExportBackend } from "./nbd/backend.ts";
import { NbdServer } from "./nbd/server.ts";
import { NodeAnswers } from "./node_answers.ts";
import { NodeCapture } from "./node_capture.ts";
import { NodeDeltas } from "./node_deltas.ts";
import { NodeMarks } from "./marks/node_marks.ts";
import { NodeOrders } from "./node_orders.ts";
import { NodeSeeds } from "./node_seeds.ts";
import { NodeSync } from "./node_sync.ts";
import { NodeTree } from "./node_tree.ts";
import { NodeVerify } from "./node_verify.ts";
import type { NodeEnd, NodePhase, StartOptions } from "./node_types.ts";
import { type OpenedNode, openNode } from "./open_node.ts";
import { openFront, openPipeline } from "./node_parts.ts";
import type { Pipeline } from "./pipeline.ts";
import type { Ports, Timer } from "./ports.ts";
import { PrimaryClock } from "./primary_clock.ts";
import type { TailRecoverer } from "./recover_tail.ts";
import { advance, beginReign, settleReign, takeUp } from "./reign.ts";
import { reportNode, subtreeOf, tellRecovery } from "./report.ts";
import { RoomQueue } from "./room_queue.ts";
import { tellLogRoom, VolumeRoomTeller } from "./room_teller.ts";
import type { NodeState } from "./state.ts";
import type { NodeStatus } from "./status.ts";
import type { Ask, AskAnswer } from "./tree/asks.ts";
import type { View } from "./tree/view.ts";

export class CascadeNode implements LinkHost {
  /** With the role and the links that it has by now. */
  config: NodeConfig;
  readonly ports: Ports;
  readonly instance: string;
  readonly pipeline: Pipeline;
  readonly times = new TimeIndex();
  readonly tide: PrimaryClock;
  readonly byHand: ByHand;
  readonly descendants: Descendants;
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
  readonly done: Promise<NodeEnd>;
  readonly #ready = Promise.withResolvers<void>();
  /** Settles when the node serves its clients. */
  readonly ready = this.#ready.promise;
  recovery: TailRecoverer | null = null;
  phase: NodePhase = "starting";
  reason: string | null = null;
  /** Why the log cannot grow, or null. Older segments may still be used again. */
  logFull: string | null = null;
  readonly #opened: OpenedNode;
  /** It has no exports, and ships what is asked for alone: the node for as long as one sync takes. */
  readonly onRequest: boolean;
  /** The node's place in the tree. */
  readonly tree: NodeTree;
  /** Carries out what is ordered of the tree. */
  readonly orders: NodeOrders;
  readonly #answers: NodeAnswers;
  /** When it turns: for how long it holds its clients then, since it reigns only to hand on. */
  heldForMs = 0;
  readonly #roomQueue: RoomQueue;
  readonly #roomTeller: VolumeRoomTeller;
  #state: NodeState;
  /** This very start began an epoch. */
  #hasBegun = false;
  #ticker: Timer | null = null;
  readonly #end = Promise.withResolvers<NodeEnd>();

  /**
   * Opens the node and starts it. Settles when its links run; see {@linkcode CascadeNode.ready}. Throws what is in the
   * way: `locked`, `wrong-folder`, `wrong-volume`, `log-corrupt`, `state-corrupt`, `address-in-use`, ...
   */
  static async start(
    config: NodeConfig,
    ports: Ports,
    { onRequest = false, heldForMs = 0, exactLsn = null, away = [] }: StartOptions = {},
  ): Promise<CascadeNode> {
    type Holder = { node: CascadeNode | null; failure: { error: unknown } | null };
    const holder: Holder = { node: null, failure: null };
    const opened = await openNode(config, ports, {
      onDurable: () => holder.node?.pipeline.onDurable(),
      onRoom: () => ports.clock.soon(() => holder.node?.onProgress()),
      onDiskFull: (error) => holder.node?.onDiskFull(error),
      onFatal: (error) => {
        holder.failure ??= { error };
        holder.node?.onFatal(error);
      },
    });
    const node = new CascadeNode(opened.config, ports, opened, onRequest);
    holder.node = node;
    try {
      // The log may have failed while the rest was being opened.
      if (holder.failure !== null) throw holder.failure.error;
      if (heldForMs > 0) node.front.hold(heldForMs);
      node.hub.doWithout(away);
      await node.#start(exactLsn);
      // What failed may be nothing that the start waited for.
      if (node.phase === "failed") await node.done;
    } catch (error) {
      if (node.phase !== "failed") node.#shut(error);
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
    const reigns = config.role === "primary";
    this.pipeline = openPipeline(this, opened, (change) => this.#saveState(change));
    this.#roomQueue = new RoomQueue(this.pipeline);
    this.#roomTeller = new VolumeRoomTeller(ports.journal, ports.clock);
    this.tide = new PrimaryClock(ports.clock, reigns ? this.pipeline : null);
    this.byHand = new ByHand(opened.state, (change) => this.#saveState(change));
    const parts = {
      ...{ config, ports, pipeline: this.pipeline, times: this.times, tide: this.tide },
      hub: () => this.hub,
      descendants: () => this.descendants,
      state: () => this.#state,
      save: (change: Partial<NodeState>) => this.#saveState(change),
      onFatal: (error: unknown) => this.onFatal(error),
    };
    this.descendants = new Descendants(this, opened.state.taken);
    this.scans = NodeCapture.of({ ...parts, deltas: () => this.deltas });
    this.deltas = new NodeDeltas(parts, this.scans);
    this.verify = new NodeVerify(parts);
    this.seeds = new NodeSeeds(parts, this.deltas);
    this.marks = NodeMarks.of(this, parts, opened.report.lastTimeMs);
    this.hub = new LinkHub(this);
    this.tree = new NodeTree(this, parts);
    this.orders = new NodeOrders(this);
    this.#answers = new NodeAnswers(this);
    this.sync = new NodeSync(parts, this.verify, this.scans);
    this.front = openFront(this, opened);
    this.exports = makeExports(this, opened.volumes);
    const { network, clock, journal } = ports;
    const tls = config.nbdTls?.mode ?? "off";
    this.nbd = new NbdServer({ network, clock, journal, exports: this.exports, tls });
    this.done.catch(this.#ready.reject);
    this.ready.catch(() => {/* whoever awaits it is told; nobody has to */});
  }

  async #start(exactLsn: number | null): Promise<void> {
    tellRecovery(this.ports.journal, this.#opened.report, this.pipeline.appendedLsn);
    await this.hub.load();
    await this.deltas.finish();
    await this.marks.start();
    await takeUp(this.pipeline, exactLsn);
    const { clean } = this.#state;
    await this.#saveState({ clean: false });
    ({ recovery: this.recovery, isNew: this.#hasBegun } = await beginReign(this, clean));
    if (this.phase !== "starting") return;
    await this.hub.start();
    this.#tick();
    this.#serve().catch((error) => this.onFatal(error));
  }

  /** Waits for the lost tail if there may be one, and for word of others, then serves clients. */
  async #serve(): Promise<void> {
    await settleReign(this, this.recovery, this.#hasBegun, this.#state.fed);
    if (this.phase !== "starting") return;
    this.recovery = null;
    const addresses = this.onRequest ? [] : this.config.nbd;
    for (const address of addresses) await this.nbd.listen(address);
    if (this.phase !== "starting") return;
    this.phase = "running";
    this.reason = null;
    this.#ready.resolve();
  }

  #saveState(change: Partial<NodeState>): Promise<void> {
    const { descendants, pipeline: { history: { epochs } } } = this;
    this.#state = { ...this.#state, ...change, history: [...epochs], taken: descendants.list() };
    return this.#opened.stateFile.save(this.#state);
  }

  alone<T>(work: () => Promise<T>): Promise<T> {
    return this.hub.folding.alone(work);
  }

  meet({ node, view, epochs }: Pick<Hello, "node" | "view" | "epochs">): Promise<Refusal | null> {
    return this.tree.seat.meet(node, view, epochs);
  }

  get view(): View | null {
    return this.tree.seat.told;
  }

  answer(question: Ask): Promise<AskAnswer> {
    return this.#answers.answer(question);
  }

  get isLeaving(): boolean {
    return this.tree.isLeaving;
  }

  get base(): Readonly<Record<string, string>> | null {
    return this.#state.base;
  }

  async markFed(): Promise<void> {
    if (!this.#state.fed) await this.#saveState({ fed: true });
  }

  adoptBase(base: Readonly<Record<string, string>>): Promise<void> {
    return this.#saveState({ base: { ...base } });
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
    this.tree.refused(refusal);
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
    this.tree.tick();
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
    return subtreeOf(this);
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
    this.#cut("failed").catch(() => {/* it had failed already */});
  }

  /** Ends at once, to be started again in another role: the log and the state file say all that is. */
  async turn(why: string): Promise<void> {
    if (this.phase === "failed" || this.phase === "stopped" || this.phase === "draining") return;
    this.phase = "draining";
    this.ports.journal.write("info", "the node turns", { why });
    try {
      // Whoever asked for it is told before the line is cut.
      await answersTold(this.hub, this.ports.clock);
      await this.#cut("failed");
    } catch (error) {
      return this.onFatal(error);
    }
    this.phase = "stopped";
    this.#end.resolve("turned");
  }

  /** Clients and peers are cut off, and what runs is waited for. */
  async #cut(refusal: "failed"): Promise<void> {
    this.#ticker?.cancel();
    this.front.stop(refusal);
    this.hub.stop();
    const scanned = this.scans?.stop();
    const marked = this.marks.stop();
    this.nbd.abort();
    try {
      await this.pipeline.stop(null);
      await scanned;
      await marked;
      await this.hub.folding.alone(() => Promise.resolve());
    } finally {
      await this.#opened.stateFile.close();
      this.#opened.lock.close();
    }
  }

  /** Drains clients and peers, makes everything durable and applied, and stops. */
  async stop(): Promise<void> {
    if (this.phase === "stopped" || this.phase === "failed" || this.phase === "draining") {
      await this.done;
      return;
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
    this.#end.resolve("stopped");
  }
}
