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
  #toldFull = false;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(host: LinkHost, links: readonly DownstreamLink[]) {
    this.#host = host;
    this.#links = links;
    this.hold(host.deltas.seedMap);
  }

  /** The least LSN that a link below, or another holder, needs. */
  neededLsn(): number {
    let needed = Math.min(...this.#links.map((link) => link.neededLsn()), Infinity);
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

  /** Writes down in the maps of all links what they lack below `lsn`. */
  foldTo(lsn: number): Promise<void> {
    return this.alone(async () => {
      for (const link of [...this.#links]) {
        const isThere = () => this.#links.includes(link);
        if (link.neededLsn() >= lsn || this.#stopped || !isThere()) continue;
        await link.foldTo(lsn).catch((error) => {
          // The tree has changed, and no log was kept for its sake any more.
          if (isThere() || !isCascadeError(error, "log-gone")) throw error;
        });
      }
      for (const holder of this.#holders) await holder.foldTo(lsn);
    });
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
