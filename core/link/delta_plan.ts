/**
 * Which delta takes a peer on from where it stands: one that is here already, one of the log, or one of
 * the volumes; or the rest of one that was cut off. The only place that decides it.
 *
 * @module
 */
import { assert } from "../assert.ts";
import { CascadeError, isCascadeError } from "../errors.ts";
import { BlockSet } from "../delta/block_set.ts";
import { LogCoalescer } from "../delta/coalesce.ts";
import { PASSES_MAX } from "../delta/delta_body.ts";
import type { DeltaHeader } from "../delta/delta_format.ts";
import { type DeltaSource, ForwardedDelta } from "../delta/delta_source.ts";
import type { DirtyMap } from "../delta/dirty_map.ts";
import { type Touched, touchedIn } from "../delta/map_chain.ts";
import { goesOnFrom, visitExtents } from "../delta/fold.ts";
import { type DeltaGround, MadeDelta } from "../delta/made_delta.ts";
import type { StagedMessage } from "./messages.ts";

/** Data ranges of a volume that are asked for at once. */
const RANGES_MAX = 4096;

/** Where a peer stands. */
export interface PeerPlace {
  /** Final there, and on this node's history. */
  readonly lsn: number;
  /** It never held anything, and cannot be given all of the log. */
  readonly needsSeed: boolean;
  /** Its volumes hold a part of a delta that was taken in place. */
  readonly inPlace: boolean;
  /** What it has of a delta that was cut off. */
  readonly staged: StagedMessage | null;
}

/** What a plan is made from. */
export interface PlanGround extends DeltaGround {
  readonly cluster: string;
  readonly volumeNames: readonly string[];
  readonly log: DeltaGround["log"] & { readonly startLsn: number };
  /** 32 hexadecimal digits, random. */
  readonly newId: () => string;
  /** What was touched since the last seed file was made here, or null. */
  readonly seedMap?: () => DirtyMap | null;
  /** Something else writes the volumes: they are read as they were scanned. */
  readonly scans: boolean;
  /** Why the volumes cannot be read now, or null. */
  readonly imageLacks: () => string | null;
  /** Whether such an id was given out by this node, in this life or an earlier one of its folder. */
  readonly isOwn: (id: string) => boolean;
}

/** A delta that is ready to be shipped, and what the peer has of it. */
export interface Planned {
  readonly source: DeltaSource;
  readonly staged: StagedMessage | null;
  /** It is not known what the peer lacks: it is given all blocks that it does not have already. */
  readonly isBlind?: boolean;
}

/** Blocks that a peer is to be given; `mends`: since it wrote them itself, in an abandoned epoch. */
interface Repair {
  readonly blocks: BlockSet;
  readonly mends: boolean;
  deltaId: string | null;
}

/** See the module's text. */
export class DeltaPlanner {
  readonly ground: PlanGround;
  /** What a peer that stands there lacks of the log that is gone; null: that is not known. */
  readonly #since: (lsn: number) => Touched | null;
  /** A delta that was cut off with its connection: the next one may go on with it. */
  #kept: MadeDelta | null = null;
  /** Blocks that the peer is to be given once more; the delta that does it, once there is one. */
  #repair: Repair | null = null;

  constructor(ground: PlanGround, since: (lsn: number) => Touched | null) {
    this.ground = ground;
    this.#since = since;
  }

  /** The log from here on is needed for the delta that was cut off. */
  get heldLsn(): number {
    return this.#kept?.heldLsn ?? Infinity;
  }

  /** The log below `lsn` goes. */
  async foldTo(lsn: number): Promise<void> {
    await this.#kept?.foldTo(lsn);
  }

  /** The connection of a delta is gone. */
  keep(source: DeltaSource): void {
    this.forget();
    if (!(source instanceof MadeDelta)) return source.close();
    source.leave();
    this.#kept = source;
  }

  /** Nobody goes on with what was cut off. */
  forget(): void {
    this.#kept?.close();
    this.#kept = null;
  }

  /** The next delta has these blocks too. Not kept across a restart: a verification finds them again. */
  repair(blocks: BlockSet): void {
    this.forget();
    this.#repair = { blocks, mends: false, deltaId: null };
  }

  /** The peer stands at a fork, and wrote these blocks behind it. It tells them each time that it connects. */
  mend(blocks: BlockSet): void {
    const kept = this.#kept?.header.mends === true ? this.#kept.header.id : null;
    if (kept === null) this.forget();
    this.#repair = { blocks, mends: true, deltaId: kept };
  }

  /** Blocks are yet to be repaired. */
  get isRepairing(): boolean {
    return this.#repair !== null;
  }

  /** The peer took a delta; with null, or that of a repair, the repair is over. */
  taken(deltaId: string | null): void {
    if (deltaId === null || this.#repair?.deltaId === deltaId) this.#repair = null;
  }

  /** Whether the log goes on from here, record by record. */
  streamsFrom(lsn: number): boolean {
    const { log } = this.ground;
    return lsn >= log.startLsn && log.gapAt(lsn) === null;
  }

  /** Whether all that follows here is kept as it came: log, and the deltas that it goes on behind. */
  goesOnFrom(lsn: number): boolean {
    return goesOnFrom(this.ground, lsn);
  }

  /** Whether what a peer that stands here lacks is known: less than all. */
  reaches(lsn: number): boolean {
    return this.goesOnFrom(lsn) || (this.hasVolumes && this.#touchedFrom(lsn) !== null);
  }

  /** The volumes are about to be read. Throws `refused` when they cannot be now. */
  #needImage(): void {
    const lacking = this.ground.imageLacks();
    if (lacking !== null) throw new CascadeError("refused", lacking, { retryable: true });
  }

  get hasVolumes(): boolean {
    return this.ground.volumes.length > 0;
  }

  /** The map that serves a peer which stands here, with the least that it has already; or null. */
  #touchedFrom(lsn: number): Touched | null {
    const { history, seedMap } = this.ground;
    const seeded = seedMap?.() ?? null;
    let best: Touched | null = null;
    for (const map of [this.#since(lsn), seeded === null ? null : touchedIn(seeded)]) {
      if (map === null || lsn < map.fromLsn || map.fromLsn < (best?.fromLsn ?? 0)) continue;
      if (map.fromLsn === 0 || history.idAt(map.fromLsn) === map.epochId) best = map;
    }
    return best;
  }

  /** What a peer would be sent; `coalesce` as for a plan. Makes nothing. */
  async preview(
    fromLsn: number,
    toLsn: number,
    coalesce: boolean,
  ): Promise<{ logBytes: number; deltaBytes: number }> {
    const { log, shelf, sizes, clock } = this.ground;
    let deltaBytes = 0;
    for (let lsn = fromLsn; lsn < toLsn;) {
      const held = this.streamsFrom(lsn) ? null : shelf.covering(lsn);
      if (held !== null) {
        deltaBytes += held.bodyBytes;
        lsn = held.toLsn;
      } else if (this.streamsFrom(lsn)) {
        const end = Math.min(toLsn, log.nextGap(lsn)?.fromLsn ?? Infinity);
        const range = { log, sizes, fromLsn: lsn, toLsn: end, clock };
        deltaBytes += coalesce ? (await new LogCoalescer(range).plan()).deltaBytes : end - lsn;
        lsn = end;
      } else {
        const set = await this.#setOf(lsn, this.ground.appliedLsn());
        deltaBytes += set?.countBytes() ?? sizes.reduce((sum, size) => sum + size, 0);
        break;
      }
    }
    return { logBytes: Math.max(0, toLsn - fromLsn), deltaBytes };
  }

  /**
   * The next delta for a peer; null when it needs none: it has all, or the log goes on there. `coalesce`:
   * make one of the log too, up to what is stable now.
   */
  async plan(peer: PeerPlace, coalesce: boolean): Promise<Planned | null> {
    const resumed = await this.#resume(peer);
    this.forget();
    if (resumed !== null) return resumed;
    const { shelf } = this.ground;
    if (peer.needsSeed) return this.#seed(peer.inPlace);
    if (peer.inPlace || this.isRepairing) return await this.#ofVolume(peer.lsn);
    if (this.streamsFrom(peer.lsn)) return coalesce ? await this.#ofLog(peer.lsn) : null;
    const held = shelf.covering(peer.lsn);
    if (held !== null) return { source: new ForwardedDelta(held), staged: null };
    return await this.#ofVolume(peer.lsn);
  }

  async #resume(peer: PeerPlace): Promise<Planned | null> {
    const { staged } = peer;
    if (staged === null || !this.#isMine(staged.header) || !this.#canBe(staged)) return null;
    const { header, position, cursor } = staged;
    const kept = this.#kept;
    if (kept?.header.id === header.id && kept.canSeek(position, cursor)) {
      this.#kept = null;
      kept.seek(position, cursor);
      return { source: kept, staged, isBlind: kept.isBlind && cursor.pass === 1 };
    }
    const held = this.ground.shelf.deltas.find((delta) => delta.header.id === header.id);
    if (held !== undefined) {
      if (header.fromLsn > peer.lsn || held.toLsn < peer.lsn) return null;
      if (!held.beginsRecord(position)) return null;
      const source = new ForwardedDelta(held);
      source.seek(position);
      return { source, staged };
    }
    const source = await this.#remake(header, peer, cursor.pass);
    source?.seek(position, cursor);
    return source === null ? null : { source, staged, isBlind: source.isBlind };
  }

  /** What a peer says to have is believed as far as it can be: nothing is read where nothing begins. */
  #canBe({ header: { fromLsn, sinceLsn, toLsn }, cursor }: StagedMessage): boolean {
    const { log, sizes } = this.ground;
    const { pass, volume, offset } = cursor;
    const isPlace = pass > 0 && pass <= PASSES_MAX && offset <= (sizes[volume] ?? -1);
    // Where a delta of volumes ends is known at its end.
    return isPlace && [fromLsn, sinceLsn, toLsn ?? 0].every((lsn) => log.beginsRecord(lsn));
  }

  /** Whether the beginning of the delta lies on this history. */
  #isMine(header: DeltaHeader): boolean {
    const { cluster, history } = this.ground;
    if (header.cluster !== cluster) return false;
    return header.fromLsn === 0 || history.idAt(header.fromLsn) === header.epochId;
  }

  /**
   * A delta that an earlier life of this node began, from the same parts. Not one of another node, which
   * may have read its volumes as of an LSN that this one has not reached.
   */
  async #remake(header: DeltaHeader, peer: PeerPlace, pass: number): Promise<MadeDelta | null> {
    const { log, volumes, stableLsn, appliedLsn, isOwn } = this.ground;
    if (!isOwn(header.id)) return null;
    if (header.fromLsn > peer.lsn || header.source === "scan") return null;
    if (header.sinceLsn < log.startLsn) return null;
    if ((header.mends ?? false) !== (this.#repair?.mends ?? false)) return null;
    const isSolid = log.gaps.every(({ toLsn }) => toLsn <= header.sinceLsn);
    if (!isSolid && !this.#isScanned(header)) return null;
    if (header.source === "volume") this.#needImage();
    // The peer has all of the first pass. What the later ones carry was touched since that began: the
    // log from there on, in a pass of its own behind what is staged, overrides all of it.
    if (pass > 1) {
      if (this.#repair !== null) this.#repair.deltaId = header.id;
      return new MadeDelta(this.ground, header, new BlockSet(this.ground.sizes));
    }
    if (header.source === "log") {
      if (header.toLsn === null || header.toLsn > stableLsn()) return null;
      return new MadeDelta(this.ground, header, null);
    }
    if (volumes.length === 0 || header.sinceLsn > appliedLsn()) return null;
    // Whether the first one was for blank volumes is not known any more.
    if (header.full) return this.#ofAll(header);
    const set = await this.#setOf(header.fromLsn, header.sinceLsn);
    if (this.#repair !== null) {
      this.#repair.deltaId = header.id;
      if (set !== null) addAll(set, this.#repair.blocks);
    }
    return set === null ? this.#ofAll(header) : new MadeDelta(this.ground, header, set);
  }

  /** What each scan found since is here, to be read again: that is how such a node goes on. */
  #isScanned({ source, sinceLsn }: DeltaHeader): boolean {
    return this.ground.scans && source === "volume" && this.goesOnFrom(sinceLsn);
  }

  /** `isBegun`: an earlier first copy left something there, also where there are holes here now. */
  #seed(isBegun: boolean): Planned | null {
    if (this.ground.volumes.length === 0) return null;
    this.#needImage();
    const header = this.#header(0, "volume", null, this.ground.appliedLsn(), true);
    if (isBegun) return { source: this.#ofAll(header), staged: null };
    return { source: new MadeDelta(this.ground, header, this.#allData()), staged: null };
  }

  async #ofLog(fromLsn: number): Promise<Planned | null> {
    const { log, stableLsn } = this.ground;
    const toLsn = Math.min(stableLsn(), log.nextGap(fromLsn)?.fromLsn ?? Infinity);
    if (toLsn <= fromLsn) return null;
    const header = this.#header(fromLsn, "log", toLsn, fromLsn, false);
    const source = new MadeDelta(this.ground, header, null);
    await source.plan();
    return { source, staged: null };
  }

  async #ofVolume(fromLsn: number): Promise<Planned | null> {
    const { volumes, appliedLsn } = this.ground;
    if (volumes.length === 0) return null;
    this.#needImage();
    const sinceLsn = appliedLsn();
    const set = await this.#setOf(fromLsn, sinceLsn);
    const header = this.#header(set === null ? 0 : fromLsn, "volume", null, sinceLsn, false);
    if (this.#repair !== null) {
      this.#repair.deltaId = header.id;
      if (set !== null) addAll(set, this.#repair.blocks);
    }
    if (set === null) return { source: this.#ofAll(header), staged: null, isBlind: true };
    return { source: new MadeDelta(this.ground, header, set), staged: null };
  }

  /** What was touched in [fromLsn, untilLsn); null where that is not known any more. */
  async #setOf(fromLsn: number, untilLsn: number): Promise<BlockSet | null> {
    const set = new BlockSet(this.ground.sizes);
    const { log, shelf } = this.ground;
    let lsn = fromLsn;
    if (
      fromLsn < log.startLsn || (log.gapAt(fromLsn) !== null && shelf.covering(fromLsn) === null)
    ) {
      const map = this.#touchedFrom(fromLsn);
      const blocks = map?.blocks() ?? null;
      if (map === null || blocks === null) return null;
      set.addAll(blocks);
      lsn = map.foldLsn;
    }
    try {
      await visitExtents(this.ground, lsn, untilLsn, (volume, offset, length) => {
        set.add(volume, offset, length);
      });
    } catch (error) {
      // A delta that was taken in place left nothing to tell what it touched.
      if (isCascadeError(error, "log-gone")) return null;
      throw error;
    }
    return set;
  }

  /** What the peer lacks is not known any more: all blocks, holes too. */
  #ofAll(header: DeltaHeader): MadeDelta {
    const set = new BlockSet(this.ground.sizes);
    for (const [number, sizeBytes] of this.ground.sizes.entries()) set.add(number, 0, sizeBytes);
    // A node without an image has nothing to be compared with.
    return new MadeDelta(this.ground, header, set, !header.full);
  }

  /** All of the volumes that is not a hole. */
  #allData(): BlockSet {
    const set = new BlockSet(this.ground.sizes);
    for (const [number, volume] of this.ground.volumes.entries()) {
      for (let at = 0; at < volume.sizeBytes;) {
        const ranges = volume.appliedDataRanges(at, volume.sizeBytes - at, RANGES_MAX);
        for (const { start, end } of ranges) set.add(number, start, end - start);
        if (ranges.length < RANGES_MAX) break;
        at = ranges.at(-1)?.end ?? volume.sizeBytes;
      }
    }
    return set;
  }

  #header(
    fromLsn: number,
    source: DeltaHeader["source"],
    toLsn: number | null,
    sinceLsn: number,
    full: boolean,
  ): DeltaHeader {
    const { cluster, history, sizes, volumeNames, newId } = this.ground;
    assert(sizes.length === volumeNames.length, "a size for each volume");
    return {
      id: newId(),
      cluster,
      epochId: history.idAt(fromLsn),
      fromLsn,
      source,
      toLsn,
      sinceLsn,
      full,
      volumes: sizes.map((sizeBytes, number) => ({ name: volumeNames[number] ?? "", sizeBytes })),
      ...(this.#repair?.mends ? { mends: true } : {}),
    };
  }
}

function addAll(set: BlockSet, blocks: BlockSet): void {
  for (const { volume, offset, length } of blocks.extents()) set.add(volume, offset, length);
}
