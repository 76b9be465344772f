/**
 * What operators ask of running nodes: one-shot syncs. Each must end as long as its node lives, and what
 * it tells must be true.
 *
 * @module
 */
import { describeError, isCascadeError } from "../../core/errors.ts";
import type { CascadeNode } from "../../core/node.ts";
import type { SyncLinkReport } from "../../core/sync_report.ts";
import type { Coverage } from "./coverage.ts";
import { isDeath } from "./life.ts";
import type { Prng } from "./prng.ts";
import type { SimHost } from "./sim_host.ts";
import { Violation, type World } from "./world.ts";

/** See the module's text. */
export class Requests {
  readonly #world: World;
  readonly #prng: Prng;
  readonly #hosts: readonly SimHost[];
  readonly #coverage: Coverage;
  /** How far a host ever was, durably. */
  readonly #durableOf: (host: SimHost) => number;
  /** Those that were not answered yet, with the node that was asked. */
  readonly #pending = new Map<number, { readonly node: CascadeNode; readonly what: string }>();
  #count = 0;

  constructor(
    world: World,
    prng: Prng,
    hosts: readonly SimHost[],
    coverage: Coverage,
    durableOf: (host: SimHost) => number,
  ) {
    this.#world = world;
    this.#prng = prng;
    this.#hosts = hosts;
    this.#coverage = coverage;
    this.#durableOf = durableOf;
  }

  /** What living nodes did not answer. */
  get unanswered(): string[] {
    return [...this.#pending.values()]
      .filter(({ node }) => this.#hosts.some((host) => host.node === node))
      .map(({ what }) => what);
  }

  /** Asks a node to sync its links, or one of them. */
  sync(near: SimHost): void {
    const host = this.#feeding(near);
    const { node } = host;
    const links = host.planned.config.downstream;
    if (node === null) return;
    const names = this.#prng.chance(0.5) ? null : [this.#prng.pick(links).name];
    const dryRun = this.#prng.chance(0.2);
    const stableLsn = node.pipeline.stableLsn;
    const answer = node.sync.sync(names, { dryRun, full: false });
    this.#follow(host, node, "sync", answer, (report) => {
      for (const link of report.links) {
        this.#coverage.note(`sync: ${link.outcome}`);
        this.#judge(host, link, stableLsn);
      }
    });
  }

  /** The host itself, or the one that feeds it if it feeds none. */
  #feeding(host: SimHost): SimHost {
    const { downstream, upstream } = host.planned.config;
    if (downstream.length > 0) return host;
    return this.#hosts.find(({ name }) => name === upstream?.from) ?? host;
  }

  #judge(host: SimHost, report: SyncLinkReport, stableLsn: number): void {
    const { outcome, link, toLsn } = report;
    if (outcome !== "done" && outcome !== "nothing") return;
    const to = host.planned.config.downstream.find(({ name }) => name === link)?.to;
    const peer = this.#hosts.find(({ name }) => name === to);
    if (peer === undefined || toLsn === null) {
      throw new Violation(`a sync of ${link} tells nothing`);
    }
    if (toLsn < stableLsn) {
      throw new Violation(`${link} was synced to ${toLsn}, ${stableLsn} was stable when it began`);
    }
    if (this.#durableOf(peer) < toLsn) {
      throw new Violation(`${link} was synced to ${toLsn}, ${to} has ${this.#durableOf(peer)}`);
    }
  }

  #follow<T>(
    host: SimHost,
    node: CascadeNode,
    what: string,
    answer: Promise<T>,
    judge: (answer: T) => void,
  ): void {
    const number = ++this.#count;
    this.#pending.set(number, { node, what: `${host.name} does not answer: ${what}` });
    const end = () => this.#pending.delete(number);
    answer.then((found) => {
      end();
      if (host.node === node) judge(found);
    }, (error) => {
      end();
      this.#failed(host, what, error);
    }).catch((error) => this.#world.fail("correctness", error));
  }

  /** A node may well say that it cannot; but not for a fault of its own. */
  #failed(host: SimHost, what: string, error: unknown): void {
    if (isDeath(error)) return;
    if (!isCascadeError(error) || error.code === "bug") {
      throw new Violation(`${host.name} breaks at a ${what}: ${describeError(error)}`);
    }
    this.#coverage.note(`${what}: ${error.code}`);
  }
}
