/**
 * What an accepted connection to a node below carries, and in which order: the log record by record, or
 * deltas, or, on a `periodic` link, one delta each time that it is due.
 *
 * @module
 */
import type { DeltaTrailer } from "../delta/delta_format.ts";
import type { PeerClaims } from "./claims.ts";
import { CascadeError, describeError, isCascadeError } from "../errors.ts";
import { DeltaCourier } from "./delta_courier.ts";
import type { DeltaPlanner, PeerPlace, Planned } from "./delta_plan.ts";
import { FrameType, unexpectedFrame } from "./frames.ts";
import { DELTA_RETRY_MS } from "./link_limits.ts";
import { PeerHashes } from "./hashes.ts";
import { advanceSchema, decodeMessage, deltaAckSchema } from "./messages.ts";
import type { LinkHost } from "./host.ts";
import { PeerImage } from "./peer_image.ts";
import type { Runs } from "./runs.ts";
import type { Sender } from "./sender.ts";
import type { ShipGate } from "./ship_gate.ts";
import type { Wire } from "./wire.ts";

/** What a course works with. */
export interface CourseParts {
  readonly wire: Wire;
  readonly sender: Sender;
  readonly planner: DeltaPlanner;
  readonly gate: ShipGate;
  /** Of a periodic link: when runs are due; else null. */
  readonly runs: Runs | null;
  readonly host: Pick<
    LinkHost,
    "alone" | "base" | "onFatal" | "onLinkProgress" | "ports" | "scans"
  >;
  /** How far the peer is, durably, on this node's history. */
  readonly durableLsn: () => number;
  /** Settles when the history has gone on beyond `lsn`, and is applied; or when the connection is gone. */
  readonly advance: (lsn: number) => Promise<void>;
  /** What the peer can have come to. */
  readonly claims: PeerClaims;
}

/** See the module's text. */
export class Course {
  /** What the peer's volumes hold. */
  readonly hashes: PeerHashes;
  readonly #parts: CourseParts;
  #peer: PeerPlace;
  #planned: Planned | null = null;
  #courier: DeltaCourier | null = null;
  #startedAtMs = 0;
  #refused: { readonly why: string; readonly isHere: boolean } | null = null;
  #isAdvancing = false;
  #wake: () => void = () => {};
  #sentLsn = 0;
  #hasShipped = false;

  constructor(parts: CourseParts, peer: PeerPlace) {
    this.#parts = parts;
    this.hashes = new PeerHashes(parts.wire);
    this.#peer = peer;
  }

  /** The delta that is being shipped, or null. */
  get courier(): DeltaCourier | null {
    return this.#courier;
  }

  get startedAtMs(): number {
    return this.#startedAtMs;
  }

  /** Where the last delta ends that was sent to its end. */
  get sentLsn(): number {
    return this.#sentLsn;
  }

  /** Why the last delta was not taken, until one is. */
  get refused(): string | null {
    return this.#refused?.why ?? null;
  }

  /** The same, if the reason is on this side, and will pass. */
  get waits(): boolean {
    return this.#refused?.isHere ?? false;
  }

  /** The log from here on is needed for what is under way. */
  get heldLsn(): number {
    return this.#planned?.source.heldLsn ?? Infinity;
  }

  /** The log below `lsn` goes. */
  async foldTo(lsn: number): Promise<void> {
    await this.#planned?.source.foldTo(lsn);
  }

  /** Takes a frame that the peer sends to what is under way; false: it is none of those. */
  take(type: FrameType, body: Uint8Array): boolean {
    if (type === FrameType.DELTA_ACK) {
      // One that comes late may be of a delta that is over.
      if (!this.#hasShipped) throw unexpectedFrame(type);
      this.#courier?.onAck(decodeMessage(deltaAckSchema, body, "answer to a delta"));
      this.#wake();
    } else if (type === FrameType.ECHO) this.#parts.sender.flight.heard(body);
    else if (type === FrameType.HASH) this.hashes.onAnswer(body);
    else if (type === FrameType.ADVANCE) this.#onAdvance(body);
    else return false;
    return true;
  }

  /** The peer needs the history to go on: for a repair of a node below it. */
  #onAdvance(body: Uint8Array): void {
    const { advance, claims, runs, host } = this.#parts;
    const { lsn } = decodeMessage(advanceSchema, body, "wish for the history to go on");
    claims.check("asks to go on beyond", lsn);
    if (this.#isAdvancing) return;
    this.#isAdvancing = true;
    advance(lsn).then(() => runs?.now()).catch((error) => host.onFatal(error))
      .finally(() => this.#isAdvancing = false);
  }

  /** The peer's position moved. */
  onAck(): void {
    this.#wake();
  }

  /** Runs until the connection ends. Throws what ends it. */
  async run(): Promise<void> {
    const { wire, runs, gate } = this.#parts;
    await Promise.race([gate.opened, wire.whenClosed]);
    while (!wire.closed) {
      if (runs !== null && !this.#isUrgent()) await Promise.race([runs.due(), wire.whenClosed]);
      if (wire.closed) return;
      try {
        await this.#step();
      } catch (error) {
        // It cannot be made to its end: what comes next is another one.
        if (isCascadeError(error, "log-gone")) this.#endDelta();
        if (wire.closed || !isCascadeError(error, "refused")) throw error;
        this.#endDelta();
        this.#refused = { why: describeError(error), isHere: error.retryable };
        // What it has staged was not looked at yet if the reason is on this side.
        if (!error.retryable) this.#peer = { ...this.#peer, staged: null };
        this.#parts.host.onLinkProgress();
        await this.#pause();
      }
    }
  }

  /** What was begun is finished whatever the hour. */
  #isUrgent(): boolean {
    const { staged, inPlace, needsSeed } = this.#peer;
    return staged !== null || inPlace || needsSeed || this.#parts.planner.isRepairing;
  }

  /** Settles when a delta that was refused is to be tried again: after a while, or since it is asked for. */
  #pause(): Promise<void> {
    const { host, wire, gate } = this.#parts;
    return new Promise((go) => {
      const timer = host.ports.clock.after(DELTA_RETRY_MS, go);
      gate.onAsk = () => {
        this.#refused = null;
        timer.cancel();
        go();
      };
      wire.whenClosed.then(() => {
        timer.cancel();
        go();
      });
    });
  }

  async #step(): Promise<void> {
    const { planner, runs, advance } = this.#parts;
    // A delta ends behind where it begins.
    if (planner.isRepairing) await advance(this.#peer.lsn);
    if (runs !== null) await this.#run(runs);
    else if (await this.#shipNext(false) === null) await this.#stream();
  }

  /** A run: all that is stable when it begins, in as many deltas as this node's log has gaps. */
  async #run(runs: Runs): Promise<void> {
    const fromLsn = this.#peer.lsn;
    const { isDue } = runs;
    const run = runs.begin();
    let sentBytes: number | null;
    try {
      const lease = await this.#scan();
      try {
        // What is finished out of its time is all that is shipped then.
        sentBytes = await this.#shipTo(isDue ? this.#parts.planner.ground.stableLsn() : 0);
      } finally {
        await lease?.release().catch(() => {/* the node tells it */});
      }
    } catch (error) {
      run.failed(this.#parts.wire.reasonOf(error));
      throw error;
    }
    if (sentBytes !== null) return run.done(fromLsn, this.#peer.lsn, sentBytes);
    run.nothing(fromLsn);
    // What it has staged leads nowhere: as long as it counted as urgent, the next run would follow at once, for ever.
    this.#peer = { ...this.#peer, staged: null };
    if (this.#isUrgent()) throw unknown(this.#parts.planner.hasVolumes);
  }

  /** Where something else writes the volumes, what they are now comes first. */
  async #scan(): Promise<{ release(): Promise<void> } | null> {
    const { scans } = this.#parts.host;
    if (scans === null) return null;
    try {
      return await scans.share();
    } catch (error) {
      // The connection can do nothing for it, and what the peer has staged stays good.
      throw new CascadeError("refused", describeError(error), { retryable: true, cause: error });
    }
  }

  async #shipTo(goalLsn: number): Promise<number | null> {
    let sentBytes: number | null = null;
    do {
      const bytes = await this.#shipNext(true);
      if (bytes === null && this.#peer.lsn < goalLsn) throw unknown(this.#parts.planner.hasVolumes);
      if (bytes === null) break;
      sentBytes = (sentBytes ?? 0) + bytes;
    } while (this.#peer.lsn < goalLsn);
    return sentBytes;
  }

  /** Ships the next delta; its bytes that went over this connection, or null: none is due. */
  async #shipNext(coalesce: boolean): Promise<number | null> {
    const { planner, host, wire } = this.#parts;
    await host.alone(async () => {
      this.#planned = await planner.plan(this.#peer, coalesce);
    });
    if (wire.closed) {
      this.close();
      throw new CascadeError("connection-lost", "the connection was closed", { retryable: true });
    }
    if (this.#planned === null) return null;
    const { trailer, sentBytes } = await this.#ship(this.#planned);
    planner.taken(trailer.id);
    return sentBytes;
  }

  async #stream(): Promise<void> {
    const { planner, sender, wire } = this.#parts;
    const { lsn } = this.#peer;
    if (!planner.streamsFrom(lsn)) throw unknown(planner.hasVolumes);
    const stopped = sender.flow(sender.cursorLsn > lsn ? sender.cursorLsn : lsn);
    this.#parts.host.onLinkProgress();
    wire.kick();
    await Promise.race([stopped, wire.whenClosed]);
    if (wire.closed) return;
    // The delta that comes next is for a peer that has all before it.
    await this.#until(sender.cursorLsn);
    this.#peer = { lsn: sender.cursorLsn, needsSeed: false, inPlace: false, staged: null };
  }

  async #ship(planned: Planned): Promise<{ trailer: DeltaTrailer; sentBytes: number }> {
    const { wire, host, sender } = this.#parts;
    this.#hasShipped = true;
    const { sizes } = this.#parts.planner.ground;
    const image = planned.isBlind ? new PeerImage(this.hashes, sizes, this.#peer.lsn) : null;
    const courier = new DeltaCourier(planned.source, wire, sender.flight, image);
    this.#courier = courier;
    this.#startedAtMs = host.ports.clock.nowMs();
    this.#parts.host.onLinkProgress();
    const trailer = await courier.ship(planned.staged, host.base);
    this.#sentLsn = trailer.toLsn;
    courier.committed();
    await this.#until(trailer.toLsn, courier);
    this.#peer = { lsn: trailer.toLsn, needsSeed: false, inPlace: false, staged: null };
    this.#parts.sender.moveTo(trailer.toLsn);
    this.#refused = null;
    this.#endDelta();
    return { trailer, sentBytes: courier.sentBytes };
  }

  #endDelta(): void {
    this.#planned?.source.close();
    this.#planned = null;
    this.#courier = null;
    this.#parts.host.onLinkProgress();
  }

  /** Waits until the peer has all below `lsn`, durably. */
  async #until(lsn: number, courier: DeltaCourier | null = null): Promise<void> {
    const { wire, durableLsn } = this.#parts;
    while (durableLsn() < lsn) {
      // Of a delta without a body the end is sent before the peer has said whether it takes it.
      courier?.check();
      if (wire.closed) throw new CascadeError("connection-lost", "the connection was closed");
      const moved = new Promise<void>((wake) => this.#wake = wake);
      await Promise.race([moved, wire.whenClosed]);
    }
  }

  /** The connection is gone: what is under way ends. */
  close(): void {
    if (this.#planned !== null) this.#parts.planner.keep(this.#planned.source);
    this.#planned = null;
    this.#courier = null;
  }
}

/** A node without volumes will never know: its peer is told so when it comes again, and can ask another one. */
function unknown(hasVolumes: boolean): CascadeError {
  const code = hasVolumes ? "refused" : "log-gone";
  return new CascadeError(code, "what the peer lacks is not known any more");
}
