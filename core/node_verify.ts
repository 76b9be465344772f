/**
 * Verification of a node's links: on request or by the topology's schedule, one at a time for each link.
 *
 * @module
 */
import type { BlockSet } from "./delta/block_set.ts";
import { CascadeError, describeError, isCascadeError } from "./errors.ts";
import type { DownstreamLink } from "./link/downstream.ts";
import type { PeerHashes } from "./link/hashes.ts";
import { nextRun } from "./link/schedule.ts";
import { linksNamed, reachPeer, wait } from "./link_access.ts";
import type { NodeParts } from "./node_deltas.ts";
import { VERIFY_RETRY_MS } from "./node_limits.ts";
import type { LinkState, LinkVerify, Verified } from "./status.ts";
import { Comparison } from "./verify.ts";
import type { Verifier, VerifyReport } from "./verify_report.ts";

const SETTLED: readonly LinkState[] = ["streaming", "waiting"];

/** How links were verified last, across restarts. */
interface VerifyLog {
  last(link: string): Verified | null;
  save(link: string, verified: Verified): void;
}

/** Keeps them in the node's state. */
function verifyLogIn({ state, save, onFatal }: NodeParts): VerifyLog {
  return {
    last: (link) => state().verified.find((verified) => verified.link === link) ?? null,
    save: (link, verified) => {
      const others = state().verified.filter((one) => one.link !== link);
      save({ verified: [...others, { link, ...verified }] }).catch(onFatal);
    },
  };
}

/** See the module's text. */
export class NodeVerify implements Verifier {
  readonly #parts: NodeParts;
  readonly #log: VerifyLog;
  readonly #running = new Map<string, { startedAtMs: number; comparison: Comparison | null }>();
  readonly #nextAtMs = new Map<string, number>();
  /** Why the last try could not be done. */
  readonly #reasons = new Map<string, string>();

  constructor(parts: NodeParts) {
    this.#parts = parts;
    this.#log = verifyLogIn(parts);
  }

  /** See {@linkcode Verifier.verify}. */
  async verify(name: string, repair: boolean): Promise<VerifyReport> {
    const { config: { name: node, capture }, hub, pipeline, ports: { clock } } = this.#parts;
    const [link] = linksNamed(node, hub(), [name]);
    if (link === undefined) throw new CascadeError("bug", "a named link is found");
    if (capture === "scan") {
      throw new CascadeError("usage", `something else writes the volumes of ${node}`, {
        hint: "To compare them, and send what differs, use `cascade sync --full`",
      });
    }
    if (pipeline.volumes.length === 0) {
      throw new CascadeError("usage", `${node} has no volumes to compare`);
    }
    if (!pipeline.reigns && this.#parts.config.applyDelayMs > 0) {
      throw new CascadeError(
        "usage",
        `${node} applies late on purpose, and a node below is ahead of it`,
        {
          hint: "Verify the link to it, and those from nodes without applyDelay",
        },
      );
    }
    if (this.#running.has(name)) {
      throw new CascadeError("locked", `${name} is being verified already`, { retryable: true });
    }
    const startedAtMs = clock.nowMs();
    this.#running.set(name, { startedAtMs, comparison: null });
    try {
      const report = await this.#verify(link, repair);
      const { comparedBytes, busyBytes, differentBytes, repairedBytes } = report;
      const found = { comparedBytes, busyBytes, differentBytes, repairedBytes };
      this.#log.save(name, { startedAtMs, endedAtMs: clock.nowMs(), ...found });
      this.#reasons.delete(name);
      this.#nextAtMs.delete(name);
      return report;
    } catch (error) {
      this.#reasons.set(name, describeError(error));
      throw error;
    } finally {
      this.#running.delete(name);
    }
  }

  async #verify(link: DownstreamLink, repair: boolean): Promise<VerifyReport> {
    const { clock } = this.#parts.ports;
    const startMs = clock.monotonicMs();
    const comparison = await this.#compare(link);
    await comparison.all();
    const { comparedBytes, busyBytes, different } = comparison;
    const report = {
      link: link.config.name,
      comparedBytes,
      busyBytes,
      differentBytes: different.countBytes(),
      repairedBytes: 0,
      differences: await comparison.differences(),
    };
    if (repair && !different.isEmpty) report.repairedBytes = await this.#repair(link, different);
    return { ...report, durationMs: clock.monotonicMs() - startMs };
  }

  /**
   * Compares what a scan found with what the peer holds, and has the peer given what differs. Returns its
   * bytes. Throws `connection-lost`, `unreachable`; `refused` when it differs still.
   */
  async makeGood(link: DownstreamLink): Promise<number> {
    await this.#applied(link);
    const comparison = await this.#compare(link);
    await comparison.all();
    const { different } = comparison;
    const bytes = different.countBytes();
    if (bytes > 0 && await this.#repair(link, different) < bytes) {
      throw new CascadeError("refused", "the volumes are written too fast to be compared", {
        hint: "Let `beforeScan` make a snapshot",
        retryable: true,
      });
    }
    return bytes;
  }

  async #compare(link: DownstreamLink): Promise<Comparison> {
    const hashes = await this.#hashesOf(link);
    const comparison = new Comparison(this.#parts.pipeline, link.planner.ground, hashes);
    const running = this.#running.get(link.config.name);
    if (running !== undefined) running.comparison = comparison;
    return comparison;
  }

  async #hashesOf(link: DownstreamLink): Promise<PeerHashes> {
    const lsn = await reachPeer(link, this.#parts.ports.clock);
    if (lsn !== null && link.hashes !== null) return link.hashes;
    const { state, reason } = link.status();
    const message = `${link.config.to} is not connected: ${reason ?? state}`;
    throw new CascadeError("unreachable", message, { retryable: true });
  }

  /** Has the peer given these blocks again; how many bytes of them are the same then. */
  async #repair(link: DownstreamLink, blocks: BlockSet): Promise<number> {
    link.repair(blocks);
    while (link.planner.isRepairing) {
      if (await reachPeer(link, this.#parts.ports.clock) === null) {
        link.planner.taken(null);
        await this.#hashesOf(link);
      }
      await wait(this.#parts.ports.clock);
    }
    await this.#applied(link);
    const comparison = await this.#compare(link);
    await comparison.some(blocks);
    return comparison.comparedBytes - comparison.different.countBytes();
  }

  /** The peer has the delta: until it is in its volumes too, they are as they were before. */
  async #applied(link: DownstreamLink): Promise<void> {
    const tookLsn = link.durableLsn ?? 0;
    while ((link.status().applied ?? 0) < tookLsn) {
      if (!link.connected) await this.#hashesOf(link);
      await wait(this.#parts.ports.clock);
    }
  }

  /** Begins what the schedule says. To be called now and then. */
  tick(): void {
    const { hub, ports: { clock, journal }, pipeline } = this.#parts;
    if (pipeline.volumes.length === 0) return;
    for (const link of hub().downstream) {
      const { name } = link.config;
      const dueMs = this.#nextOf(link);
      if (dueMs === null || dueMs > clock.nowMs() || this.#running.has(name)) continue;
      // A peer that lags far behind has little that could be compared.
      if (!SETTLED.includes(link.state())) continue;
      this.verify(name, false).then((report) => {
        const { comparedBytes, busyBytes, differentBytes } = report;
        const found = { link: name, comparedBytes, busyBytes, differentBytes };
        if (differentBytes === 0) journal.write("info", "the ends of a link are the same", found);
        else journal.write("error", "the ends of a link differ", found);
      }, (error) => this.#failed(name, error));
    }
  }

  #failed(link: string, error: unknown): void {
    const { clock, journal } = this.#parts.ports;
    if (isCascadeError(error, "locked")) return;
    this.#nextAtMs.set(link, clock.nowMs() + VERIFY_RETRY_MS);
    journal.write("warn", "a link could not be verified", { link, reason: describeError(error) });
  }

  #nextOf({ config: { name, verify } }: DownstreamLink): number | null {
    if (verify === null) return null;
    const known = this.#nextAtMs.get(name);
    if (known !== undefined) return known;
    const { clock, random } = this.#parts.ports;
    const lastMs = this.#log.last(name)?.startedAtMs ?? null;
    const nextAtMs = nextRun(verify, lastMs, clock.nowMs(), random.fraction());
    this.#nextAtMs.set(name, nextAtMs);
    return nextAtMs;
  }

  /** For the status of a link; null: nothing is known, and nothing planned. */
  status(link: DownstreamLink): LinkVerify | null {
    const { name } = link.config;
    const nextAtMs = this.#nextOf(link);
    const last = this.#log.last(name);
    const running = this.#running.get(name) ?? null;
    if (nextAtMs === null && last === null && running === null) return null;
    const totalBytes = link.planner.ground.sizes.reduce((sum, size) => sum + size, 0);
    return {
      nextAtMs: running === null ? nextAtMs : null,
      running: running === null ? null : {
        startedAtMs: running.startedAtMs,
        comparedBytes: running.comparison?.comparedBytes ?? 0,
        totalBytes,
      },
      last,
      reason: this.#reasons.get(name) ?? null,
    };
  }
}
