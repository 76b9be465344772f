/**
 * A link to a node below, as its upstream end: judges where the peer stands, streams to it, and
 * remembers how far it is, connected or not.
 *
 * @module
 */
import type { LinkConfig } from "../config.ts";
import { CascadeError, describeError, type ErrorCode, isCascadeError } from "../errors.ts";
import type { LinkState, LinkStatus } from "../status.ts";
import { Closeness } from "./closeness.ts";
import { type Ack, FrameType, jsonFrame, readAck, TIDE_BYTES } from "./frames.ts";
import type { LinkHost } from "./host.ts";
import { judgePosition } from "./judge.ts";
import { GATHER_BYTES, HANDSHAKE_TIMEOUT_MS, SILENCE_MAX_MS } from "./link_limits.ts";
import {
  decodeMessage,
  type Hello,
  type PositionMessage,
  positionSchema,
  type Refusal,
  subtreeSchema,
} from "./messages.ts";
import { pausedWhy } from "./pauses.ts";
import { Sender, SENDER_BUFFER_BYTES } from "./sender.ts";
import { StateTeller } from "./state_teller.ts";
import { SyncPolicy } from "./sync_policy.ts";
import type { Wire } from "./wire.ts";

/** What no other connection would mend: this node's own disk, log or logic. */
const FATAL: readonly ErrorCode[] = ["log-corrupt", "disk-failed", "bug"];

export class DownstreamLink {
  readonly config: LinkConfig;
  readonly policy: SyncPolicy;
  readonly #host: LinkHost;
  readonly #teller: StateTeller;
  readonly #closeness = new Closeness();
  #wire: Wire | null = null;
  #sender: Sender | null = null;
  #peerInstance = "";
  #ack: Ack | null = null;
  /** What it needs as long as it has not told: all there is, or from where it was accepted. */
  #floorLsn = 0;
  #overflowed = false;
  #refusal: Refusal | null = null;
  #reason: string | null = null;
  #everConnected = false;
  #sentBytes = 0;
  #connectedSinceMs: number | null = null;
  #subtree: LinkStatus[] = [];

  constructor(host: LinkHost, config: LinkConfig) {
    this.config = config;
    this.#host = host;
    this.policy = new SyncPolicy(config, host.ports.clock.monotonicMs());
    if (this.pausedWhy !== null) this.policy.pause();
    this.#teller = new StateTeller(host.ports.journal, config.name);
  }

  get peerName(): string {
    return this.config.to;
  }

  /** What the node below told of the links below it. */
  get subtree(): readonly LinkStatus[] {
    return this.#subtree;
  }

  /** Why the link is paused at this end, or null. */
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

  /** Remembers why the peer would not speak to us at all. */
  refused(refusal: Refusal): void {
    this.#refusal = refusal;
  }

  /** The refusal that the last try ended with. */
  get refusal(): Refusal | null {
    return this.#refusal;
  }

  get connected(): boolean {
    return this.#sender !== null;
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
      if (FATAL.some((code) => isCascadeError(reason, code))) this.#host.onFatal(reason);
    }
    wire.close();
    if (this.#wire === wire) this.#gone(wire);
  }

  #gone(wire: Wire): void {
    this.#sentBytes += wire.sentBytes;
    this.#wire = null;
    this.#connectedSinceMs = null;
    const wasStreaming = this.#sender !== null;
    this.#sender = null;
    if (wasStreaming) this.policy.disconnected(this.#host.ports.clock.monotonicMs());
    this.#host.onLinkProgress();
  }

  async #serve(wire: Wire): Promise<void> {
    wire.setDeadline(HANDSHAKE_TIMEOUT_MS, "position");
    const frame = await wire.receive();
    if (frame.type !== FrameType.POSITION) throw unexpected(frame.type);
    const position = decodeMessage(positionSchema, frame.body, "position");
    wire.setDeadline(null);
    if (!await this.#recoverTail(wire, position)) return;
    // It may have been lost, and replaced by another, during the wait.
    if (wire.closed) return;
    const verdict = judgePosition(this.#host, position);
    if (verdict.kind === "refuse") return await this.#refuse(wire, verdict.refusal);
    this.#overflowed = false;
    wire.send(jsonFrame(FrameType.ACCEPT, { fromLsn: verdict.fromLsn, base: this.#host.base }));
    await this.#stream(wire, verdict.fromLsn, Math.min(verdict.fromLsn, position.stableLsn));
  }

  /** Tells the peer why not, and remembers it for the status. */
  async #refuse(wire: Wire, refusal: Refusal): Promise<void> {
    this.#refusal = refusal;
    this.#overflowed = refusal.code === "delta-needed";
    wire.send(jsonFrame(FrameType.REFUSE, refusal));
    this.#host.onLinkProgress();
    await wire.drain();
  }

  /** While this primary looks for its lost tail: takes what the peer has. False: refused. */
  async #recoverTail(wire: Wire, position: PositionMessage): Promise<boolean> {
    const { recovery, pipeline } = this.#host;
    if (recovery === null) return true;
    if (this.config.mode !== "sync") {
      const message = `${this.config.from} is starting`;
      await this.#refuse(wire, { code: "not-ready", message });
      return false;
    }
    const fork = pipeline.history.fork(position.history);
    const ahead = position.endLsn > pipeline.appendedLsn;
    if (ahead && fork.mine === null && fork.lsn >= pipeline.appendedLsn) {
      await this.#fetch(wire, position.endLsn);
    }
    recovery.heard(this.config.name);
    await recovery.over;
    return true;
  }

  async #fetch(wire: Wire, toLsn: number): Promise<void> {
    const { pipeline, recovery } = this.#host;
    let atLsn = pipeline.appendedLsn;
    wire.send(jsonFrame(FrameType.FETCH, { fromLsn: atLsn, toLsn }));
    while (recovery !== null && atLsn < toLsn) {
      wire.setDeadline(this.config.timeoutMs, "tail");
      const frame = await wire.receive();
      if (frame.type !== FrameType.DATA) throw unexpected(frame.type);
      const records = frame.body.subarray(TIDE_BYTES);
      if (!pipeline.accepts(records.length)) {
        await Promise.race([
          this.#host.room(records.length, () => !wire.closed),
          wire.whenClosed,
        ]);
        if (wire.closed) return;
      }
      recovery.take(records);
      atLsn += records.length;
    }
    wire.setDeadline(null);
  }

  async #stream(wire: Wire, fromLsn: number, floorLsn: number): Promise<void> {
    const { pipeline, ports, tide } = this.#host;
    const now = ports.clock.monotonicMs();
    this.policy.connected(now);
    this.#sender = new Sender(pipeline, this.config, this.policy, tide, ports.clock, fromLsn);
    this.#connectedSinceMs = ports.clock.nowMs();
    this.#everConnected = true;
    this.#closeness.reset();
    this.#reason = null;
    this.#ack = null;
    this.#floorLsn = floorLsn;
    wire.stream(this.#sender, SENDER_BUFFER_BYTES);
    this.#host.onLinkProgress();
    for (;;) {
      const frame = await wire.receive();
      if (frame.type === FrameType.ACK) this.#onAck(readAck(frame.body));
      else if (frame.type === FrameType.SUBTREE) {
        this.#subtree = decodeMessage(subtreeSchema, frame.body, "subtree").links;
      } else throw unexpected(frame.type);
    }
  }

  #onAck(ack: Ack): void {
    const { pipeline } = this.#host;
    const position = { epochId: ack.epochId, lsn: ack.receivedLsn };
    // An ack of another epoch, or of a tail that this log does not have, counts for nothing.
    if (!pipeline.history.holds(position, pipeline.appendedLsn)) return;
    this.#ack = ack;
    this.#sender?.acked(ack);
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
    if (this.policy.tick(now)) this.#host.onLinkProgress();
    if (wire !== null && this.#sender !== null) {
      if (wire.silenceMs() > SILENCE_MAX_MS) {
        wire.close(new CascadeError("timed-out", `silent for ${SILENCE_MAX_MS} ms`));
      } else if (this.policy.isSilent(this.#sender.cursorLsn, now)) {
        wire.close(new CascadeError("timed-out", "the sync peer does not acknowledge"));
        this.policy.giveUp();
        this.#host.onLinkProgress();
      } else wire.kick();
    }
    this.#teller.tell(this.state(), this.#stateReason());
  }

  /** The least LSN that this link needs from the log. */
  neededLsn(): number {
    if (this.#overflowed) return Infinity;
    return this.#ack?.durableLsn ?? this.#floorLsn;
  }

  /** Whether clients wait, or get errors, rather than that the log goes which this link needs. */
  get isHeld(): boolean {
    if (this.policy.required) return true;
    return this.config.onOverflow !== "map" && this.pausedWhy === null;
  }

  /** The log below `lsn` goes, needed or not. */
  overflow(lsn: number): void {
    if (this.neededLsn() >= lsn) return;
    this.#overflowed = true;
    this.#wire?.close(new CascadeError("log-gone", "the log budget is spent"));
    this.#teller.tell(this.state(), this.#stateReason());
  }

  /**
   * Cuts the peer off because this log was cut back: what it acknowledged may be of the tail that
   * went, so it counts no more, at once, and what the peer may need again is kept.
   */
  cutOff(reason: unknown): void {
    this.#wire?.close(reason);
    this.policy.disconnected(this.#host.ports.clock.monotonicMs());
    this.#floorLsn = Math.min(this.neededLsn(), this.#host.pipeline.stableLsn);
    this.#ack = null;
  }

  state(): LinkState {
    if (this.pausedWhy !== null) return "paused";
    if (this.#overflowed) return "overflowed";
    if (this.#sender !== null) return this.#streamState(this.#sender);
    if (this.#refusal?.code === "paused") return "paused";
    if (this.#refusal !== null && this.#refusal.code !== "not-ready") return "refused";
    if (this.config.mode === "sync" && !this.policy.required) return "degraded";
    return this.#everConnected ? "disconnected" : "connecting";
  }

  #streamState(sender: Sender): LinkState {
    if (this.config.mode === "sync") {
      return this.policy.state === "joined" ? "streaming" : "catching-up";
    }
    const behind = this.#host.pipeline.stableLsn - (this.#ack?.receivedLsn ?? 0);
    this.#closeness.look(sender.caughtUp, behind);
    return this.#closeness.isClose ? "streaming" : "catching-up";
  }

  #stateReason(): string | null {
    const paused = this.pausedWhy;
    if (this.#overflowed) {
      const spent =
        "the log budget was spent while the peer was away or too slow; a delta is needed";
      return paused === null ? spent : `${paused}; ${spent}`;
    }
    if (paused !== null) return paused;
    if (this.#sender !== null) return null;
    return this.#refusal?.message ?? this.#reason;
  }

  status(): LinkStatus {
    const { pipeline, times, tide } = this.#host;
    const durable = this.#ack?.durableLsn ?? null;
    const behind = durable === null ? null : Math.max(0, pipeline.appendedLsn - durable);
    return {
      name: this.config.name,
      from: this.config.from,
      to: this.config.to,
      mode: this.config.mode,
      state: this.state(),
      reason: this.#stateReason(),
      received: this.#ack?.receivedLsn ?? null,
      durable,
      applied: this.#ack?.appliedLsn ?? null,
      lagBytes: behind,
      lagSeconds: durable === null
        ? null
        : behind === 0
        ? 0
        : times.ageSeconds(durable, tide.timeMs()),
      sentBytes: this.#sentBytes + (this.#wire?.sentBytes ?? 0),
      connectedSince: this.#connectedSinceMs,
      delta: null,
      schedule: null,
      mapBytes: null,
    };
  }
}

function unexpected(type: number): CascadeError {
  return new CascadeError("protocol", `the peer sent frame ${type}, which does not belong here`);
}
