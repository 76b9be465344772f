/**
 * The link to the node above, as its downstream end: tells where this node stands, receives, and
 * acknowledges for itself and the nodes below it.
 *
 * @module
 */
import type { LinkConfig } from "../config.ts";
import { CascadeError, describeError, isCascadeError } from "../errors.ts";
import type { LinkState, LinkStatus } from "../status.ts";
import { Closeness } from "./closeness.ts";
import { linkFields } from "./downstream_status.ts";
import { DeltaReceiver } from "./delta_receiver.ts";
import {
  echoFrame,
  type Frame,
  FrameType,
  jsonFrame,
  readEcho,
  type Tide,
  unexpectedFrame,
} from "./frames.ts";
import { answerHash } from "./hashes.ts";
import type { LinkHost } from "./host.ts";
import { Inquiries } from "./inquiries.ts";
import { refusedState } from "./link_state.ts";
import {
  CONTROL_BODY_BYTES_MAX,
  HEARTBEAT_INTERVAL_MS,
  SILENCE_MAX_MS,
  SUBTREE_INTERVAL_MS,
} from "./link_limits.ts";
import {
  acceptSchema,
  decodeMessage,
  fetchSchema,
  type Hello,
  type PositionMessage,
  type Refusal,
  refuseSchema,
} from "./messages.ts";
import { pausedWhy } from "./pauses.ts";
import { Receiver, RECEIVER_BUFFER_BYTES } from "./receiver.ts";
import { SENDER_BUFFER_BYTES } from "./sender.ts";
import { StateTeller } from "./state_teller.ts";
import { briefly } from "./subtree.ts";
import { sendTouched, TailSource } from "./upward.ts";
import type { Wire } from "./wire.ts";

/** How long the upstream may take to judge our position (it may be looking for its lost tail). */
const VERDICT_TIMEOUT_MS = 60_000;

/** Refusals that only a person can mend. */
const FOR_GOOD: readonly Refusal["code"][] = ["abandoned-tail", "conflict", "delta-needed"];

export class UpstreamLink {
  readonly config: LinkConfig;
  readonly inquiries = new Inquiries();
  readonly #host: LinkHost;
  readonly #teller: StateTeller;
  readonly #closeness = new Closeness();
  #wire: Wire | null = null;
  #receiver: Receiver | null = null;
  #peerInstance = "";
  /** A connection runs, or ends: what it began on the log may not be over. */
  #serving = false;
  #served: Promise<void> = Promise.resolve();
  #refusal: Refusal | null = null;
  #reason: string | null = null;
  #everConnected = false;
  #waitsForRoom = false;
  #connectedSinceMs: number | null = null;
  #heartbeatMs = 0;
  #subtreeMs = 0;
  #toldSubtree = "";
  #sentBytes = 0;
  /** When the upstream was heard last over a connection that has ended, or this link began. */
  #heardMs: number;
  #delta: DeltaReceiver | null = null;

  constructor(host: LinkHost, config: LinkConfig) {
    this.config = config;
    this.#host = host;
    this.#teller = new StateTeller(host.ports.journal, config.name);
    this.#heardMs = host.ports.clock.monotonicMs();
  }

  get peerName(): string {
    return this.config.from;
  }

  get connected(): boolean {
    return this.#receiver !== null;
  }

  /** Since the upstream was heard, or has begun to be looked for, ms. */
  silenceMs(): number {
    if (this.#wire !== null && this.connected) return this.#wire.silenceMs();
    return this.#host.ports.clock.monotonicMs() - this.#heardMs;
  }

  /** Why the link is paused at this end, or null. */
  get pausedWhy(): string | null {
    return pausedWhy(this.#host, this.config);
  }

  /** To be called once it is paused. */
  pause(): void {
    this.#wire?.close(new CascadeError("connection-lost", "the link was paused"));
    this.#teller.tell(this.state(), this.#stateReason());
  }

  /** Another node feeds this one from now on: settles when nothing of this link goes on. */
  async retire(): Promise<void> {
    this.#wire?.close(new CascadeError("connection-lost", "another node feeds this one now"));
    await this.#served;
  }

  /** The refusal that the last try met, for the dialler's patience. */
  get refusal(): Refusal | null {
    return this.#refusal;
  }

  admitProved(hello: Hello): Refusal | null {
    if (!this.#serving) return null;
    // The same process comes back: the old connection is dead. It may be cutting the log back just
    // now, so the new one is let in only when the old one has ended: after the next redial.
    if (hello.instance === this.#peerInstance) this.#wire?.close();
    const message = `${this.config.to} is connected to ${hello.node} already`;
    return { code: "already-connected", message };
  }

  /** Remembers why the upstream would not speak to us at all. */
  refused(refusal: Refusal): void {
    this.#refusal = refusal;
  }

  /** Remembers why it was not reached. */
  failed = (error: unknown): void => void (this.#reason = describeError(error));

  /** Runs a proved connection to its end. Never throws. */
  serve(wire: Wire, peer: Hello): Promise<void> {
    return this.#served = this.#serveAll(wire, peer);
  }

  async #serveAll(wire: Wire, peer: Hello): Promise<void> {
    this.#serving = true;
    this.#wire = wire;
    this.#peerInstance = peer.instance;
    this.#refusal = null;
    try {
      await this.#serve(wire);
    } catch (error) {
      const reason = wire.reasonOf(error);
      this.#reason = describeError(reason);
      if (isCascadeError(reason, "bug") || isCascadeError(reason, "disk-failed")) {
        this.#host.onFatal(reason);
      }
    }
    wire.close();
    this.#serving = false;
    this.#sentBytes += wire.sentBytes;
    if (this.connected) this.#heardMs = this.#host.ports.clock.monotonicMs() - wire.silenceMs();
    this.#wire = null;
    this.#receiver = null;
    this.#delta = null;
    this.#connectedSinceMs = null;
    this.#host.onLinkProgress();
  }

  async #serve(wire: Wire): Promise<void> {
    // Where this node stands is known once it has what it committed in an earlier life.
    await Promise.race([this.#host.deltas.settled, wire.whenClosed]);
    if (this.#host.isLeaving) {
      throw new CascadeError("refused", "it leaves an abandoned epoch first");
    }
    // What another upstream told to be final is so on the disk first: it would pass for a tail that may be cut off, else.
    await Promise.race([this.#host.pipeline.log.flushed(), wire.whenClosed]);
    wire.allowData();
    wire.setDeadline(VERDICT_TIMEOUT_MS, "answer to the position");
    wire.send(jsonFrame(FrameType.POSITION, this.#position()));
    if (this.#host.deltas.isRejoining) await sendTouched(wire, this.#host.deltas.touched());
    let frame = await wire.receive();
    if (frame.type === FrameType.FETCH) {
      this.#sendTail(wire, frame);
      frame = await wire.receive();
    }
    wire.setDeadline(null);
    if (frame.type === FrameType.REFUSE) return this.#onRefused(frame);
    if (frame.type !== FrameType.ACCEPT) throw unexpectedFrame(frame.type);
    const accept = decodeMessage(acceptSchema, frame.body, "acceptance");
    const { pipeline } = this.#host;
    if (accept.fromLsn > pipeline.appendedLsn) {
      throw new CascadeError(
        "protocol",
        `the upstream streams from LSN ${accept.fromLsn}, this ` +
          `node ends at ${pipeline.appendedLsn}`,
      );
    }
    if (!pipeline.log.beginsRecord(accept.fromLsn)) {
      const found = `the upstream streams from LSN ${accept.fromLsn}, where no record begins`;
      throw new CascadeError("protocol", found);
    }
    if (this.#host.base === null && accept.base !== null) await this.#host.adoptBase(accept.base);
    await this.#receive(wire, accept.fromLsn);
  }

  #position(): PositionMessage {
    const { pipeline, config, base } = this.#host;
    return {
      history: [...pipeline.history.epochs],
      endLsn: pipeline.appendedLsn,
      stableLsn: pipeline.stableLsn,
      volumes: config.volumes.map(({ name, sizeBytes }) => ({ name, sizeBytes })),
      base,
      fresh: this.#host.deltas.isFresh,
      inPlace: this.#host.deltas.isInPlace,
      staged: this.#host.deltas.taker.staged,
      rejoins: this.#host.deltas.isRejoining,
    };
  }

  #onRefused(frame: Frame): void {
    const refusal = decodeMessage(refuseSchema, frame.body, "refusal");
    this.#refusal = refusal;
    if (FOR_GOOD.includes(refusal.code)) this.#host.onRefusedForGood(refusal);
  }

  /** The upstream crashed and asks for what it lost: our provisional records. */
  #sendTail(wire: Wire, frame: Frame): void {
    const { fromLsn, toLsn } = decodeMessage(fetchSchema, frame.body, "fetch");
    const { pipeline } = this.#host;
    const { log } = pipeline;
    if (fromLsn < log.startLsn || log.gapAt(fromLsn) !== null || !log.beginsRecord(fromLsn)) {
      const found = `the upstream asks for records from LSN ${fromLsn}, where none is here`;
      throw new CascadeError("protocol", found);
    }
    const end = Math.min(toLsn, pipeline.appendedLsn);
    if (!log.beginsRecord(end)) {
      throw new CascadeError(
        "protocol",
        `the upstream asks for records up to LSN ${end}, within one`,
      );
    }
    wire.stream(new TailSource(this.#host, fromLsn, end), SENDER_BUFFER_BYTES);
  }

  async #receive(wire: Wire, fromLsn: number): Promise<void> {
    const { pipeline, ports, times, config } = this.#host;
    const receiver = new Receiver({
      pipeline,
      times,
      volumeSizes: config.volumes.map((volume) => volume.sizeBytes),
      fromLsn,
      groupReceivedLsn: () => this.#host.groupReceivedLsn(),
      groupDurableLsn: () => this.#host.groupDurableLsn(),
      onAppended: () => this.#host.onAppended(),
      room: (bytes) => this.#room(wire, bytes),
      onCutBack: () => this.#host.onCutBack(),
      onTide: (tide) => this.#onTide(tide),
    });
    this.#receiver = receiver;
    const delta = this.#delta = new DeltaReceiver(this.#host, wire, receiver);
    this.#connectedSinceMs = ports.clock.nowMs();
    this.#everConnected = true;
    this.#reason = null;
    this.#closeness.reset();
    this.#toldSubtree = "";
    this.inquiries.begin(wire);
    wire.stream(receiver, RECEIVER_BUFFER_BYTES);
    this.#host.onLinkProgress();
    for (;;) {
      const frame = wire.next() ?? await this.#nextBatch(wire);
      if (frame.type === FrameType.DATA && this.#host.deltas.isRejoining) {
        throw new CascadeError(
          "protocol",
          "records came before what leads from the abandoned epoch",
        );
      } else if (frame.type === FrameType.DATA) await receiver.onData(frame);
      else if (frame.type === FrameType.TIDE) receiver.onTide(frame);
      else if (frame.type === FrameType.ECHO) wire.send(echoFrame(readEcho(frame.body)));
      else if (frame.type === FrameType.HASH_ASK) {
        const answer = answerHash(pipeline, !this.#host.deltas.isInPlace, frame.body);
        wire.send(jsonFrame(FrameType.HASH, answer));
      } else if (this.inquiries.take(this.#host, wire, frame.type, frame.body)) continue;
      else if (!await delta.take(frame)) throw unexpectedFrame(frame.type);
    }
  }

  /** All frames that had arrived were taken: one ack for all of them, then on to the next. */
  #nextBatch(wire: Wire): Promise<Frame> {
    if (this.config.mode === "sync") wire.kick();
    return wire.receive();
  }

  #onTide(tide: Tide): void {
    // The same measure as at the other end: what the upstream may ship on any link.
    const behind = tide.stableLsn - this.#host.pipeline.appendedLsn;
    this.#closeness.look(behind <= 0, behind);
    this.#host.onTide(tide);
  }

  async #room(wire: Wire, bytes: number): Promise<void> {
    this.#waitsForRoom = true;
    try {
      await Promise.race([this.#host.room(bytes, () => !wire.closed), wire.whenClosed]);
    } finally {
      this.#waitsForRoom = false;
    }
    // The connection may be gone, and another may have taken its place.
    if (wire.closed) throw new CascadeError("connection-lost", "closed while waiting for room");
  }

  /** Positions moved: tell them. */
  progress(): void {
    if (this.#receiver === null) return;
    this.#receiver.ackSoon();
    if (this.config.mode === "sync") this.#wire?.kick();
    else this.#wire?.kickSoon();
  }

  tick(): void {
    const { clock } = this.#host.ports;
    const wire = this.#wire;
    if (wire !== null && this.#receiver !== null) {
      const isBusy = this.#waitsForRoom || (this.#delta?.isBusy ?? false);
      if (wire.silenceMs() > SILENCE_MAX_MS && !isBusy) {
        wire.close(new CascadeError("timed-out", `silent for ${SILENCE_MAX_MS} ms`));
      }
      if (clock.monotonicMs() - this.#heartbeatMs >= HEARTBEAT_INTERVAL_MS) {
        this.#heartbeatMs = clock.monotonicMs();
        this.#receiver.heartbeat();
        wire.kick();
      }
      this.#host.descendants.noteAbove(this.config.from);
      this.#tellSubtree(wire);
    }
    this.#teller.tell(this.state(), this.#stateReason());
  }

  #tellSubtree(wire: Wire): void {
    const nowMs = this.#host.ports.clock.monotonicMs();
    if (nowMs - this.#subtreeMs < SUBTREE_INTERVAL_MS) return;
    this.#subtreeMs = nowMs;
    const links = briefly(this.#host.subtree());
    const text = JSON.stringify(links);
    if (text === this.#toldSubtree) return;
    this.#toldSubtree = text;
    const frame = jsonFrame(FrameType.SUBTREE, { links });
    if (frame.length <= CONTROL_BODY_BYTES_MAX) wire.send(frame);
  }

  /** Asks the node above for the history to go on beyond `lsn`. */
  askToAdvance(lsn: number): void {
    if (this.#receiver !== null) this.#wire?.send(jsonFrame(FrameType.ADVANCE, { lsn }));
  }

  close(reason: unknown): void {
    this.#wire?.close(reason);
  }

  state(): LinkState {
    if (this.pausedWhy !== null) return "paused";
    if (this.#receiver !== null) {
      if (this.#delta?.isTaking) return "delta";
      if (this.config.mode === "periodic") return "waiting";
      return this.#closeness.isClose ? "streaming" : "catching-up";
    }
    const refused = refusedState(this.#refusal);
    if (refused !== null) return refused;
    return this.#everConnected ? "disconnected" : "connecting";
  }

  #stateReason(): string | null {
    if (this.pausedWhy !== null) return this.pausedWhy;
    if (this.#receiver !== null) return this.#delta?.refused ?? null;
    return this.#refusal?.message ?? this.#reason;
  }

  status(lag: { bytes: number | null; seconds: number | null }): LinkStatus {
    const { pipeline } = this.#host;
    return {
      ...linkFields(this.config, this.#wire),
      state: this.state(),
      reason: this.#stateReason(),
      received: pipeline.appendedLsn,
      durable: Math.min(pipeline.durableLsn, pipeline.appendedLsn),
      applied: pipeline.appliedLsn,
      epochId: null,
      lagBytes: lag.bytes,
      lagSeconds: lag.seconds,
      sentBytes: this.#sentBytes + (this.#wire?.sentBytes ?? 0),
      connectedSince: this.#connectedSinceMs,
      delta: null,
      schedule: null,
      mapBytes: null,
      verify: null,
      line: null,
    };
  }
}
