/**
 * Judges what deltas move by what changed: whoever is given another upstream node, or comes back, is sent the blocks
 * that either side touched since they had the same, and no others; all blocks only where nobody can know which those
 * are.
 *
 * What changed is known from the writes of clients, by epoch. A node must know what was touched for every node that
 * is below it, by the view or by the topology file, since the LSN that this one told last: but for one that has gone
 * back since, as it left an epoch that all had; from where its log was whole when that one came to be below it; and from
 * where its own history is whole: it may have been filled itself. One that leaves an epoch knows it from where it knew
 * the other side to be: what that was given without a word of it is touched, too.
 *
 * @module
 */
import { BLOCK_BYTES_DEFAULT, BlockSet } from "../../core/delta/block_set.ts";
import { type Delta, DeltaShelf } from "../../core/delta/delta_shelf.ts";
import { MadeDelta } from "../../core/delta/made_delta.ts";
import type { Epoch } from "../../core/history.ts";
import { MapChain } from "../../core/delta/map_chain.ts";
import { DeltaPlanner, type PeerPlace, type Planned } from "../../core/link/delta_plan.ts";
import { Descendants, namesBelow } from "../../core/link/descendants.ts";
import { Pipeline } from "../../core/pipeline.ts";
import { declaredPrimary } from "../../core/tree/tree.ts";
import { firstView } from "../../core/tree/view.ts";
import type { SimHost } from "./sim_host.ts";
import { Violation, type World } from "./world.ts";

/** What a client did. */
export interface Touching {
  readonly offset: number;
  readonly length: number;
  readonly endLsn: number;
}

/** Beyond what changed: a tenth, and a block at each end of a few extents. */
const SLACK = 1.1;
const SLACK_BYTES = 4 * BLOCK_BYTES_DEFAULT;

/** A delta that was taken. */
interface Jump {
  readonly from: number;
  readonly to: number;
  readonly mends: boolean;
  readonly isOfAll: boolean;
}

/** See the module's text. */
export class MovedBytes {
  readonly #world: World;
  readonly #hosts: () => readonly SimHost[];
  readonly #ops: ReadonlyMap<string, readonly Touching[]>;
  readonly #sizes: readonly number[];
  readonly #count: (what: string, by?: number) => void;
  /** Below this LSN a host's log and maps tell nothing: it was filled. */
  readonly #filledTo = new Map<string, number>();
  /** Ranges that came to a host as deltas. */
  readonly #jumps = new Map<string, Jump[]>();
  /** Ids of deltas that are of all blocks: what is made from them is so, too. */
  readonly #ofAll = new Set<string>();

  constructor(
    world: World,
    hosts: () => readonly SimHost[],
    ops: ReadonlyMap<string, readonly Touching[]>,
    sizes: readonly number[],
    count: (what: string, by?: number) => void,
  ) {
    this.#world = world;
    this.#hosts = hosts;
    this.#ops = ops;
    this.#sizes = sizes;
    this.#count = count;
  }

  readonly #planned = new Map<string, number>();
  /** What was known of a node before it was heard last; and where it was last that a map could begin. */
  readonly #heard = new WeakMap<Descendants, Map<string, { knownLsn: number; baseLsn: number }>>();
  /** By host: those below it, each with the LSN that the host's log was whole from when it came to be so. */
  readonly #below = new Map<string, ReadonlyMap<string, number>>();
  /** By host and LSN: where the map of what it touched from there on began. */
  readonly #bases = new Map<string, number>();

  /** From now on all that is planned and taken is judged, until what is returned is called. */
  watch(): () => void {
    const { plan } = DeltaPlanner.prototype;
    const { commit } = DeltaShelf.prototype;
    const { moveTo } = Pipeline.prototype;
    const { heard } = Descendants.prototype;
    const { since } = MapChain.prototype;
    const lsns = Object.getOwnPropertyDescriptor(Descendants.prototype, "lsns");
    const lsnsOf = lsns?.get;
    if (lsns === undefined || lsnsOf === undefined) throw new Error("descendants have no LSNs");
    // deno-lint-ignore no-this-alias
    const judge = this;
    DeltaPlanner.prototype.plan = async function (peer, coalesce) {
      const planned = await plan.call(this, peer, coalesce);
      if (planned !== null) judge.#try(() => judge.#onPlan(this, peer, planned));
      return planned;
    };
    DeltaShelf.prototype.commit = async function (trailer) {
      const delta = await commit.call(this, trailer);
      judge.#try(() => judge.#onCommit(this, delta));
      return delta;
    };
    Pipeline.prototype.moveTo = async function (lsn, epochs) {
      const host = judge.#hosts().find(({ node }) => node?.pipeline === this);
      if (host !== undefined) judge.#filledTo.set(host.name, lsn);
      await moveTo.call(this, lsn, epochs);
    };
    Descendants.prototype.heard = function (node, lsn) {
      judge.#onHeard(this, node, lsn);
      heard.call(this, node, lsn);
    };
    // Whatever is let go is let go by these.
    Object.defineProperty(Descendants.prototype, "lsns", {
      configurable: true,
      get(this: Descendants) {
        judge.#onAsked(this);
        return lsnsOf.call(this);
      },
    });
    MapChain.prototype.since = function (lsn) {
      const touched = since.call(this, lsn);
      const host = judge.#hosts().find(({ node }) => node?.deltas.chain === this);
      if (host !== undefined && touched !== null) {
        judge.#bases.set(`${host.name} ${lsn}`, touched.fromLsn);
      }
      return touched;
    };
    return () => {
      MapChain.prototype.since = since;
      Object.defineProperty(Descendants.prototype, "lsns", lsns);
      Descendants.prototype.heard = heard;
      DeltaPlanner.prototype.plan = plan;
      DeltaShelf.prototype.commit = commit;
      Pipeline.prototype.moveTo = moveTo;
    };
  }

  #onAsked(descendants: Descendants): void {
    const host = this.#hosts().find(({ node }) => node?.descendants === descendants);
    const pipeline = host?.node?.pipeline;
    if (host === undefined || pipeline === undefined) return;
    const before = this.#below.get(host.name);
    const { names } = descendants;
    if (before?.size === names.length && names.every((name) => before.has(name))) return;
    const { log, shelf } = pipeline;
    const gone = log.gaps.filter((gap) => shelf.covering(gap.fromLsn) === null);
    const keptFromLsn = gone.at(-1)?.toLsn ?? log.startLsn;
    const now = names.map((name): [string, number] => [name, before?.get(name) ?? keptFromLsn]);
    this.#below.set(host.name, new Map(now));
  }

  #onHeard(descendants: Descendants, node: string, lsn: number): void {
    const all = this.#heard.get(descendants) ?? new Map();
    this.#heard.set(descendants, all);
    const at = this.#hosts().find((host) => host.node?.descendants === descendants)?.node ?? null;
    // What a map holds of the time before that is not parted any more; nor is anything for those above.
    const isExact = at !== null && lsn >= at.deltas.chain.endLsn &&
      descendants.names.includes(node);
    const baseLsn = isExact ? lsn : all.get(node)?.baseLsn ?? 0;
    all.set(node, { knownLsn: descendants.lsnOf(node), baseLsn });
  }

  #try(judge: () => void): void {
    try {
      judge();
    } catch (error) {
      this.#world.fail("correctness", error);
    }
  }

  /** What [fromLsn, toLsn) of a history touched. */
  #touched(epochs: readonly Epoch[], fromLsn: number, toLsn: number): BlockSet {
    const set = new BlockSet(this.#sizes);
    for (const { offset, length } of this.#opsIn(epochs, fromLsn, toLsn)) {
      set.add(0, offset, length);
    }
    return set;
  }

  *#opsIn(epochs: readonly Epoch[], fromLsn: number, toLsn: number): Generator<Touching> {
    for (const [i, { id }] of epochs.entries()) {
      const end = Math.min(toLsn, epochs[i + 1]?.firstLsn ?? Infinity);
      for (const op of this.#ops.get(id) ?? []) {
        if (op.endLsn > fromLsn && op.endLsn <= end) yield op;
      }
    }
  }

  /** What was touched in epochs that a history left behind. */
  #abandoned(epochs: readonly Epoch[]): BlockSet {
    const set = new BlockSet(this.#sizes);
    for (const [id, ops] of this.#ops) {
      const place = epochs.findIndex((epoch) => epoch.id === id);
      const end = place < 0 ? 0 : epochs[place + 1]?.firstLsn ?? Infinity;
      for (const { offset, length, endLsn } of ops) {
        if (endLsn > end) set.add(0, offset, length);
      }
    }
    return set;
  }

  #onPlan(planner: DeltaPlanner, peer: PeerPlace, { source, staged, isBlind }: Planned): void {
    const host = this.#hosts().find(({ node }) => node?.deltas.ground === planner.ground);
    const node = host?.node ?? null;
    const { header } = source;
    if (source.bytesExpected >= this.#allBytes) this.#ofAll.add(header.id);
    if (host === undefined || node === null || staged !== null) return;
    if (peer.needsSeed || peer.inPlace || header.source !== "volume") return;
    // One that is forwarded was judged where it was made.
    if (!(source instanceof MadeDelta)) return;
    const to = node.hub.downstream.find((one) => one.planner === planner)?.config.to ?? "";
    const what = `${host.name} to ${to}, which stands at ${peer.lsn}`;
    const known = this.#heard.get(node.descendants)?.get(to);
    if (isBlind === true) {
      this.#count("deltas of all");
      const keptFromLsn = this.#below.get(host.name)?.get(to) ?? Infinity;
      const isKnown = peer.lsn >= Math.max(keptFromLsn, known?.knownLsn ?? 0);
      if (!isKnown || peer.lsn < this.#filledToOf(host.name)) return;
      if (this.#wasGivenAll(host.name, peer.lsn)) return;
      throw new Violation(`${what}: all blocks are sent, though a map must tell which`);
    }
    const { epochs } = node.pipeline.history;
    if (header.mends === true && this.#tellsAll(to, peer.lsn, epochs)) return;
    const mapLsn = node.deltas.chain.since(peer.lsn)?.fromLsn ?? 0;
    // It told more once than it says to have now: what it had received, and is not sure to be final.
    const beganLsn = known === undefined || known.knownLsn > peer.lsn ? mapLsn : known.baseLsn;
    const fromLsn = this.#widened(host.name, Math.min(peer.lsn, beganLsn));
    if (this.#wasGivenAll(host.name, fromLsn)) return this.#count("deltas of what came as all");
    const changed = this.#touched(epochs, fromLsn, header.sinceLsn);
    if (header.mends === true || this.#mended(host.name, fromLsn)) {
      changed.addAll(this.#abandoned(epochs));
    }
    if (header.mends === true) {
      const touchedFromLsn = this.#bases.get(`${to} ${peer.lsn}`) ?? peer.lsn;
      changed.addAll(this.#touched(epochs, this.#widened(to, touchedFromLsn), peer.lsn));
    }
    this.#count("deltas of maps");
    this.#planned.set(header.id, source.bytesExpected);
    this.#compare(what, source.bytesExpected, changed.countBytes());
  }

  /**
   * A node that leaves an epoch does not know any more what it touched since the fork: that must not be where the one
   * that was promoted over it is below it, since that one's place was known.
   */
  #tellsAll(name: string, forkLsn: number, epochs: readonly Epoch[]): boolean {
    const host = this.#hosts().find((one) => one.name === name);
    const deltas = host?.node?.deltas;
    const isAll = deltas?.isRejoining === true && deltas.touched().countBytes() === this.#allBytes;
    if (host === undefined || !isAll) return false;
    this.#count("tails of all");
    const promoted = epochs.find(({ firstLsn }) => firstLsn >= forkLsn)?.node ?? "";
    const isFilled = forkLsn < this.#filledToOf(name) || this.#wasGivenAll(name, forkLsn);
    if (!this.#isDeclaredBelow(promoted, host) || isFilled) return true;
    throw new Violation(
      `${name} left what follows ${forkLsn} to ${promoted}, and tells of all blocks`,
    );
  }

  get #allBytes(): number {
    return this.#sizes.reduce((sum, size) => sum + size, 0);
  }

  #filledToOf(name: string): number {
    return this.#filledTo.get(name) ?? 0;
  }

  #isDeclaredBelow(name: string, { declared }: SimHost): boolean {
    const { tree } = declared;
    if (tree === null) return false;
    return namesBelow(tree, firstView(declaredPrimary(tree)), declared.name).includes(name);
  }

  /** What came as a delta cannot be told apart. */
  #widened(host: string, lsn: number): number {
    const jumps = this.#jumps.get(host) ?? [];
    return Math.min(
      lsn,
      ...jumps.filter(({ from, to }) => from < lsn && lsn < to).map(({ from }) => from),
    );
  }

  /** A delta of all blocks tells nothing of what was touched. */
  #wasGivenAll(host: string, fromLsn: number): boolean {
    return (this.#jumps.get(host) ?? []).some(({ isOfAll, to }) => isOfAll && to > fromLsn);
  }

  #mended(host: string, fromLsn: number): boolean {
    return (this.#jumps.get(host) ?? []).some(({ to, mends }) => mends && to > fromLsn);
  }

  #compare(what: string, bytes: number, changedBytes: number): void {
    if (bytes <= SLACK * changedBytes + SLACK_BYTES) return;
    throw new Violation(`${what}: ${bytes} bytes are sent, and only ${changedBytes} changed`);
  }

  /** A delta was taken, to its end: all that went over the line for it. */
  #onCommit(shelf: DeltaShelf, { header, trailer, toLsn }: Delta): void {
    const host = this.#hosts().find(({ node }) => node?.pipeline.shelf === shelf);
    if (host === undefined) return;
    const jumps = this.#jumps.get(host.name) ?? [];
    jumps.push({
      from: header.fromLsn,
      to: toLsn,
      mends: header.mends === true,
      isOfAll: header.fromLsn === 0 || this.#ofAll.has(header.id),
    });
    this.#jumps.set(host.name, jumps);
    this.#count("delta bytes", trailer.payloadBytes);
    const plannedBytes = this.#planned.get(header.id);
    if (plannedBytes === undefined) return;
    // What is written while the volumes are read goes behind.
    let laterBytes = 0;
    for (const { offset, length } of this.#opsIn(trailer.history, header.sinceLsn, toLsn)) {
      const end = Math.ceil((offset + length) / BLOCK_BYTES_DEFAULT) * BLOCK_BYTES_DEFAULT;
      laterBytes += end - Math.floor(offset / BLOCK_BYTES_DEFAULT) * BLOCK_BYTES_DEFAULT;
    }
    const what = `${host.name} took the delta ${header.fromLsn} to ${toLsn}`;
    this.#compare(what, trailer.payloadBytes, plannedBytes + laterBytes);
    this.#count("deltas of maps taken");
  }
}
