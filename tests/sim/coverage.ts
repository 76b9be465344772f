/**
 * What a run met: which deltas, made how, ended how, and in which phase of them nodes died and
 * connections broke. A kind of trouble that no run meets is not tested.
 *
 * @module
 */
import type { CascadeNode } from "../../core/node.ts";
import type { SimHost } from "./sim_host.ts";

/** A delta that is coming to a node. */
interface Coming {
  readonly id: string;
  readonly kind: string;
  readonly isInPlace: boolean;
  /** Lives of the receiver and of the sender, and whether they were connected, as last seen. */
  lives: string;
  position: number;
  /** What happened since its position last moved. */
  mishaps: Set<string>;
  passes: number;
}

/** See the module's text. */
export class Coverage {
  readonly counts = new Map<string, number>();
  readonly #hosts: readonly SimHost[];
  readonly #coming = new Map<SimHost, Coming>();
  readonly #noted = new Set<string>();
  /** Ids that a node has, or had, on its shelf: what comes from there is forwarded. */
  readonly #committed = new Set<string>();

  constructor(hosts: readonly SimHost[]) {
    this.#hosts = hosts;
  }

  note(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
  }

  /** To be called often. */
  look(): void {
    for (const host of this.#hosts) {
      if (host.node !== null) this.#lookAt(host, host.node);
    }
  }

  /** What the lines of a life met, once each. */
  #lookAtLines(host: SimHost, node: CascadeNode): void {
    for (const { line, config, connected } of node.hub.downstream) {
      const { rawBytes, wireBytes, throttledMs } = line.status(connected);
      const name = `${config.name} ${host.lives}`;
      if (wireBytes < rawBytes) this.#noteOnce(name, "line: packed");
      if (throttledMs > 0) this.#noteOnce(name, "line: throttled");
    }
  }

  #noteOnce(whose: string, what: string): void {
    if (this.#noted.has(`${whose} ${what}`)) return;
    this.#noted.add(`${whose} ${what}`);
    this.note(what);
  }

  #lookAt(host: SimHost, node: CascadeNode): void {
    this.#lookAtLines(host, node);
    const { shelf } = node.pipeline;
    const { inPlace } = node.deltas;
    const header = inPlace?.header ?? shelf.incoming?.header ?? null;
    const known = this.#coming.get(host);
    if (known !== undefined && known.id !== header?.id) {
      const isOver = this.#isOver(node, known);
      // It is being committed, perhaps: that shows before another one comes.
      if (!isOver && header === null) return;
      this.#coming.delete(host);
      if (isOver && !known.isInPlace) this.#committed.add(known.id);
      this.note(`${isOver ? "taken" : "given up"}: ${known.kind}`);
    }
    if (header === null) return;
    const lives = this.#livesOf(host, node);
    const now = this.#coming.get(host);
    if (now === undefined) {
      const job = header.full ? "first copy" : header.source;
      const way = this.#committed.has(header.id) ? "forwarded" : "made";
      const kind = `${way} of ${job}${inPlace === null ? "" : " in place"}`;
      this.#coming.set(host, {
        id: header.id,
        kind,
        isInPlace: inPlace !== null,
        lives,
        position: 0,
        mishaps: new Set(),
        passes: 1,
      });
      return this.note(`begun: ${kind}`);
    }
    this.#follow(now, node, lives);
  }

  #follow(coming: Coming, node: CascadeNode, lives: string): void {
    const staged = node.deltas.taker.staged;
    const position = staged?.position ?? 0;
    if (lives !== coming.lives) {
      const [receiver, sender] = lives.split("/");
      const [receiverBefore, senderBefore] = coming.lives.split("/");
      if (receiver !== receiverBefore) coming.mishaps.add("receiver's death");
      if (sender !== senderBefore && sender !== "0") coming.mishaps.add("sender's death");
      if (receiver === receiverBefore && sender === senderBefore) coming.mishaps.add("cut");
      coming.lives = lives;
    }
    if (position > coming.position) {
      for (const mishap of coming.mishaps) this.note(`gone on with after: ${mishap}`);
      coming.mishaps.clear();
    }
    coming.position = position;
    const pass = staged?.cursor.pass ?? 1;
    if (pass > coming.passes) this.note(`deltas with a pass: ${Math.min(pass, 4)}`);
    coming.passes = Math.max(coming.passes, pass);
  }

  #livesOf(host: SimHost, node: CascadeNode): string {
    const from = host.planned.config.upstream?.from;
    const sender = this.#hosts.find(({ name }) => name === from);
    const isConnected = node.hub.upstream?.connected === true;
    return `${host.lives}/${sender?.node === null ? 0 : sender?.lives}/${isConnected}`;
  }

  #isOver(node: CascadeNode, { id, isInPlace }: Coming): boolean {
    if (isInPlace) return node.deltas.inPlace === null;
    return node.pipeline.shelf.deltas.some(({ header }) => header.id === id);
  }

  /** A node dies, or a line of it breaks: in the midst of what? */
  onMishap(what: string, { node }: SimHost): void {
    if (node === null) return;
    for (const phase of phasesOf(node)) this.note(`${what}: ${phase}`);
  }
}

/** What a node may be in the midst of. */
export const PHASES = [
  "sender planning",
  "sender shipping",
  "sender committing",
  "sender applying",
  "sender with a map",
  "receiver in place",
  "receiver staging",
  "receiver committing",
  "receiver applying",
  "forwarding",
] as const;
export type Phase = (typeof PHASES)[number];

/** What a node is in the midst of. */
export function phasesOf(node: CascadeNode): Phase[] {
  const { pipeline, deltas, hub } = node;
  const { shelf } = pipeline;
  const phases: Phase[] = [];
  for (const link of hub.downstream) {
    const phase = link.state() === "delta" ? link.status().delta?.phase : undefined;
    if (phase !== undefined) phases.push(`sender ${phase}`);
    if (link.status().mapBytes !== null) phases.push("sender with a map");
  }
  if (deltas.isInPlace) phases.push("receiver in place");
  else if (shelf.incoming !== null) phases.push("receiver staging");
  if (pipeline.isInDelta) phases.push("receiver applying");
  if (shelf.deltas.some(({ toLsn }) => toLsn > pipeline.stableLsn)) {
    phases.push("receiver committing");
  }
  if (shelf.deltas.some(({ isInUse }) => isInUse)) phases.push("forwarding");
  return phases;
}
