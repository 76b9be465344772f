/**
 * A link to a node below, as its upstream end: judges where the peer stands, streams to it, and
 * remembers how far it is, connected or not.
 *
 * @module
 */
import type { LinkConfig } from "../config.ts";
import { CascadeError, describeError, isCascadeError } from "../errors.ts";
import type { LinkState, LinkStatus } from "../status.ts";
import type { BlockSet } from "../delta/block_set.ts";
import { type Accepted, admit } from "./admission.ts";
import { PeerClaims } from "./claims.ts";
import { Closeness } from "./closeness.ts";
import { Course } from "./course.ts";
import { connectedState, deltaFields, linkFields, peerFields } from "./downstream_status.ts";
import { DeltaPlanner, type PeerPlace } from "./delta_plan.ts";
import { type Ack, FrameType, jsonFrame, readAck, unexpectedFrame } from "./frames.ts";
import type { PeerHashes } from "./hashes.ts";
import type { LinkHost } from "./host.ts";
import { Inquiries } from "./inquiries.ts";
import { Line } from "./line.ts";
import { GATHER_BYTES, SILENCE_MAX_MS } from "./link_limits.ts";
import { decodeMessage, type Hello, type Refusal, subtreeSchema } from "./messages.ts";
import { isFatal, OVERFLOWED_WHY, refusedState } from "./link_state.ts";
import { pausedWhy } from "./pauses.ts";
import { type Runs, runsOf } from "./runs.ts";
import { Sender, SENDER_BUFFER_BYTES } from "./sender.ts";
import { StateTeller } from "./state_teller.ts";
import { ShipGate } from "./ship_gate.ts";
import { SyncPolicy } from "./sync_policy.ts";
import type { Wire } from "./wire.ts";

export class DownstreamLink {
  readonly config: LinkConfig;
  readonly policy: SyncPolicy;
  readonly inquiries = new Inquiries();
  readonly #host: LinkHost;
  readonly #teller: StateTeller;
  readonly #closeness = new Closeness();
  readonly gate: ShipGate;
  /** How fast it may send, what it compresses. */
  readonly line: Line;
  #wire: Wire | null = null;
  #sender: Sender | null = null;
  #peerInstance = "";
  #ack: Ack | null = null;
  #course: Course | null = null;
  readonly #claims = new PeerClaims();
  readonly planner: DeltaPlanner;
  /** Of a periodic link. */
  readonly runs: Runs | null;
  #refusal: Refusal | null = null;
  #reason: string | null = null;
  #everConnected = false;
  #sentBytes = 0;
  #connectedSinceMs: number | null = null;
  #subtree: LinkStatus[] = [];

  constructor(host: LinkHost, config: LinkConfig) {
    this.config = config;
    this.#host = host;
    this.line = new Line(host.ports, config, host.byHand.limits.of(config.name));
    this.policy = new SyncPolicy(config, host.ports.clock.monotonicMs());
    if (this.pausedWhy !== null) this.policy.pause();
    this.gate = new ShipGate(host.onRequest);
    this.#teller = new StateTeller(host.ports.journal, config.name);
    const { ground, chain } = host.deltas;
    this.planner = new DeltaPlanner(ground, (lsn) => chain.since(lsn));
    this.runs = runsOf(host, config);
  }

  get peerName(): string {
    return this.config.to;
  }

  /** What the node below told of the links below it. */
  get subtree(): readonly LinkStatus[] {
    return this.#subtree;
  }

  /** Why it is paused at this end, or null. */
  get pausedWhy(): string | null {
    return pausedWhy(this.#host, this.config);
  }

  /** To be called once it is paused: nobody waits for the peer any more. */
  pause(): void {
    this.policy.pause();
    this.#wire?.close(new CascadeError("connection-lost", "the link was paused"));
    this.#teller.tell(this.state(), this.#stateReason());
    this.#host.onLinkProgress();
  }

  /** The peer is fed by another node from now on. */
  retire(): void {
    this.policy.pause();
    this.runs?.stop();
    this.#wire?.close(new CascadeError("connection-lost", "another node feeds the peer now"));
    this.planner.forget();
    this.#host.onLinkProgress();
  }

  refused(refusal: Refusal): void {
    this.#refusal = refusal;
  }

  /** The refusal that the last try ended with. */
  get refusal(): Refusal | null {
    return this.#refusal;
  }

  /** What the peer has durably, as it last told; null: it did not yet. */
  get durableLsn(): number | null {
    return this.#ack?.durableLsn ?? null;
  }

  /** What the peer's volumes hold; null while it is not connected. */
  get hashes(): PeerHashes | null {
    return this.#course?.hashes ?? null;
  }

  get connected(): boolean {
    return this.#sender !== null;
  }

  /** Has the peer given these blocks once more, in a delta that comes at once, as after a lost connection. */
  repair(blocks: BlockSet): void {
    this.planner.repair(blocks);
    this.#wire?.close(new CascadeError("connection-lost", "blocks of the peer are to be repaired"));
  }

  /** Judges a proved peer: the same process may come back at once, another one may not. */
  admitProved(hello: Hello): Refusal | null {
    if (this.#wire === null || this.#wire.closed || hello.instance === this.#peerInstance) {
      return null;
    }
    return {
      code: "already-connected",
      message:
        `${hello.node} is connected to ${this.config.from} already, from ${this.#wire.remote}`,
    };
  }

  /** Runs a proved connection to its end. Never throws. */
  async serve(wire: Wire, peer: Hello): Promise<void> {
    this.#wire?.close();
    this.#wire = wire;
    this.#peerInstance = peer.instance;
    this.#refusal = null;
    try {
      await this.#serve(wire);
    } catch (error) {
      const reason = wire.reasonOf(error);
      this.#reason = describeError(reason);
      if (isFatal(reason)) this.#host.onFatal(reason);
    }
    wire.close();
    if (this.#wire === wire) this.#gone(wire);
  }

  #gone(wire: Wire): void {
    this.#sentBytes += wire.sentBytes;
    this.#wire = this.#connectedSinceMs = null;
    const wasStreaming = this.#sender !== null;
    this.#sender = null;
    this.#course?.close();
    this.#course = null;
    if (wasStreaming) this.policy.disconnected(this.#host.ports.clock.monotonicMs());
    this.#host.onLinkProgress();
  }

  async #serve(wire: Wire): Promise<void> {
    await this.#host.markFed();
    const admission = await admit(this.#host, this.config, wire, this.planner);
    if (admission.kind === "unwanted") this.#refusal = admission.refusal;
    else if (admission.kind === "refused") await this.#refuse(wire, admission.refusal);
    else if (admission.kind === "accepted") await this.#stream(wire, admission);
  }

  /** Tells the peer why not, and remembers it for the status. */
  async #refuse(wire: Wire, refusal: Refusal): Promise<void> {
    this.#refusal = refusal;
    wire.send(jsonFrame(FrameType.REFUSE, refusal));
    this.#host.onLinkProgress();
    await wire.drain();
  }

  async #stream(wire: Wire, { fromLsn, endLsn, peer }: Accepted): Promise<void> {
    const { pipeline, ports, tide } = this.#host;
    const { config, policy } = this;
    policy.connected(ports.clock.monotonicMs());
    const flight = this.line.begin();
    const sender = new Sender(pipeline, config, policy, tide, ports.clock, fromLsn, flight);
    this.#sender = sender;
    this.#connectedSinceMs = ports.clock.nowMs();
    this.#everConnected = true;
    this.#closeness.reset();
    this.#reason = this.#ack = null;
    this.#host.descendants.heard(config.to, peer.lsn);
    const course = this.#course = this.#newCourse(wire, sender, peer);
    this.inquiries.begin(wire);
    wire.stream(sender, SENDER_BUFFER_BYTES, this.line);
    this.line.flight.ask(wire);
    this.#claims.begin(endLsn, () => Math.max(sender.cursorLsn, course.sentLsn));
    course.run().catch((error) => wire.close(error));
    this.#host.onLinkProgress();
    for (;;) {
      const { type, body } = await wire.receive();
      if (type === FrameType.ACK) this.#onAck(readAck(body));
      else if (this.inquiries.take(this.#host, wire, type, body)) continue;
      else if (type === FrameType.SUBTREE) {
        this.#subtree = decodeMessage(subtreeSchema, body, "subtree").links;
        this.#host.descendants.told(this.#subtree);
      } else if (!course.take(type, body)) throw unexpectedFrame(type);
    }
  }

  #newCourse(wire: Wire, sender: Sender, peer: PeerPlace): Course {
    return new Course({
      wire,
      sender,
      planner: this.planner,
      gate: this.gate,
      host: this.#host,
      runs: this.runs,
      durableLsn: () => this.durableLsn ?? 0,
      advance: (lsn) => this.#host.advance(lsn, () => !wire.closed),
      claims: this.#claims,
    }, peer);
  }

  #onAck(ack: Ack): void {
    const { pipeline } = this.#host;
    this.#claims.check("acknowledges", ack.receivedLsn);
    const position = { epochId: ack.epochId, lsn: ack.receivedLsn };
    // An ack of another epoch, or of a tail that this log does not have, counts for nothing.
    if (!pipeline.history.holds(position, pipeline.appendedLsn)) return;
    this.#ack = ack;
    this.#host.descendants.heard(this.config.to, ack.durableLsn);
    this.#sender?.acked(ack);
    this.#course?.onAck();
    this.#host.onLinkProgress();
    this.#wire?.kick();
  }

  /** Records were appended, or became stable, or a flush is wanted. Hot path. */
  kick(): void {
    const sender = this.#sender;
    if (sender === null) return;
    if (this.config.mode === "sync" || sender.pendingBytes >= GATHER_BYTES) this.#wire?.kick();
    else if (!sender.caughtUp) this.#wire?.kickSoon();
  }

  /** Time passes: heartbeats, silence, grace. */
  tick(): void {
    const now = this.#host.ports.clock.monotonicMs();
    const wire = this.#wire;
    this.line.look();
    if (this.policy.tick(now)) this.#host.onLinkProgress();
    if (wire !== null && this.#sender !== null) {
      if (wire.silenceMs() > SILENCE_MAX_MS) {
        wire.close(new CascadeError("timed-out", `silent for ${SILENCE_MAX_MS} ms`));
      } else if (this.policy.isSilent(this.#sender.cursorLsn, now)) {
        wire.close(new CascadeError("timed-out", "the sync peer does not acknowledge"));
        this.policy.giveUp();
        this.#host.onLinkProgress();
      } else {
        this.line.flight.ask(wire);
        wire.kick();
      }
    }
    this.#teller.tell(this.state(), this.#stateReason());
  }

  /** What the peer has for good, as far as it told. */
  get takenLsn(): number {
    return this.#host.descendants.lsnOf(this.config.to);
  }

  /** The log from here on is being read for the peer. */
  get heldLsn(): number {
    return Math.min(this.planner.heldLsn, this.#course?.heldLsn ?? Infinity);
  }

  /** The least LSN that this link needs from the log. */
  neededLsn(): number {
    return Math.min(this.#host.deltas.chain.neededFrom(this.takenLsn), this.heldLsn);
  }

  /** Whether nothing is on its way that a node which stops should wait for. */
  isDrained(endLsn: number): boolean {
    if (!this.connected || this.config.mode === "periodic" || !this.gate.isOpen) return true;
    return this.#course?.courier !== null || (this.durableLsn ?? 0) >= endLsn;
  }

  /** Whether clients wait, or get errors, rather than that the log goes which this link needs. */
  get isHeld(): boolean {
    return this.policy.required || (this.config.onOverflow !== "map" && this.pausedWhy === null);
  }

  /** The log below `lsn` goes: what is under way does without, or ends. To be called alone. */
  async foldTo(lsn: number): Promise<void> {
    await this.#foldCourse(lsn);
    const sender = this.#sender;
    if (sender !== null && sender.isFlowing && sender.cursorLsn < lsn) {
      this.#wire?.close(new CascadeError("log-gone", "the log budget is spent"));
    }
  }

  async #foldCourse(lsn: number): Promise<void> {
    try {
      await this.planner.foldTo(lsn);
      await this.#course?.foldTo(lsn);
    } catch (error) {
      if (!isCascadeError(error, "log-gone")) throw error;
      this.#course?.close();
      this.planner.forget();
      this.#wire?.close(error);
    }
  }

  /** Cuts the peer off because this log was cut back: what it acknowledged may be of the tail that went. */
  cutOff(reason: unknown): void {
    this.#wire?.close(reason);
    this.policy.disconnected(this.#host.ports.clock.monotonicMs());
    this.#ack = null;
  }

  readonly close = (reason: unknown) => this.#wire?.close(reason);

  state(): LinkState {
    if (this.pausedWhy !== null) return "paused";
    if (this.#sender !== null) {
      const behind = this.#host.pipeline.stableLsn - (this.#ack?.receivedLsn ?? 0);
      const isClose = this.#closeness.look(this.#sender.caughtUp, behind);
      const isJoined = this.policy.state === "joined";
      return connectedState(this.config.mode, this.#course, isClose, isJoined);
    }
    const refused = this.isOverflowed ? "overflowed" : refusedState(this.#refusal);
    if (refused !== null) return refused;
    if (this.config.mode === "sync" && !this.policy.required) return "degraded";
    return this.#everConnected && !this.planner.isRepairing ? "disconnected" : "connecting";
  }

  /** The log that the peer lacks is gone: it is given what was touched. */
  get #isMapped(): boolean {
    const { takenLsn } = this;
    return this.#host.deltas.chain.since(takenLsn) !== null && !this.planner.goesOnFrom(takenLsn);
  }

  /** The peer needs a delta: the log that it lacks is gone. A node that scans goes on by maps anyhow. */
  get isOverflowed(): boolean {
    const isMapped = this.#isMapped && this.#host.scans === null;
    return isMapped || this.#refusal?.code === "delta-needed";
  }

  #stateReason(): string | null {
    const paused = this.pausedWhy;
    if (this.#sender === null && this.isOverflowed && this.#refusal === null) {
      return paused === null ? OVERFLOWED_WHY : `${paused}; ${OVERFLOWED_WHY}`;
    }
    if (paused !== null) return paused;
    if (this.#sender !== null) return this.#course?.refused ?? null;
    return this.#refusal?.message ?? this.#reason;
  }

  status(): LinkStatus {
    const { chain } = this.#host.deltas;
    const mapBytes = this.#isMapped ? chain.bytesSince(this.takenLsn) : null;
    return {
      ...linkFields(this.config, this.#wire),
      state: this.state(),
      reason: this.#stateReason(),
      ...peerFields(this.#host, this.#ack),
      sentBytes: this.#sentBytes + (this.#wire?.sentBytes ?? 0),
      connectedSince: this.#connectedSinceMs,
      ...deltaFields(this.#course, this.runs, mapBytes, this.state() === "paused"),
      line: this.line.status(this.connected),
    };
  }
}
