/**
 * The oracle: knows the history of the primary and judges every node by it.
 *
 *  1. The volumes of every node equal the primary's history at the LSN that the node says it has
 *     applied, whenever they are looked at, and above all after each start.
 *  2. What was durable on a node is there after any crash; what was appended is there after its
 *     process was killed. What a client was told to be flushed is never lost. What a client was
 *     told to be written is at every sync peer that counts, and comes back from it.
 *  3. Once faults stop, every node reaches the primary's end: see convergence.ts.
 *
 * Positions never go back, but for an end that was provisional.
 *
 * @module
 */
import type { CascadeNode } from "../../core/node.ts";
import { nodeStatusSchema } from "../../core/status.ts";
import { describeError, isCascadeError } from "../../core/errors.ts";
import { INJECTED } from "./disk.ts";
import { DeltaJudge } from "./delta_judge.ts";
import { History, Replica } from "./history.ts";
import type { CrashKind } from "./life.ts";
import type { Plan } from "./plan.ts";
import type { SimHost } from "./sim_host.ts";
import { SyncChain } from "./sync_chain.ts";
import { Violation, type World } from "./world.ts";

/** What is known of one host across the lives of its processes. */
class Known {
  readonly replica: Replica;
  /** What must be in its log after a start. */
  endFloor = 0;
  /** Stable, and applied to its volumes, when it was last seen. */
  stableFloor = 0;
  appliedFloor = 0;
  /** The furthest that its log ever reached, in this reign: what acks may tell of. */
  appendedMax = 0;
  durableMax = 0;
  /** Durable when it was last seen. */
  durableLsn = 0;
  /** A sync peer of the primary: clients were told of what ends here, and it still must have it. */
  heldLsn = 0;
  startedMs = 0;
  isReady = false;

  constructor(history: History) {
    this.replica = new Replica(history);
  }
}

/** See the module's text. */
export class Oracle {
  readonly history: History;
  /** Clients were told that all that ends here is flushed; and written. */
  flushedLsn = 0;
  acknowledgedLsn = 0;
  /** Who must have what clients are told of. */
  readonly chain = new SyncChain();
  /** Checks made, for the report. */
  checks = 0;
  readonly #world: World;
  readonly #hosts = new Map<SimHost, Known>();
  readonly #epochs = new Set<string>();
  readonly #deltas: DeltaJudge;
  /** The volumes were not blank at LSN 0. */
  readonly #isAnImage: boolean;

  constructor(world: World, plan: Plan) {
    this.#world = world;
    this.history = new History(plan);
    this.#deltas = new DeltaJudge(this.history);
    this.#isAnImage = plan.images.size > 0;
  }

  #known(host: SimHost): Known {
    let known = this.#hosts.get(host);
    if (known === undefined) this.#hosts.set(host, known = new Known(this.history));
    return known;
  }

  onStarted(host: SimHost, node: CascadeNode): void {
    const known = this.#known(host);
    const { pipeline } = node;
    known.startedMs = this.#world.scheduler.nowMs;
    known.isReady = false;
    this.#expect(
      pipeline.appendedLsn >= known.endFloor,
      `${host.name} lost log: it ends at ${pipeline.appendedLsn} after a start, and had ` +
        `${known.endFloor}`,
    );
    this.#expect(
      pipeline.stableLsn >= known.stableFloor,
      `${host.name} was stable up to ${known.stableFloor}, and after a start up to ` +
        `${pipeline.stableLsn}`,
    );
    this.#expect(
      pipeline.appliedLsn >= known.appliedFloor,
      `${host.name} had applied up to ${known.appliedFloor}, and after a start up to ` +
        `${pipeline.appliedLsn}`,
    );
    this.check(host);
  }

  /** Before the host's process is gone. */
  onGone(host: SimHost, node: CascadeNode | null, how: CrashKind | "stop" | "failure"): void {
    if (how === "stop" && node !== null) this.#checkStopped(host, node);
    const known = this.#known(host);
    if (node !== null) {
      this.#note(known, node);
      if (this.#isPrimary(host) && !known.isReady) this.#judgeTail(host, node);
      const { appendedLsn } = node.pipeline;
      known.endFloor = this.#isPrimary(host) ? known.durableLsn : known.stableFloor;
      if (this.#isPrimary(host) && (how === "process" || how === "stop")) {
        known.endFloor = appendedLsn;
      }
    } else if (how === "power" || how === "failure") {
      known.endFloor = Math.min(known.endFloor, known.durableLsn);
    }
    if (how === "power" || how === "failure") {
      known.heldLsn = Math.min(known.heldLsn, known.durableLsn);
    }
  }

  /** Whoever stops a node in order finds an image in its volumes that existed. */
  #checkStopped(host: SimHost, { pipeline }: CascadeNode): void {
    // Or up to where it is held back on purpose.
    const endLsn = Math.min(pipeline.stableLsn, pipeline.heldAtLsn);
    const isApplied = !pipeline.isInDelta && pipeline.appliedLsn === endLsn;
    this.#expect(isApplied, `${host.name} stopped in order, and did not apply what is stable`);
  }

  /** The host has lost all that it had: nothing is asked of it but that it comes back. */
  onWiped(host: SimHost): void {
    const known = this.#known(host);
    known.endFloor = known.stableFloor = known.appliedFloor = 0;
    known.durableLsn = known.heldLsn = 0;
  }

  /** How far the host was, durably, when it was last seen, or at any time of this reign. */
  durableOf(host: SimHost): number {
    const { durableMax, durableLsn } = this.#known(host);
    return Math.max(durableMax, durableLsn, host.node?.pipeline.durableLsn ?? 0);
  }

  /** Remembers how far a node is. */
  #note(known: Known, node: CascadeNode): void {
    const { pipeline } = node;
    known.durableLsn = Math.min(pipeline.durableLsn, pipeline.appendedLsn);
    known.stableFloor = Math.max(known.stableFloor, pipeline.stableLsn);
    known.appliedFloor = Math.max(known.appliedFloor, pipeline.appliedLsn);
    known.appendedMax = Math.max(known.appendedMax, pipeline.appendedLsn);
    known.durableMax = Math.max(known.durableMax, known.durableLsn);
  }

  /** The node gave up, or would not start: only a disk that fails, or is full, is a reason. */
  onFailed(host: SimHost, error: unknown): void {
    if (isCascadeError(error, "disk-full")) return;
    if (isCascadeError(error, "disk-failed") && error.message.includes(INJECTED)) return;
    this.#world.fail("correctness", error, `${host.name} gave up: ${describeError(error)}: `);
  }

  #isPrimary(host: SimHost): boolean {
    return host.planned.config.upstream === null;
  }

  /** The primary serves: what its clients will see is settled now. */
  onPrimaryReady(host: SimHost, node: CascadeNode): void {
    const known = this.#known(host);
    this.#judgeTail(host, node);
    known.isReady = true;
    const end = this.history.endLsn;
    this.#expect(
      node.pipeline.appendedLsn >= end,
      `the primary ends at ${node.pipeline.appendedLsn}, its history at ${end}`,
    );
    this.#checkReads(node);
  }

  /** Learns where new epochs began: what the primary had beyond is lost, if it may be. */
  #judgeTail(host: SimHost, node: CascadeNode): void {
    const fresh = node.pipeline.history.epochs.filter(({ id }) => !this.#epochs.has(id));
    const first = fresh[0];
    for (const { id } of fresh) this.#epochs.add(id);
    if (first === undefined) return;
    const lsn = first.firstLsn;
    this.#world.trace.note("oracle", "epoch", lsn, this.history.endLsn);
    this.#expect(
      lsn >= this.flushedLsn,
      `flushed writes are lost: clients were told of ${this.flushedLsn}, the primary goes on ` +
        `from ${lsn}`,
    );
    this.#judgeHeld(host, lsn);
    this.history.cut(lsn);
    this.chain.reset();
    this.acknowledgedLsn = Math.min(this.acknowledgedLsn, lsn);
    for (const known of this.#hosts.values()) {
      known.appendedMax = known.durableMax = 0;
      known.heldLsn = Math.min(known.heldLsn, lsn);
    }
  }

  /** A primary that did not wait for its sync peers for all of their time must have heard them. */
  #judgeHeld(host: SimHost, lsn: number): void {
    const links = host.planned.config.downstream.filter((link) => link.mode === "sync");
    const timeoutMs = Math.max(0, ...links.map((link) => link.timeoutMs));
    const waitedMs = this.#world.scheduler.nowMs - this.#known(host).startedMs;
    if (waitedMs >= timeoutMs) return;
    // A peer whose link is paused is not asked: its operator said that nobody shall wait for it.
    if (host.node?.hub.downstream.some((link) => link.pausedWhy !== null) ?? false) return;
    for (const [peer, known] of this.#hosts) {
      this.#expect(
        known.heldLsn <= lsn,
        `writes that clients were told of are lost: ${peer.name} had received ${known.heldLsn}, ` +
          `the primary goes on from ${lsn} after it waited for ${waitedMs.toFixed(0)} ms`,
      );
    }
  }

  /** After a start every byte reads as the history says. */
  #checkReads(node: CascadeNode): void {
    for (const [number, volume] of node.exports.entries()) {
      const bytes = new Uint8Array(volume.sizeBytes);
      volume.read(bytes, 0);
      this.expectRead(number, bytes, 0);
    }
  }

  /** What a client of the primary read. */
  expectRead(volume: number, bytes: Uint8Array, offset: number): void {
    const image = this.history.head.images[volume];
    if (image === undefined) return;
    for (let i = 0; i < bytes.length; i++) {
      if (bytes[i] === image[offset + i]) continue;
      this.#expect(
        false,
        `volume ${volume} reads ${bytes[i]} at ${offset + i}, ${image[offset + i]} was written`,
      );
      return;
    }
  }

  /** A client was told that what ends at `ticket` is written. */
  onAcknowledged(ticket: number, node: CascadeNode, hosts: readonly SimHost[]): void {
    this.acknowledgedLsn = Math.max(this.acknowledgedLsn, ticket);
    for (const host of this.chain.holders(node, hosts, ticket)) {
      const known = this.#known(host);
      const received = Math.max(known.appendedMax, host.node?.pipeline.appendedLsn ?? 0);
      this.#expect(
        received >= ticket,
        `a client was told of ${ticket}, sync peer ${host.name} never had more than ${received}`,
      );
      if (host.node !== null) known.heldLsn = Math.max(known.heldLsn, ticket);
    }
  }

  /** A client was told that what ends at `ticket` is flushed. */
  onFlushed(ticket: number, node: CascadeNode, hosts: readonly SimHost[]): void {
    this.flushedLsn = Math.max(this.flushedLsn, ticket);
    this.#expect(
      node.pipeline.durableLsn >= ticket,
      `a client was told that ${ticket} is flushed, the primary is at ${node.pipeline.durableLsn}`,
    );
    for (const host of this.chain.holders(node, hosts, ticket)) {
      const known = this.#known(host);
      const durable = Math.max(known.durableMax, host.node?.pipeline.durableLsn ?? 0);
      this.#expect(
        durable >= ticket,
        `a client was told that ${ticket} is flushed, sync peer ${host.name} never had more ` +
          `than ${durable} durable`,
      );
    }
  }

  /** Compares a node's volumes with the history at its applied LSN, and its positions. */
  check(host: SimHost): void {
    const { node } = host;
    if (node === null) return;
    this.checks++;
    const known = this.#known(host);
    this.#note(known, node);
    // A node that is stopped while its reign begins applies that, and is never ready.
    if (this.#isPrimary(host) && !known.isReady) this.#judgeTail(host, node);
    this.#checkPositions(host, node, known);
    this.#checkBudget(host);
    if (node.pipeline.blocked !== null) return; // A record may be half applied: room ran out.
    this.#judgeDeltas(host, node);
    // Half of a delta is in the volumes; or it says itself that it has no whole image.
    const { consistent } = node.status();
    if (node.pipeline.isInDelta || !consistent || this.#awaitsImage(host, node)) return;
    const { appliedLsn } = node.pipeline;
    known.replica.goTo(appliedLsn);
    const { next } = known.replica;
    this.#expect(
      next === null || next.startLsn >= appliedLsn,
      `${host.name} has applied up to ${appliedLsn}, in the midst of a record`,
    );
    for (const [number, volume] of host.planned.config.volumes.entries()) {
      if (volume.path !== null) this.#compare(host, number, volume.path, known.replica, appliedLsn);
    }
  }

  /** What a node has committed of deltas must be right, and be there in full while it is applied. */
  #judgeDeltas(host: SimHost, node: CascadeNode): void {
    const wrong = this.#deltas.shelfOf(host, node) ??
      (node.pipeline.isInDelta ? this.#deltas.halfAppliedAt(host, node) : null);
    if (wrong !== null) this.#expect(false, wrong);
  }

  /** A blank node of volumes that were not blank at LSN 0, before its first copy. */
  #awaitsImage(host: SimHost, node: CascadeNode): boolean {
    return this.#isAnImage && host.planned.isBlank && node.deltas.isFresh;
  }

  #compare(host: SimHost, number: number, path: string, replica: Replica, lsn: number): void {
    const image = host.disk.image(path);
    const expected = replica.images[number];
    if (expected === undefined) return;
    const at = image?.differsAt(expected) ?? 0;
    if (at < 0) return;
    const found = new Uint8Array(8);
    image?.read(found, at);
    this.#expect(
      false,
      `${host.name}: ${path} is not the history at LSN ${lsn}: at ${at} it has ` +
        `[${found.join()}], expected [${expected.subarray(at, at + 8).join()}]`,
    );
  }

  /** A log never takes more than its budget and one segment. */
  #checkBudget(host: SimHost): void {
    const { dir, log } = host.planned.config;
    let bytes = 0;
    for (const name of host.disk.names.list(`${dir}/log`)) {
      bytes += host.disk.image(`${dir}/log/${name}`)?.size ?? 0;
    }
    this.#expect(
      bytes <= log.budgetBytes + log.segmentBytes,
      `${host.name} has ${bytes} bytes of log, its budget is ${log.budgetBytes}`,
    );
  }

  #checkPositions(host: SimHost, node: CascadeNode, known: Known): void {
    const status = nodeStatusSchema.parse(node.status());
    const { appended, durable, stable, applied, checkpointed } = status.lsn;
    const inOrder = appended >= durable && durable >= stable && stable >= applied &&
      applied >= checkpointed;
    this.#expect(inOrder, `${host.name}: positions out of order ${JSON.stringify(status.lsn)}`);
    const isBack = stable < known.stableFloor || applied < known.appliedFloor;
    this.#expect(!isBack, `${host.name}: positions went back ${JSON.stringify(status.lsn)}`);
    this.#expect(status.state !== "abandoned-tail", `${host.name}: ${status.reason}`);
    const primary = [...this.#hosts].find(([other]) => this.#isPrimary(other));
    if (primary === undefined) return;
    const live = primary[0].node?.pipeline.durableLsn ?? 0;
    const durableMax = Math.max(primary[1].durableMax, primary[1].durableLsn, live);
    this.#expect(
      stable <= Math.max(durableMax, primary[1].stableFloor),
      `${host.name} is stable up to ${stable}, the primary was never durable beyond ${durableMax}`,
    );
  }

  #expect(holds: boolean, message: string): void {
    if (!holds) this.#world.fail("correctness", new Violation(message));
  }
}
