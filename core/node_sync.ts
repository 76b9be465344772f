/**
 * One-shot sync: ships over links of a node what is pending now, and tells what that was.
 *
 * A `periodic` link makes a run at once, whatever its schedule says. The others ship by themselves: it is
 * waited until the peer has, durably, all that was stable here when the sync began. A node with `capture: scan`
 * scans first.
 *
 * @module
 */
import { CascadeError, describeError } from "./errors.ts";
import type { DownstreamLink } from "./link/downstream.ts";
import type { LinkHub } from "./link/hub.ts";
import { whyAway } from "./link/why_away.ts";
import type { Runs } from "./link/runs.ts";
import { linksNamed, reachPeer, wait } from "./link_access.ts";
import { SYNC_CONNECT_MS } from "./node_limits.ts";
import type { Pipeline } from "./pipeline.ts";
import type { NodeCapture } from "./node_capture.ts";
import type { NodeVerify } from "./node_verify.ts";
import type { Clock } from "./ports.ts";
import type { LinkRun } from "./status.ts";
import type { SyncLinkReport, SyncOptions, SyncReport, SyncRunner } from "./sync_report.ts";

/** What a sync works with. */
export interface SyncParts {
  readonly config: { readonly name: string };
  readonly pipeline: Pipeline;
  readonly hub: () => LinkHub;
  readonly ports: { readonly clock: Clock };
}

/** See the module's text. */
export class NodeSync implements SyncRunner {
  readonly #node: string;
  readonly #pipeline: Pipeline;
  readonly #hub: () => LinkHub;
  readonly #clock: Clock;
  /** Where something else writes the volumes: it is looked first what that was. */
  readonly #scans: NodeCapture | null;
  readonly #verify: Pick<NodeVerify, "makeGood">;

  constructor(
    { config, pipeline, hub, ports }: SyncParts,
    verify: Pick<NodeVerify, "makeGood">,
    scans: NodeCapture | null,
  ) {
    this.#verify = verify;
    this.#node = config.name;
    this.#pipeline = pipeline;
    this.#hub = hub;
    this.#clock = ports.clock;
    this.#scans = scans;
  }

  /** See {@linkcode SyncRunner.sync}; also throws `usage`, `hook-failed`, and what a scan throws. */
  async sync(names: readonly string[] | null, options: SyncOptions): Promise<SyncReport> {
    const { full, dryRun } = options;
    const capture = this.#scans?.capture ?? null;
    if (full && capture === null) {
      throw new CascadeError("usage", "--full is for nodes with `capture: scan`", {
        hint: "Leave it out: what changed is known from the log. To compare, use `cascade verify`",
      });
    }
    const links = linksNamed(this.#node, this.#hub(), names);
    if (capture === null) return await this.#all(links, dryRun, 0);
    if (full && dryRun) {
      throw new CascadeError("usage", "--full compares, and has no --dry-run", {
        hint: "Leave one of them out",
      });
    }
    if (dryRun) return await this.#all(links, true, await capture.preview());
    const lease = await capture.take(true);
    try {
      const report = await this.#all(links, false, 0);
      return full
        ? { links: await Promise.all(report.links.map((one) => this.#full(one))) }
        : report;
    } finally {
      await lease.release();
    }
  }

  /** `foundBytes`: what a scan that changed nothing found. */
  async #all(
    links: readonly DownstreamLink[],
    dryRun: boolean,
    foundBytes: number,
  ): Promise<SyncReport> {
    await this.#pipeline.log.flushed();
    const toLsn = this.#pipeline.stableLsn;
    const one = (link: DownstreamLink) =>
      dryRun ? this.#preview(link, toLsn, foundBytes) : this.#sync(link, toLsn);
    return { links: await Promise.all(links.map(one)) };
  }

  /** Behind what was synced: the peer's volumes are compared, and what differs is sent as well. */
  async #full(report: SyncLinkReport): Promise<SyncLinkReport> {
    const link = this.#hub().downstream.find(({ config }) => config.name === report.link);
    if (link === undefined || report.outcome === "failed") return report;
    const startMs = this.#clock.monotonicMs();
    const { sentBytes } = link.status();
    try {
      const repairedBytes = await this.#verify.makeGood(link);
      if (repairedBytes === 0) return report;
      return {
        ...report,
        outcome: "done",
        toLsn: Math.max(report.toLsn ?? 0, link.durableLsn ?? 0),
        deltaBytes: report.deltaBytes + repairedBytes,
        logBytes: report.logBytes + repairedBytes,
        sentBytes: report.sentBytes + link.status().sentBytes - sentBytes,
        durationMs: report.durationMs + this.#clock.monotonicMs() - startMs,
      };
    } catch (error) {
      return { ...report, outcome: "failed", reason: describeError(error) };
    }
  }

  /** What there would be to send. */
  async #preview(
    link: DownstreamLink,
    toLsn: number,
    foundBytes: number,
  ): Promise<SyncLinkReport> {
    const startMs = this.#clock.monotonicMs();
    // Before the first scan nobody is let in: each of them lacks all that there is.
    const isFirst = this.#scans?.isNeeded ?? false;
    const fromLsn = isFirst ? toLsn : await reachPeer(link, this.#clock);
    if (fromLsn === null) return this.#failed(link, startMs);
    const { logBytes, deltaBytes } = await this.#hub().folding.alone(() =>
      link.planner.preview(fromLsn, toLsn, link.runs !== null)
    );
    return {
      link: link.config.name,
      outcome: "planned",
      fromLsn,
      toLsn: Math.max(fromLsn, toLsn) + foundBytes,
      logBytes: logBytes + foundBytes,
      deltaBytes: deltaBytes + foundBytes,
      sentBytes: 0,
      durationMs: this.#clock.monotonicMs() - startMs,
      reason: null,
    };
  }

  async #sync(link: DownstreamLink, toLsn: number): Promise<SyncLinkReport> {
    const startMs = this.#clock.monotonicMs();
    const fromLsn = await reachPeer(link, this.#clock);
    if (fromLsn === null) return this.#failed(link, startMs);
    const { sentBytes } = link.status();
    if (link.runs !== null) {
      return await this.#run(link, link.runs, { startMs, fromLsn, sentBytes });
    }
    link.gate.ask();
    while ((link.durableLsn ?? 0) < toLsn) {
      const { state, reason } = link.status();
      if (state === "refused" && link.connected) {
        return { ...this.#failed(link, startMs, fromLsn), reason };
      }
      if (await reachPeer(link, this.#clock) === null) return this.#failed(link, startMs, fromLsn);
      await wait(this.#clock);
    }
    return {
      link: link.config.name,
      outcome: fromLsn >= toLsn ? "nothing" : "done",
      fromLsn,
      toLsn: Math.max(fromLsn, toLsn),
      logBytes: Math.max(0, toLsn - fromLsn),
      deltaBytes: Math.max(0, toLsn - fromLsn),
      sentBytes: link.status().sentBytes - sentBytes,
      durationMs: this.#clock.monotonicMs() - startMs,
      reason: null,
    };
  }

  /** A periodic link: one run that begins now, and what is under way before that. */
  async #run(
    link: DownstreamLink,
    runs: Runs,
    { startMs, fromLsn, sentBytes }: { startMs: number; fromLsn: number; sentBytes: number },
  ): Promise<SyncLinkReport> {
    const { shippedBytes } = runs;
    const run = await this.#ended(link, runs);
    if (run === null || run.outcome === "failed") {
      const report = this.#failed(link, startMs, run === null ? fromLsn : link.durableLsn);
      return { ...report, reason: run?.reason ?? report.reason };
    }
    const toLsn = Math.max(fromLsn, run.toLsn);
    return {
      link: link.config.name,
      outcome: toLsn > fromLsn ? "done" : "nothing",
      fromLsn,
      toLsn,
      logBytes: toLsn - fromLsn,
      deltaBytes: runs.shippedBytes - shippedBytes,
      sentBytes: link.status().sentBytes - sentBytes,
      durationMs: this.#clock.monotonicMs() - startMs,
      reason: null,
    };
  }

  /** How a run that began after this ended; null: it never began, since the peer went before. */
  async #ended(link: DownstreamLink, runs: Runs): Promise<LinkRun | null> {
    let isOver = false;
    const ended = runs.now().finally(() => isOver = true);
    link.gate.ask();
    const lost = async () => {
      while (!isOver && await reachPeer(link, this.#clock) !== null) await wait(this.#clock);
      return null;
    };
    return await Promise.race([ended, lost().then((none) => isOver ? ended : none)]);
  }

  #failed(link: DownstreamLink, startMs: number, fromLsn: number | null = null): SyncLinkReport {
    return {
      link: link.config.name,
      outcome: "failed",
      fromLsn,
      toLsn: null,
      logBytes: 0,
      deltaBytes: 0,
      sentBytes: 0,
      durationMs: this.#clock.monotonicMs() - startMs,
      reason: whyAway(link.config, {
        pausedWhy: link.pausedWhy,
        refused: link.refusal?.message ?? null,
        reason: link.status().reason,
        listening: this.#hub().addresses,
        waitedMs: SYNC_CONNECT_MS,
      }),
    };
  }
}
