/**
 * All links of a node: listens, dials, shakes hands, and gives each proved connection to the link
 * that it belongs to.
 *
 * @module
 */
import { CascadeError } from "../errors.ts";
import type { LinkConfig, OnOverflow } from "../config.ts";
import type { Listener } from "../ports.ts";
import { Dialler, type Link } from "./dialler.ts";
import { DownstreamLink } from "./downstream.ts";
import { Folding } from "./folding.ts";
import type { LinkHost } from "./host.ts";
import { ANSWER_TIMEOUT_MS, Meetings } from "./meetings.ts";
import { type Offer, type PlainAsk, toldSchema } from "../tree/asks.ts";
import type { Place } from "../tree/tree.ts";
import { UpstreamLink } from "./upstream.ts";

/** For so long it is left to the other end to dial a link, ms. */
const DIAL_INSTEAD_MS = 5_000;

/** A question goes through so many nodes at the most. */
const HOPS_MAX = 8;

export class LinkHub {
  upstream: UpstreamLink | null;
  readonly downstream: DownstreamLink[];
  /** What lets old log go. */
  readonly folding: Folding;
  readonly #host: LinkHost;
  readonly #listeners: Listener[] = [];
  readonly #diallers = new Set<Dialler>();
  readonly #meetings: Meetings;
  /** Since when a link to that node waits for the other end to dial. */
  readonly #idleSinceMs = new Map<string, number>();
  #stopped = false;

  constructor(host: LinkHost) {
    this.#host = host;
    this.#meetings = new Meetings(host, {
      linkTo: (node) => this.#linkTo(node),
      dials: this.#dials,
    });
    const { upstream, downstream } = host.config;
    this.upstream = upstream === null ? null : new UpstreamLink(host, upstream);
    this.downstream = downstream.map((link) => new DownstreamLink(host, link));
    this.folding = new Folding(host, this.downstream);
  }

  #links(): Link[] {
    return this.upstream === null ? [...this.downstream] : [this.upstream, ...this.downstream];
  }

  /** Whether this end is the one that dials. */
  readonly #dials = (link: Link): boolean =>
    link.config.dial === (link instanceof UpstreamLink ? "to" : "from");

  /** Addresses that are listened on. */
  get addresses(): string[] {
    return this.#listeners.map((listener) => listener.address);
  }

  /** Before {@linkcode LinkHub.start}: what is known of nodes below from an earlier life. */
  async load(): Promise<void> {
    const { deltas } = this.#host;
    await deltas.chain.load(deltas.isInPlace);
  }

  /** Opens the ports and begins to dial. Throws when an address cannot be listened on. */
  async start(): Promise<void> {
    for (const address of this.#host.config.listen) {
      const { network } = this.#host.ports;
      this.#listeners.push(
        await network.listen(address, (connection) => this.#meetings.accept(connection)),
      );
    }
    for (const link of this.#links()) this.#begin(link);
  }

  #dial(link: Link): void {
    const dialler = new Dialler({
      host: this.#host,
      link,
      meet: (wire) => this.#meetings.meet(wire, { node: link.peerName, link }),
      isOver: () => this.#stopped || !this.#links().includes(link),
    });
    this.#diallers.add(dialler);
    dialler.run().finally(() => this.#diallers.delete(dialler));
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
    const addresses = this.#addressesOf(node);
    const link = this.#linkTo(node);
    if (addresses.length > 0 || link?.connected !== true) {
      await this.#meetings.look(node, addresses, null);
      return this.#dialInstead(node, addresses);
    }
    await this.#exchange(node, link);
  }

  /** The same with one that only dials, over its link. An older version hangs up over it, dials again, and hears. */
  async #exchange(node: string, link: Link): Promise<void> {
    const { config, ports: { clock }, view: told } = this.#host;
    const question = { ask: "view", node: config.name, view: told } as const;
    const answer = await link.inquiries.ask(clock, question, ANSWER_TIMEOUT_MS);
    const refusal = await this.#host.meet({ node, view: toldSchema.parse(answer).view });
    if (refusal !== null) link.close(new CascadeError("refused", refusal.message));
  }

  /**
   * Topology files of different ages need not agree on who dials a link that a change of the tree has brought about:
   * where nobody does, the other end was just reached, and this one does.
   */
  #dialInstead(node: string, addresses: readonly string[]): void {
    const { clock } = this.#host.ports;
    const link = this.#linkTo(node);
    const isIdle = link !== undefined && !link.connected && !this.#dials(link) &&
      link.pausedWhy === null && this.#host.view !== null && !this.#stopped;
    if (!isIdle) return void this.#idleSinceMs.delete(node);
    const sinceMs = this.#idleSinceMs.get(node) ?? clock.monotonicMs();
    this.#idleSinceMs.set(node, sinceMs);
    if (clock.monotonicMs() - sinceMs < DIAL_INSTEAD_MS) return;
    this.#idleSinceMs.delete(node);
    this.#meetings.look(node, addresses, link).catch(() => {/* it is tried again */});
  }

  /**
   * Asks a node one question: over a connection of its own, or, where it only dials, over its link, or through the
   * neighbour on the way to it. Throws what {@linkcode Meetings.ask} throws.
   */
  async ask(node: string, question: PlainAsk, timeoutMs = 0, hops = HOPS_MAX): Promise<unknown> {
    const addresses = this.#addressesOf(node);
    if (addresses.length > 0) return await this.#meetings.ask(node, addresses, question, timeoutMs);
    const { clock } = this.#host.ports;
    const patienceMs = timeoutMs + ANSWER_TIMEOUT_MS;
    const link = this.#linkTo(node);
    if (link?.connected === true) return await link.inquiries.ask(clock, question, patienceMs);
    const next = this.#nextTo(node);
    if (next === undefined || hops === 0) {
      throw new CascadeError("unreachable", `${node} has no address to dial`, { retryable: true });
    }
    const pass = { ask: "pass", to: node, question, timeoutMs, hops: hops - 1 } as const;
    return await next.inquiries.ask(clock, pass, patienceMs);
  }

  /** The neighbour on the way to a node: what tells of it below, or else what feeds this one. */
  #nextTo(node: string): Link | undefined {
    const below = this.downstream.find((link) => link.subtree.some(({ to }) => to === node));
    const next = below ?? this.upstream ?? undefined;
    return next?.connected === true ? next : undefined;
  }

  /** Whether an answer is on its way to whoever asked. */
  get isAnswering(): boolean {
    return this.#meetings.isAnswering || this.#links().some((link) => link.inquiries.isAnswering);
  }

  #addressesOf(node: string): readonly string[] {
    const link = this.#linkTo(node);
    const own = link !== undefined && this.#dials(link) ? link.config.addresses : [];
    if (own.length > 0) return own;
    return this.#host.config.tree?.nodes.find(({ name }) => name === node)?.addresses ?? [];
  }

  /** By what a node that stands at `lsn` would go on if `config` were its link to this one, and how much that is. */
  async offer(config: LinkConfig, lsn: number): Promise<Offer> {
    const link = this.downstream.find(({ config: { to } }) => to === config.to);
    const { planner } = link ?? new DownstreamLink(this.#host, config);
    const endLsn = this.#host.pipeline.stableLsn;
    if (lsn >= endLsn) return { by: "nothing", bytes: 0 };
    const { deltaBytes } = await planner.preview(lsn, endLsn, config.mode === "periodic");
    if (planner.streamsFrom(lsn)) return { by: "log", bytes: deltaBytes };
    if (planner.goesOnFrom(lsn)) return { by: "delta", bytes: deltaBytes };
    if (planner.reaches(lsn)) return { by: "map", bytes: deltaBytes };
    if (this.#host.config.volumes.some(({ path }) => path !== null)) {
      return { by: "all", bytes: deltaBytes };
    }
    const { name } = this.#host.config;
    const message = `${name} has not the log any more that ${config.to} lacks, and no volumes`;
    throw new CascadeError("refused", message);
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
      this.downstream.push(link);
      this.#begin(link);
    }
    for (const dialler of this.#diallers) dialler.wake();
    host.onLinkProgress();
  }

  #begin(link: Link): void {
    if (this.#dials(link)) this.#dial(link);
  }

  /**
   * Pauses a link of this node: settles when that is durable. Its peer is told when it asks; the log
   * that it needs is kept as long as the budget allows. Throws `not-found`, `usage`.
   */
  async pause(name: string, reason: string | null): Promise<void> {
    const { byHand, ports } = this.#host;
    const link = this.#linkNamed(name);
    const durable = byHand.pauses.add({ link: name, reason, sinceMs: ports.clock.nowMs() });
    link.pause();
    await durable;
  }

  /** Lets a paused link go on. Throws `not-found`; `usage` when it is the topology that pauses it. */
  async resume(name: string): Promise<void> {
    // One that the tree does not have just now may be there again, and be paused still.
    const isDeclared = this.#host.config.tree?.links.some((declared) => declared.name === name) ??
      false;
    const isKept = isDeclared || this.#host.byHand.pauses.of(name) !== null;
    const link = isKept
      ? this.#links().find(({ config }) => config.name === name)
      : this.#linkNamed(name);
    if (link?.config.paused === true) {
      throw new CascadeError("usage", `link ${name} is paused by the topology`, {
        hint: "Remove `paused: true` there, and start the node again",
      });
    }
    await this.#host.byHand.pauses.remove(name);
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
    this.folding.tick();
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

  /** These peers are known to be away: clients need not find out once more. */
  doWithout(peers: readonly string[]): void {
    for (const { config, policy } of this.downstream) {
      if (peers.includes(config.to)) policy.doWithout();
    }
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
    this.#host.descendants.cutBack(this.#host.pipeline.stableLsn);
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
    this.#meetings.stop();
  }
}

function least(links: readonly DownstreamLink[]): number {
  return Math.min(...links.map((link) => link.neededLsn()), Infinity);
}
