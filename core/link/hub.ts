/**
 * All links of a node: listens, dials, shakes hands, and gives each proved connection to the link
 * that it belongs to.
 *
 * @module
 */
import { CascadeError, describeError } from "../errors.ts";
import type { LinkConfig, OnOverflow } from "../config.ts";
import type { Connection, Listener } from "../ports.ts";
import { DownstreamLink } from "./downstream.ts";
import { Folding } from "./folding.ts";
import { FrameType, jsonFrame } from "./frames.ts";
import { greet } from "./greeter.ts";
import type { LinkHost } from "./host.ts";
import {
  REDIAL_FACTOR,
  REDIAL_FIRST_MS,
  REDIAL_MAX_MS,
  REDIAL_REFUSED_MS,
  UNPROVED_CONNECTIONS_MAX,
} from "./link_limits.ts";
import type { Hello, Refusal } from "./messages.ts";
import type { Place } from "../tree/tree.ts";
import { UpstreamLink } from "./upstream.ts";
import { Wire } from "./wire.ts";
import { StrangerJournal } from "../stranger_journal.ts";

type Link = DownstreamLink | UpstreamLink;

/** Refusals that time may mend: the redial goes on with ordinary patience. */
const PASSING: readonly Refusal["code"][] = ["not-ready", "already-connected"];

/** Whom this end has dialled; without a link: only to hear and to tell. */
interface Callee {
  readonly node: string;
  readonly link: Link | null;
}

/** How a dial ended: that tells when to dial again. */
type DialEnd = "served" | "refused" | "failed";

function endOf(refusal: Refusal): DialEnd {
  if (PASSING.includes(refusal.code)) return "served";
  // A paused link goes on whenever its operator likes: it is asked now and then.
  return refusal.code === "paused" ? "failed" : "refused";
}

export class LinkHub {
  upstream: UpstreamLink | null;
  readonly downstream: DownstreamLink[];
  /** What lets old log go. */
  readonly folding: Folding;
  readonly #host: LinkHost;
  readonly #listeners: Listener[] = [];
  readonly #wires = new Set<Wire>();
  readonly #sleepers = new Set<() => void>();
  readonly #strangers: StrangerJournal;
  #unproved = 0;
  #stopped = false;

  constructor(host: LinkHost) {
    this.#host = host;
    this.#strangers = new StrangerJournal(host.ports.journal, host.ports.clock);
    const { upstream, downstream } = host.config;
    this.upstream = upstream === null ? null : new UpstreamLink(host, upstream);
    this.downstream = downstream.map((link) => new DownstreamLink(host, link));
    this.folding = new Folding(host, this.downstream);
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
    for (const link of this.#links()) this.#begin(link);
  }

  #dials(link: Link): boolean {
    return link.config.dial === (link instanceof UpstreamLink ? "to" : "from");
  }

  async #dialForever(link: Link): Promise<void> {
    let waitMs = REDIAL_FIRST_MS;
    for (let turn = 0; !this.#stopped && this.#links().includes(link); turn++) {
      if (link.pausedWhy !== null) {
        await this.#sleep(REDIAL_MAX_MS);
        continue;
      }
      const refusal = await this.#dialOnce(link, turn);
      if (this.#stopped) return;
      if (refusal === "served") waitMs = REDIAL_FIRST_MS;
      const patienceMs = refusal === "refused" ? REDIAL_REFUSED_MS : waitMs;
      const jitter = 0.5 + this.#host.ports.random.fraction() / 2;
      await this.#sleep(patienceMs * jitter);
      waitMs = Math.min(waitMs * REDIAL_FACTOR, REDIAL_MAX_MS);
    }
  }

  /** Sleeps, or until the hub stops. */
  #sleep(ms: number): Promise<void> {
    return new Promise((wake) => {
      const end = () => {
        timer.cancel();
        this.#sleepers.delete(end);
        wake();
      };
      const timer = this.#host.ports.clock.after(ms, () => end());
      this.#sleepers.add(end);
    });
  }

  async #dialOnce(link: Link, turn: number): Promise<DialEnd> {
    const { addresses } = link.config;
    const address = addresses[turn % addresses.length] ?? "";
    try {
      const connection = await this.#host.ports.network.dial(address);
      if (this.#stopped) {
        connection.close();
        return "failed";
      }
      return await this.#meet(connection, { node: link.peerName, link }, () => {});
    } catch (error) {
      if (link instanceof UpstreamLink) link.failed(error);
      this.#host.ports.journal.write("debug", "cannot connect", {
        link: link.config.name,
        reason: describeError(error),
      });
      return "failed";
    }
  }

  #accept(connection: Connection): void {
    if (this.#stopped || this.#unproved >= UNPROVED_CONNECTIONS_MAX) {
      connection.close();
      return;
    }
    this.#unproved++;
    let counted = true;
    const proved = () => {
      if (counted) this.#unproved--;
      counted = false;
    };
    this.#meet(connection, null, proved).catch((error) => {
      this.#strangers.write("warn", "a connection was dropped before it proved itself", {
        remote: connection.remote,
        reason: describeError(error),
      });
    }).finally(proved);
  }

  /** `callee`: whom this end has dialled, and for which link; null at the listening end. */
  async #meet(connection: Connection, callee: Callee | null, proved: () => void): Promise<DialEnd> {
    const wire = new Wire(connection, this.#host.ports.clock);
    this.#wires.add(wire);
    try {
      const purpose = callee !== null && callee.link === null ? "view" : "link";
      const greeting = await greet(this.#host, wire, callee?.node ?? null, purpose);
      if (greeting.kind === "refused") {
        const { refusal, byUs } = greeting;
        this.#tellRefusal(refusal, callee?.link ?? null, wire.remote, byUs);
        return endOf(refusal);
      }
      proved();
      return await this.#goOn(wire, greeting.peer, callee);
    } catch (error) {
      throw wire.reasonOf(error);
    } finally {
      wire.close();
      this.#wires.delete(wire);
    }
  }

  /** Both ends are proved: what they know of the tree is shared, and what link they have then is served. */
  async #goOn(wire: Wire, peer: Hello, callee: Callee | null): Promise<DialEnd> {
    const conflict = await this.#host.meet(peer);
    const isLook = peer.purpose === "view" || (callee !== null && callee.link === null);
    if (wire.closed || this.#stopped || (isLook && conflict === null)) return "served";
    const link = callee?.link ?? this.#linkTo(peer.node);
    // It may be another's by now.
    if (callee !== null && link !== undefined && !this.#links().includes(link)) return "served";
    const refusal = conflict ?? this.#refusalOf(link, peer, callee === null);
    if (refusal !== null || link === undefined) {
      if (refusal !== null) await this.#refuse(wire, refusal, callee?.link ?? null);
      return "refused";
    }
    await link.serve(wire, peer);
    return link.refusal === null ? "served" : endOf(link.refusal);
  }

  async #refuse(wire: Wire, refusal: Refusal, link: Link | null): Promise<void> {
    this.#tellRefusal(refusal, link, wire.remote, true);
    wire.send(jsonFrame(FrameType.REFUSE, refusal));
    await wire.drain();
  }

  /** Why a proved peer has no link to this node, or not now. */
  #refusalOf(link: Link | undefined, peer: Hello, isListening: boolean): Refusal | null {
    const { name } = this.#host.config;
    if (link === undefined) {
      const message = `${name} has no link to "${peer.node}", as it knows the cascade`;
      return { code: "no-link", message };
    }
    if (isListening && this.#dials(link)) {
      const message = `by the topology of ${name}, ${name} dials ${peer.node}`;
      return { code: "no-link", message };
    }
    return pausedRefusal(link) ?? link.admitProved(peer);
  }

  #linkTo(node: string): Link | undefined {
    return this.#links().find((link) => link.peerName === node);
  }

  /** Whether a connection to that node is up. */
  isConnected(node: string): boolean {
    return this.#linkTo(node)?.connected ?? false;
  }

  /** Dials a node, exchanges with it what both know of the tree, and hangs up. Throws `unreachable`, ... */
  async look(node: string): Promise<void> {
    const link = this.#linkTo(node);
    const own = link !== undefined && this.#dials(link) ? link.config.addresses : [];
    const known = this.#host.config.tree?.nodes.find(({ name }) => name === node)?.addresses ?? [];
    let failure: unknown = new CascadeError("unreachable", `${node} has no address to dial`);
    for (const address of own.length > 0 ? own : known) {
      try {
        const connection = await this.#host.ports.network.dial(address);
        if (this.#stopped) return connection.close();
        const end = await this.#meet(connection, { node, link: null }, () => {});
        if (end !== "refused") return;
        failure = new CascadeError("refused", `${node} refused`);
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  }

  /** Other links: those that stay are left alone. One call at a time. */
  async rewire({ upstream, downstream }: Place): Promise<void> {
    const host = this.#host;
    const isSame = (a: LinkConfig | null, b: LinkConfig | null) =>
      JSON.stringify(a) === JSON.stringify(b);
    for (const link of [...this.downstream]) {
      if (downstream.some((config) => isSame(config, link.config))) continue;
      this.downstream.splice(this.downstream.indexOf(link), 1);
      link.retire();
    }
    if (!isSame(upstream, this.upstream?.config ?? null)) {
      const old = this.upstream;
      this.upstream = null;
      await old?.retire();
      if (this.#stopped) return;
      this.upstream = upstream === null ? null : new UpstreamLink(host, upstream);
      if (this.upstream !== null) this.#begin(this.upstream);
    }
    for (const config of downstream) {
      if (this.downstream.some((link) => isSame(config, link.config))) continue;
      const link = new DownstreamLink(host, config);
      await link.map.load(host.ports.journal, host.deltas.isInPlace);
      if (this.#stopped) return;
      this.downstream.push(link);
      this.#begin(link);
    }
    for (const wake of [...this.#sleepers]) wake();
    host.onLinkProgress();
  }

  #begin(link: Link): void {
    if (this.#dials(link)) this.#dialForever(link);
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
    for (const wake of [...this.#sleepers]) wake();
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
    for (const wake of this.#sleepers) wake();
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
