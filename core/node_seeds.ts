/**
 * Seed files as a node makes them: a delta that takes a blank node to where this one is, as one stream
 * of bytes. The volumes are read while clients write; the log written meanwhile goes behind.
 *
 * @module
 */
import { CascadeError, describeError } from "./errors.ts";
import { type DeltaTrailer, encodeDeltaHeader, encodeDeltaTrailer } from "./delta/delta_format.ts";
import type { DeltaSource } from "./delta/delta_source.ts";
import { seedProof } from "./delta/seed_file.ts";
import { RECORD_BYTES_MAX } from "./limits.ts";
import { DeltaPlanner } from "./link/delta_plan.ts";
import type { LogHolder } from "./link/folding.ts";
import type { StagedMessage } from "./link/messages.ts";
import type { NodeDeltas, NodeParts } from "./node_deltas.ts";
import type { Bytes, Clock } from "./ports.ts";

/** Read in one go: clients are served in between. */
const READ_BYTES = RECORD_BYTES_MAX + 256 * 1024;

/** Takes the next bytes of a seed file; what it was given stays as it is until it settles. */
export type SeedSink = (bytes: Bytes) => Promise<void>;

/** A seed file that is being made. */
export interface SeedMaking {
  /** It goes on behind what there is of it: no header is written. */
  readonly resumes: boolean;
  /** Bytes of the body in all, as far as can be told now. */
  readonly bytesExpected: number;
  /** Writes all that is missing. Throws what the sink, the disk or the log throws. */
  write(sink: SeedSink): Promise<DeltaTrailer>;
  /** Safe to call again. */
  close(): void;
}

/** What makes seed files. */
export interface SeedMaker {
  /**
   * Begins one, or goes on with one that was cut off. Throws `usage` on a node without volumes, `refused`
   * on one without a whole image.
   */
  begin(staged: StagedMessage | null): Promise<SeedMaking>;
}

/** See the module's text. */
export class NodeSeeds implements SeedMaker {
  readonly #node: NodeParts;
  readonly #deltas: NodeDeltas;

  constructor(node: NodeParts, deltas: NodeDeltas) {
    this.#node = node;
    this.#deltas = deltas;
  }

  /** See {@linkcode SeedMaker.begin}. */
  async begin(staged: StagedMessage | null): Promise<SeedMaking> {
    const { config: { name, secret }, hub, ports, state, save } = this.#node;
    const { ground, isInPlace, isFresh } = this.#deltas;
    if (ground.volumes.length === 0) {
      throw new CascadeError("usage", `${name} keeps no volumes, it is a log-only node`, {
        hint: "Have the seed made at a node that keeps them.",
      });
    }
    if (ground.scans) {
      throw new CascadeError("usage", `something else writes the volumes of ${name}`, {
        hint: "Have the seed made at a node below it, which holds what was scanned last.",
      });
    }
    const { base } = state();
    if (isInPlace || isFresh || base === null) {
      throw new CascadeError("refused", `${name} has no whole image itself yet`, {
        hint: "Wait until it is filled, or have the seed made at the node above it.",
        retryable: true,
      });
    }
    await save({ fed: true });
    return await hub().folding.alone(async () => {
      const planner = new DeltaPlanner(ground, () => null);
      const peer = { lsn: 0, needsSeed: true, inPlace: false, staged };
      const planned = await planner.plan(peer, false);
      if (planned === null) throw new CascadeError("bug", "a node with volumes can be copied");
      const { source } = planned;
      const { id } = source.header;
      const note = {
        node: name,
        base: { ...base },
        madeAtMs: ports.clock.nowMs(),
        proof: seedProof(secret, id),
      };
      const header = encodeDeltaHeader({ ...source.header, seed: note });
      const resumed = planned.staged !== null;
      const making = new Making(source, resumed ? null : header, ports.clock, (lsn) => {
        // From here on what is touched is kept apart: the log may be gone when the seed is loaded.
        return hub().folding.alone(() => this.#deltas.seedMap.begin(lsn));
      });
      making.onClose(hub().folding.hold(making));
      return making;
    });
  }
}

class Making implements SeedMaking, LogHolder {
  readonly #source: DeltaSource;
  readonly #header: Bytes | null;
  readonly #clock: Clock;
  readonly #onMade: (toLsn: number) => Promise<void>;
  #failure: unknown = null;
  #isClosed = false;
  #letGo: () => void = () => {};

  constructor(
    source: DeltaSource,
    header: Bytes | null,
    clock: Clock,
    onMade: (toLsn: number) => Promise<void>,
  ) {
    this.#onMade = onMade;
    this.#source = source;
    this.#header = header;
    this.#clock = clock;
  }

  onClose(letGo: () => void): void {
    this.#letGo = letGo;
  }

  get resumes(): boolean {
    return this.#header === null;
  }

  get bytesExpected(): number {
    return this.#source.bytesExpected;
  }

  get heldLsn(): number {
    return this.#source.heldLsn;
  }

  async foldTo(lsn: number): Promise<void> {
    try {
      if (this.heldLsn < lsn) await this.#source.foldTo(lsn);
    } catch (error) {
      this.#failure = error;
      this.close();
    }
  }

  async write(sink: SeedSink): Promise<DeltaTrailer> {
    if (this.#header !== null) await sink(this.#header);
    const buffer = new Uint8Array(READ_BYTES);
    for (;;) {
      const bytes = await this.#source.next(buffer);
      this.#check();
      if (bytes > 0) {
        await sink(buffer.subarray(0, bytes));
        await new Promise<void>((go) => this.#clock.soon(go));
        continue;
      }
      const trailer = await this.#source.endPass();
      this.#check();
      if (trailer === null) continue;
      await this.#onMade(trailer.toLsn);
      await sink(encodeDeltaTrailer(trailer));
      return trailer;
    }
  }

  #check(): void {
    if (!this.#isClosed) return;
    throw new CascadeError("stopping", "the seed was given up" + this.#why());
  }

  #why(): string {
    return this.#failure === null ? "" : `: ${describeError(this.#failure)}`;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#letGo();
    this.#source.close();
  }
}
