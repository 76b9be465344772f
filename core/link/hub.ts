/**
 * All links of a node: listens, dials, shakes hands, and gives each proved connection to the link
 * that it belongs to.
 *
 * @module
 */
import { CascadeError, describeError, isCascadeError } from "../errors.ts";
import type { OnOverflow } from "../config.ts";
import type { Connection, Listener } from "../ports.ts";
import { type DialEnd, Dialler } from "./dialler.ts";
import { DownstreamLink } from "./downstream.ts";
import { addressOf, Doorkeeper, type Pass } from "./doorkeeper.ts";
import { Folding } from "./folding.ts";
import { FrameType, jsonFrame } from "./frames.ts";
import { Handshake, type HandshakeStep } from "./handshake.ts";
import type { LinkHost } from "./host.ts";
import {
  EXEC_HANDSHAKE_TIMEOUT_MS,
  HANDSHAKE_TIMEOUT_MS,
  UNPROVED_CONNECTIONS_MAX,
} from "./link_limits.ts";
import type { Hello, Refusal } from "./messages.ts";
import { UpstreamLink } from "./upstream.ts";
import { Wire } from "./wire.ts";
import { StrangerJournal } from "../stranger_journal.ts";

type Link = DownstreamLink | UpstreamLink;

/** Refusals that time may mend: the redial goes on with ordinary patience. */
const PASSING: readonly Refusal["code"][] = ["not-ready", "already-connected"];

/** Refusals of who is no node of this cluster, for all that can be told. */
const UNPROVED: readonly Refusal["code"][] = [
  "wrong-cluster",
  "unknown-node",
  "wrong-certificate",
  "wrong-secret",
];

/** Whoever hangs up was not wrong, nor who was turned out. */
function isMistaken(error: unknown): boolean {
  return isCascadeError(error, "protocol") || isCascadeError(error, "timed-out");
}

function endOf(refusal: Refusal): DialEnd {
  if (PASSING.includes(refusal.code)) return "served";
  // A paused link goes on whenever its operator likes: it is asked now and then.
  return refusal.code === "paused" ? "failed" : "refused";
}

export class LinkHub {
  readonly upstream: UpstreamLink | null;
  readonly downstream: readonly DownstreamLink[];
  /** What lets old log go. */
  readonly folding: Folding;
  readonly #host: LinkHost;
  readonly #kinds: ReadonlySet<OnOverflow>;
  readonly #listeners: Listener[] = [];
  readonly #wires = new Set<Wire>();
  readonly #diallers = new Set<Dialler>();
  readonly #strangers: StrangerJournal;
  readonly #door: Doorkeeper;
  #stopped = false;

  constructor(host: LinkHost) {
    this.#host = host;
    this.#strangers = new StrangerJournal(host.ports.journal, host.ports.clock);
    this.#door = new Doorkeeper(host.ports.clock, UNPROVED_CONNECTIONS_MAX);
    const { upstream, downstream } = host.config;
    this.upstream = upstream === null ? null : new UpstreamLink(host, upstream);
    this.downstream = downstream.map((link) => new DownstreamLink(host, link));
    this.folding = new Folding(host, this.downstream);
    this.#kinds = new Set(downstream.map((link) => link.onOverflow));
  }

  #links(): Link[] {
    return this.upstream === null ? [...this.downstream] : [this.upstream, ...this.downstream];
  }

  /** Addresses that are listened on. */
  get addresses(): string[] {
    return this.#listeners.map((listener) => listener.address);
  }

  /** Before {@linkcode LinkHub.start}: what the links know of their peers from an earlier life. */
  async load(): Promise<void> {
    const { ports, deltas } = this.#host;
    for (const { map } of this.downstream) await map.load(ports.journal, deltas.isInPlace);
  }

  /** Opens the ports and begins to dial. Throws when an address cannot be listened on. */
  async start(): Promise<void> {
    for (const address of this.#host.config.listen) {
      const accept = (connection: Connection) => this.#accept(connection);
      this.#listeners.push(await this.#host.ports.network.listen(address, accept));
    }
    for (const link of this.#links()) {
      if (this.#dials(link)) this.#dial(link);
    }
  }

  #dial(link: Link): void {
    const dialler = new Dialler({
      host: this.#host,
      link,
      meet: (wire) => this.#shakeHands(wire, link),
      isOver: () => this.#stopped,
    });
    this.#diallers.add(dialler);
    dialler.run().finally(() => this.#diallers.delete(dialler));
  }

  #dials(link: Link): boolean {
    return link.config.dial === (link instanceof UpstreamLink ? "to" : "from");
  }

  #accept(connection: Connection): void {
    if (this.#stopped) return connection.close();
    const wire = new Wire(connection, this.#host.ports.clock);
    const { remote } = wire;
    const crowd = "others came meanwhile, and all places for strangers were taken";
    const turnOut = () => wire.close(new CascadeError("refused", crowd));
    const pass = this.#door.enter(addressOf(remote), turnOut);
    this.#wires.add(wire);
    wire.whenClosed.then(pass.left);
    this.#greet(wire, pass).catch((error) => {
      if (isMistaken(error)) pass.failed();
      this.#strangers.write("warn", "a connection was dropped before it proved itself", {
        remote,
        ...(isCascadeError(error) ? { code: error.code } : {}),
        reason: describeError(error),
      });
    }).finally(pass.left);
  }

  /** Not before its time, if it comes from where others failed. */
  async #greet(wire: Wire, pass: Pass): Promise<void> {
    if (!await pass.admitted && !wire.closed) wire.close();
    await this.#shakeHands(wire, null, pass);
  }

  /** `link` is known when this end dials. */
  async #shakeHands(
    wire: Wire,
    link: Link | null,
    pass: Pass | null = null,
  ): Promise<DialEnd> {
    this.#wires.add(wire);
    try {
      const isExec = wire.channel.transport === "exec";
      wire.setDeadline(isExec ? EXEC_HANDSHAKE_TIMEOUT_MS : HANDSHAKE_TIMEOUT_MS, "handshake");
      const handshake = this.#handshake(link, wire.channel);
      if (link !== null) wire.send(handshake.begin());
      for (;;) {
        const step = handshake.step(await wire.receive());
        if (step.kind === "wait") {
          pass?.heard();
          if (step.send !== null) wire.send(step.send);
        } else {
          return await this.#end(wire, step, link, pass);
        }
      }
    } catch (error) {
      throw wire.reasonOf(error);
    } finally {
      wire.close();
      this.#wires.delete(wire);
    }
  }

  #handshake(link: Link | null, channel: Wire["channel"]): Handshake {
    const { config, instance, ports } = this.#host;
    return new Handshake({
      cluster: config.cluster,
      node: config.name,
      instance,
      secret: config.secret,
      peer: link?.peerName ?? null,
      admit: (hello) => link === null ? this.#admit(hello) : null,
      random: ports.random,
      channel,
    });
  }

  /** Judges a caller by its name, before any proof. */
  #admit(hello: Hello): Refusal | null {
    const { config } = this.#host;
    if (!config.nodeNames.includes(hello.node)) {
      const message = `the topology of ${config.name} has no node "${hello.node}"`;
      return { code: "unknown-node", message };
    }
    const link = this.#linkTo(hello.node);
    if (link === undefined) {
      const message = `the topology of ${config.name} has no link to "${hello.node}"`;
      return { code: "no-link", message };
    }
    if (this.#dials(link)) {
      const message = `by the topology of ${config.name}, ${config.name} dials ${hello.node}`;
      return { code: "no-link", message };
    }
    return pausedRefusal(link);
  }

  #linkTo(node: string): Link | undefined {
    return this.#links().find((link) => link.peerName === node);
  }

  async #end(
    wire: Wire,
    step: Exclude<HandshakeStep, { kind: "wait" }>,
    dialled: Link | null,
    pass: Pass | null,
  ): Promise<DialEnd> {
    if (step.kind === "refused") {
      if (UNPROVED.includes(step.refusal.code)) pass?.failed();
      this.#tellRefusal(step.refusal, dialled, wire.remote, step.send !== null);
      if (step.send !== null) wire.send(step.send);
      await wire.drain();
      return endOf(step.refusal);
    }
    pass?.proved();
    const link = dialled ?? this.#linkTo(step.peer.node);
    if (link === undefined) throw new CascadeError("bug", "an admitted peer has no link");
    const refusal = pausedRefusal(link) ?? link.admitProved(step.peer);
    if (refusal !== null) {
      this.#tellRefusal(refusal, null, wire.remote, true);
      wire.send(jsonFrame(FrameType.REFUSE, refusal));
      await wire.drain();
      return "refused";
    }
    if (step.send !== null) wire.send(step.send);
    wire.setDeadline(null);
    await link.serve(wire, step.peer);
    return link.refusal === null ? "served" : endOf(link.refusal);
  }

  #tellRefusal(refusal: Refusal, link: Link | null, remote: string, byUs: boolean): void {
    link?.refused(refusal);
    // A paused link says so in its state, once; its peer asks every two seconds.
    const level = refusal.code === "paused" ? "debug" : "warn";
    const journal = link === null ? this.#strangers : this.#host.ports.journal;
    journal.write(level, byUs ? "refused a connection" : "was refused", {
      ...(link === null ? {} : { link: link.config.name }),
      remote,
      code: refusal.code,
      reason: refusal.message,
    });
  }

  /**
   * Pauses a link of this node: settles when that is durable. Its peer is told when it asks; the log
   * that it needs is kept as long as the budget allows. Throws `not-found`, `usage`.
   */
  async pause(name: string, reason: string | null): Promise<void> {
    const { pauses, ports } = this.#host;
    const link = this.#linkNamed(name);
    const durable = pauses.add({ link: name, reason, sinceMs: ports.clock.nowMs() });
    link.pause();
    await durable;
  }

  /** Lets a paused link go on. Throws `not-found`; `usage` when it is the topology that pauses it. */
  async resume(name: string): Promise<void> {
    const link = this.#linkNamed(name);
    if (link.config.paused) {
      throw new CascadeError("usage", `link ${name} is paused by the topology`, {
        hint: "Remove `paused: true` there, and start the node again",
      });
    }
    await this.#host.pauses.remove(name);
    for (const dialler of this.#diallers) dialler.wake();
  }

  #linkNamed(name: string): Link {
    const link = this.#links().find(({ config }) => config.name === name);
    if (link !== undefined) return link;
    throw new CascadeError("not-found", `${this.#host.config.name} has no link "${name}"`, {
      hint: `Its links: ${this.#links().map(({ config }) => config.name).join(", ") || "none"}`,
    });
  }

  /** Records were appended: sync links ship them now. Hot path. */
  onAppended(): void {
    for (const link of this.downstream) if (link.config.mode === "sync") link.kick();
  }

  /** Positions moved. */
  onProgress(): void {
    for (const link of this.downstream) link.kick();
    this.upstream?.progress();
  }

  /** What was scanned can be read: see core/scan/capture.ts. */
  onScanned(): void {
    for (const { gate } of this.downstream) if (gate.isOpen) gate.ask();
  }

  tick(): void {
    // That the links of a node which stops are cut is no news.
    if (this.#stopped) return;
    for (const link of this.#links()) link.tick();
  }

  /** How far all sync peers that count have come; Infinity without any. */
  groupReceivedLsn(): number {
    return this.#least((link) => link.policy.receivedLsn);
  }

  groupDurableLsn(): number {
    return this.#least((link) => link.policy.durableLsn);
  }

  #least(position: (link: DownstreamLink) => number): number {
    let least = Infinity;
    for (const link of this.downstream) {
      if (link.policy.required || link.policy.failed) least = Math.min(least, position(link));
    }
    return least;
  }

  /** Grows whenever clients that wait must be refused. */
  failures(): number {
    return this.downstream.reduce((sum, link) => sum + link.policy.failures, 0);
  }

  failed(): boolean {
    return this.downstream.some((link) => link.policy.failed);
  }

  /** The time of peers that are away begins now. */
  restartGrace(): void {
    const nowMs = this.#host.ports.clock.monotonicMs();
    for (const link of this.downstream) link.policy.restart(nowMs);
  }

  /** The same, of the links that never overflow: clients wait, or get errors, for their sake. */
  heldLsn(): number {
    return least(this.downstream.filter((link) => link.isHeld));
  }

  /** The same, of the links with this `onOverflow` that are not paused. */
  neededBy(onOverflow: OnOverflow): number {
    if (!this.#kinds.has(onOverflow)) return Infinity;
    const kind = this.downstream.filter(({ config }) => config.onOverflow === onOverflow);
    return least(kind.filter(({ pausedWhy }) => pausedWhy === null));
  }

  /** Closes the links below: they shake hands anew. */
  closeDownstream(reason: string): void {
    const error = new CascadeError("connection-lost", reason, { retryable: true });
    for (const link of this.downstream) link.cutOff(error);
  }

  /** Whether every connected peer below has made everything durable. */
  drained(endLsn: number): boolean {
    return this.downstream.every((link) => link.isDrained(endLsn));
  }

  stop(): void {
    this.#stopped = true;
    this.folding.stop();
    for (const link of this.downstream) link.runs?.stop();
    for (const dialler of this.#diallers) dialler.wake();
    for (const listener of this.#listeners) listener.close();
    const error = new CascadeError("stopping", "the node stops", { retryable: true });
    for (const wire of this.#wires) wire.close(error);
    this.#strangers.close();
  }
}

function pausedRefusal(link: Link): Refusal | null {
  const message = link.pausedWhy;
  return message === null
    ? null
    : { code: "paused", message: `link ${link.config.name} is ${message}` };
}

function least(links: readonly DownstreamLink[]): number {
  return Math.min(...links.map((link) => link.neededLsn()), Infinity);
}
