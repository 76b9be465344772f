/**
 * Letting old log go: what the peers below lack of it is written down in their dirty maps first.
 *
 * Everything that reads old log for long, and everything that lets it go, is done one after the other.
 *
 * @module
 */
import { describeError, isCascadeError } from "../errors.ts";
import type { DownstreamLink } from "./downstream.ts";
import type { LinkHost } from "./host.ts";

/** What reads old log beside the links. */
export interface LogHolder {
  /** The log from here on is needed. */
  readonly heldLsn: number;
  /** The log below `lsn` goes. Throws what the disk throws. */
  foldTo(lsn: number): Promise<void>;
}

/** See the module's text. */
export class Folding {
  readonly #host: LinkHost;
  readonly #links: readonly DownstreamLink[];
  readonly #holders = new Set<LogHolder>();
  #folding = false;
  #stopped = false;
  #trimming = false;
  #toldFull = false;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(host: LinkHost, links: readonly DownstreamLink[]) {
    this.#host = host;
    this.#links = links;
    this.hold(host.deltas.seedMap);
  }

  /** The least LSN that a node below, or another holder, needs. */
  neededLsn(): number {
    const { deltas: { chain }, descendants } = this.#host;
    let needed = Math.min(chain.neededFrom(descendants.leastLsn), chain.heldLsn);
    for (const link of this.#links) needed = Math.min(needed, link.heldLsn);
    for (const { heldLsn } of this.#holders) needed = Math.min(needed, heldLsn);
    return needed;
  }

  /** From now on `holder` is asked, until what is returned is called. */
  hold(holder: LogHolder): () => void {
    this.#holders.add(holder);
    return () => void this.#holders.delete(holder);
  }

  /** Whether the log below `lsn` may go now; else what its peers lack of it is being written down. */
  letGo(lsn: number): boolean {
    if (this.neededLsn() >= lsn) return true;
    if (this.#folding || this.#stopped) return false;
    this.#folding = true;
    this.foldTo(lsn).then(() => {
      this.#folding = this.#toldFull = false;
      // Not at once: should it still be needed, the world goes on before it is tried again.
      this.#host.ports.clock.soon(() => this.#stopped || this.#host.pipeline.makeRoom(0));
    }, (error) => {
      this.#folding = false;
      this.#failed(error);
    });
    return false;
  }

  /** Writes down what the nodes below lack below `lsn`. */
  foldTo(lsn: number): Promise<void> {
    return this.alone(async () => {
      if (this.#stopped) return;
      const { deltas: { chain }, descendants } = this.#host;
      if (chain.neededFrom(descendants.leastLsn) < lsn) {
        await chain.foldTo(lsn, descendants.knownLsns);
      }
      for (const link of [...this.#links]) {
        const isThere = () => this.#links.includes(link);
        if (link.heldLsn >= lsn || this.#stopped || !isThere()) continue;
        await link.foldTo(lsn).catch((error) => {
          // The tree has changed, and no log was kept for its sake any more.
          if (isThere() || !isCascadeError(error, "log-gone")) throw error;
        });
      }
      for (const holder of this.#holders) await holder.foldTo(lsn);
    });
  }

  /** Now and then: what nobody below lacks any more goes from the maps. */
  tick(): void {
    const { deltas, descendants } = this.#host;
    // Blocks that come in place are known from there alone.
    const isSpare = () =>
      !deltas.isInPlace && !deltas.chain.isEmpty &&
      deltas.chain.isSpare(Math.min(...descendants.knownLsns, Infinity));
    if (this.#trimming || this.#stopped || !isSpare()) return;
    this.#trimming = true;
    this.alone(async () => {
      if (isSpare() && !this.#stopped) await deltas.chain.trim(descendants.knownLsns);
    }).then(() => this.#trimming = false, (error) => this.#host.onFatal(error));
  }

  /** A full disk: writers wait, and it is tried again when room is asked for. */
  #failed(error: unknown): void {
    if (this.#stopped) return;
    if (!isCascadeError(error, "disk-full")) return this.#host.onFatal(error);
    if (this.#toldFull) return;
    this.#toldFull = true;
    this.#host.ports.journal.write("error", "cannot write down what a peer lacks: writers wait", {
      reason: describeError(error),
    });
  }

  /** Does one thing after the other. */
  alone<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => {/* whoever asked for it is told */});
    return done;
  }

  stop(): void {
    this.#stopped = true;
  }
}
