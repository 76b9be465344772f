/**
 * The clients of the primary: writes, zeroes, trims, flushes and reads, in bursts, through the
 * narrow set of calls that the NBD server uses too. Every write has a content like no other.
 *
 * @module
 */
import type { CascadeNode } from "../../core/node.ts";
import { recordBytes, RecordType } from "../../core/log/record.ts";
import type { ExportBackend } from "../../core/nbd/backend.ts";
import type { Oracle } from "./oracle.ts";
import type { Weather } from "./plan.ts";
import type { Prng } from "./prng.ts";
import type { SimHost } from "./sim_host.ts";
import type { World } from "./world.ts";

const SECTOR_BYTES = 512;
/** A write of this length makes a record of 80 bytes, as is an epoch record of a short name. */
const UNIFORM_BYTES = 20;
/** How long clients wait that are asked to, ms. */
const PATIENCE_MS = 10;

/** See the module's text. One for each life of the primary. */
export class Workload {
  /** Set to end it: nothing new is written, what waits is still heard of. */
  isOver = false;
  batches = 0;
  /** The longest time for which clients had to hold back, ms. */
  waitedMsMax = 0;
  #waitedMs = 0;
  readonly #world: World;
  readonly #prng: Prng;
  readonly #weather: Weather;
  readonly #oracle: Oracle;
  readonly #host: SimHost;
  readonly #hosts: readonly SimHost[];
  readonly #node: CascadeNode;
  readonly #onBatch: () => void;
  #acknowledgedLsn: number;
  #flushedLsn: number;
  #writes: number[] = [];
  #flushes: number[] = [];

  constructor(
    world: World,
    prng: Prng,
    weather: Weather,
    oracle: Oracle,
    host: SimHost,
    hosts: readonly SimHost[],
    node: CascadeNode,
    onBatch: () => void,
  ) {
    this.#world = world;
    this.#prng = prng;
    this.#weather = weather;
    this.#oracle = oracle;
    this.#host = host;
    this.#hosts = hosts;
    this.#node = node;
    this.#onBatch = onBatch;
    this.#acknowledgedLsn = node.front.acknowledgedLsn;
    this.#flushedLsn = node.front.flushedLsn;
    node.front.subscribe({
      onProgress: () => this.#onProgress(),
      onRefused: () => {
        this.#writes = [];
        this.#flushes = [];
      },
    });
    this.#next();
  }

  get #isCurrent(): boolean {
    return this.#host.node === this.#node;
  }

  /** Writes and flushes that were not answered yet. */
  get waiting(): number {
    return this.#isCurrent ? this.#writes.length + this.#flushes.length : 0;
  }

  #next(): void {
    const burst = this.#prng.chance(0.7) ? 0.2 : 3;
    const delayMs = this.#prng.exponential(this.#weather.batchEveryMs * burst);
    this.#world.scheduler.after(delayMs, null, () => this.#turn());
  }

  #turn(): void {
    if (!this.#isCurrent || this.isOver) return;
    if (this.#oracle.history.endLsn > this.#weather.workBytesMax) return;
    const { front } = this.#node;
    if (front.refusal !== null || !front.accepting) {
      this.#waitedMs += PATIENCE_MS;
      this.waitedMsMax = Math.max(this.waitedMsMax, this.#waitedMs);
      this.#world.scheduler.after(PATIENCE_MS, null, () => this.#turn());
      return;
    }
    this.#waitedMs = 0;
    this.batches++;
    this.#oracle.chain.look(this.#hosts, front.flushTicket());
    const ops = this.#prng.between(1, 6);
    for (let i = 0; i < ops && this.#isCurrent && front.accepting; i++) this.#operate();
    if (!this.#isCurrent) return;
    front.commit();
    if (this.#isCurrent && this.#prng.chance(this.#weather.flushChance)) this.flush();
    this.#onBatch();
    this.#onProgress();
    this.#next();
  }

  /** Asks for all that was written to be flushed. */
  flush(): void {
    if (!this.#isCurrent) return;
    const { front } = this.#node;
    this.#flushes.push(front.flushTicket());
    front.requestFlush();
  }

  #operate(): void {
    const number = this.#prng.below(this.#node.exports.length);
    const volume = this.#node.exports[number];
    if (volume === undefined) return;
    const kind = this.#prng.below(20);
    if (this.#weather.isUniform) this.#writeUniform(number, volume);
    else if (kind < 13) this.#write(number, volume);
    else if (kind < 16) this.#zero(number, volume, kind);
    else this.#read(number, volume);
  }

  #write(number: number, volume: ExportBackend): void {
    const { offset, length } = this.#range(volume, this.#weather.payloadBytesMax);
    this.#writeAt(number, volume, offset, length);
  }

  #writeUniform(number: number, volume: ExportBackend): void {
    const offset = this.#prng.below(volume.sizeBytes - UNIFORM_BYTES);
    this.#writeAt(number, volume, offset, UNIFORM_BYTES);
  }

  #writeAt(number: number, volume: ExportBackend, offset: number, length: number): void {
    const payload = this.#oracle.history.stamp(length);
    const endLsn = volume.write(payload, offset);
    this.#note(number, offset, length, payload, endLsn, RecordType.WRITE);
  }

  #zero(number: number, volume: ExportBackend, kind: number): void {
    const { offset, length } = this.#range(volume, volume.sizeBytes);
    const endLsn = kind === 13
      ? volume.trim(offset, length)
      : volume.zero(offset, length, kind === 14);
    this.#note(number, offset, length, null, endLsn, RecordType.ZERO);
  }

  #note(
    volume: number,
    offset: number,
    length: number,
    payload: Uint8Array | null,
    endLsn: number,
    type: RecordType,
  ): void {
    const startLsn = endLsn - recordBytes(type, length);
    this.#world.trace.note("client", "write", volume, offset, length, payload !== null, endLsn);
    this.#oracle.history.add({ volume, offset, length, payload, startLsn, endLsn });
    this.#writes.push(endLsn);
  }

  #read(number: number, volume: ExportBackend): void {
    const { offset, length } = this.#range(volume, 64 * 1024);
    const bytes = new Uint8Array(length);
    volume.read(bytes, offset);
    this.#oracle.expectRead(number, bytes, offset);
  }

  /** Mostly whole sectors; now and then any bytes; a part of the volume is written often. */
  #range(volume: ExportBackend, lengthMax: number): { offset: number; length: number } {
    const prng = this.#prng;
    const unit = prng.chance(0.8) ? SECTOR_BYTES : 1;
    const most = Math.min(lengthMax, volume.sizeBytes);
    const wanted = prng.chance(0.7) ? prng.below(Math.min(most, 8192)) : prng.below(most);
    const length = Math.max(unit, Math.floor(wanted / unit) * unit);
    const hot = prng.chance(0.5) ? volume.sizeBytes : Math.max(length, volume.sizeBytes / 8);
    const offset = Math.floor(prng.below(hot - length + 1) / unit) * unit;
    return { offset, length };
  }

  /** Every move of the two positions is a promise to clients, whether one waits for it or not. */
  #onProgress(): void {
    if (!this.#isCurrent) return;
    const { acknowledgedLsn, flushedLsn } = this.#node.front;
    this.#oracle.chain.look(this.#hosts, this.#node.front.flushTicket());
    if (acknowledgedLsn > this.#acknowledgedLsn) {
      this.#oracle.onAcknowledged(acknowledgedLsn, this.#node, this.#hosts);
    }
    if (flushedLsn > this.#flushedLsn) {
      this.#oracle.onFlushed(flushedLsn, this.#node, this.#hosts);
    }
    this.#acknowledgedLsn = acknowledgedLsn;
    this.#flushedLsn = flushedLsn;
    answer(this.#writes, acknowledgedLsn);
    answer(this.#flushes, flushedLsn);
  }
}

/** Takes away the tickets that may be answered. */
function answer(tickets: number[], lsn: number): void {
  let count = 0;
  while (count < tickets.length && (tickets[count] ?? Infinity) <= lsn) count++;
  tickets.splice(0, count);
}
