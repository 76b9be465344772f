/**
 * The story of a bad day: the primary dies under load, the intermediate takes over, the old primary
 * comes back as one that follows, and is handed its role again. What was flushed is looked for, and
 * the images are compared, at each step.
 *
 * @module
 */
import { delay } from "@std/async/delay";
import { approximateSize } from "../../core/topology/units.ts";
import { describeError } from "../../core/errors.ts";
import { EXIT, ExitWith } from "../exit.ts";
import type { Report } from "../report.ts";
import type { Cast, DemoCluster } from "./cluster.ts";
import { compareImages } from "./images.ts";
import { Ledger } from "./ledger.ts";
import { databaseLoad, type LoadReport } from "./load.ts";
import { NbdClient } from "./nbd_client.ts";
import { type DemoView, onStage, statusesOf, Watch } from "./stage.ts";

const CAST: Cast = {
  roles: { hq: "primary", metro: "intermediate", dr: "secondary" },
  exporting: ["hq", "metro"],
  links: ["from: hq, to: metro, mode: sync, timeout: 2s", "from: metro, to: dr, mode: async"],
};
const SETTLE_TIMEOUT_MS = 60_000;
/** How long metro hears nothing of hq before that dies, and what is written meanwhile; well below the link's timeout. */
const SILENCE_MS = 250;
const LAST_WORDS = { writes: 64, bytes: 64 * 1024 };
/** How long the load goes on once hq is the primary again. */
const HOME_LOAD_MS = 1000;

/** What the story is told with. */
export interface FailoverOptions {
  /** How long the load runs until the primary is killed, and as long again elsewhere, together. */
  readonly loadMs: number;
  readonly sizeBytes: number;
}

/** What the load found, after the step that is named. */
export interface Check {
  readonly after: string;
  readonly pages: number;
}

/** How it ended; all is well, or it would have thrown. */
export interface FailoverResult {
  readonly story: "failover";
  readonly load: LoadReport;
  /** From the kill to the first answer to a client of the new primary, and of that, the promotion. */
  readonly outageSeconds: number;
  readonly promoteSeconds: number;
  /** From the old primary's start until it has all. */
  readonly returnSeconds: number;
  /** What it was sent for that, and how large the volume is. */
  readonly returnBytes: number;
  readonly sizeBytes: number;
  /** The folder's name, and the bytes of log in it; null when it had nothing beyond what was replicated. */
  readonly kept: { readonly folder: string; readonly bytes: number } | null;
  readonly migrateSeconds: number;
  readonly checks: readonly Check[];
  readonly seconds: number;
}

/** Tells the whole story. Throws when anything does not go as it must; leaves nothing behind. */
export function tellFailover(options: FailoverOptions, view: DemoView): Promise<FailoverResult> {
  return onStage(CAST, options.sizeBytes, view, (cluster) => {
    const story = new Failover(cluster, options, view);
    return story.tell().catch((error: unknown) => {
      const where = `the story failed in act ${story.act}`;
      throw new ExitWith(EXIT.failed, `${where}: ${describeError(error)}`);
    });
  });
}

class Failover {
  readonly #cluster: DemoCluster;
  readonly #options: FailoverOptions;
  readonly #view: DemoView;
  readonly #load: LoadReport = { writes: 0, bytes: 0, flushes: 0, done: false };
  readonly #ledger = new Ledger();
  readonly #watch: Watch;
  readonly #checks: Check[] = [];
  /** The one that plays. */
  act = "0: the nodes start";

  constructor(cluster: DemoCluster, options: FailoverOptions, view: DemoView) {
    this.#cluster = cluster;
    this.#options = options;
    this.#view = view;
    this.#watch = new Watch(cluster, view, this.#load);
  }

  #begins(act: string): void {
    this.act = act;
    this.#view.act(act);
  }

  async tell(): Promise<FailoverResult> {
    const startedMs = performance.now();
    await this.#begin();
    const diedMs = await this.#die();
    const promoteSeconds = await this.#promote();
    const outageSeconds = await this.#goOn(diedMs);
    const back = await this.#comeBack();
    const migrateSeconds = await this.#goHome();
    await this.#cluster.stop();
    return {
      story: "failover",
      load: this.#load,
      outageSeconds,
      promoteSeconds,
      ...back,
      sizeBytes: this.#options.sizeBytes,
      migrateSeconds,
      checks: this.#checks,
      seconds: secondsSince(startedMs),
    };
  }

  async #begin(): Promise<void> {
    for (const node of this.#cluster.nodes) this.#cluster.start(node);
    await this.#settled("hq");
    this.#begins("1. A database writes to hq");
    await this.#tree();
  }

  /** When it happened, ms of `performance.now`. */
  async #die(): Promise<number> {
    const client = await NbdClient.connect(this.#cluster.exportSocket("hq"), "data");
    const work = this.#write(client, Infinity).then(() => null, (error: unknown) => error);
    const died = delay(this.#options.loadMs / 2).then(async () => {
      // What metro has not read is hq's alone, and no client was told that it is safe.
      this.#cluster.hold("metro", true);
      const lastWords = this.#lastWords(client);
      await delay(SILENCE_MS);
      const pid = await this.#cluster.kill("hq");
      const diedMs = performance.now();
      this.#cluster.hold("metro", false);
      client.close();
      await lastWords;
      this.#load.done = true;
      this.#view.act(
        "2. hq dies: its line chokes, then kill -9 in the middle of a burst of writes",
      );
      this.#view.command(`kill -9 ${pid}`, "");
      return diedMs;
    });
    const first = await Promise.race([work.then((error) => ({ error })), died]);
    // A load that ended before its site did has failed by itself.
    if (typeof first !== "number") throw first.error;
    await work;
    return first;
  }

  /** Writes whose answers never come. */
  async #lastWords(client: NbdClient): Promise<void> {
    const ledger = this.#ledger;
    const writes = Array.from({ length: LAST_WORDS.writes }, (_, index) => {
      const bytes = crypto.getRandomValues(new Uint8Array(LAST_WORDS.bytes));
      const offset = index * LAST_WORDS.bytes;
      ledger.enter(bytes, offset, false);
      return client.write(bytes, offset);
    });
    await Promise.allSettled(writes);
  }

  async #promote(): Promise<number> {
    this.#begins("3. metro takes over");
    this.#view.say("What would be lost? This changes nothing:");
    await this.#command("promote", "metro", "--dry-run");
    const seconds = await this.#command("promote", "metro", "--yes");
    await this.#tree();
    return seconds;
  }

  /** How long clients had no answer, seconds. */
  async #goOn(diedMs: number): Promise<number> {
    const client = await NbdClient.connect(this.#cluster.exportSocket("metro"), "data");
    await client.read(new Uint8Array(4096), 0);
    const outage = secondsSince(diedMs);
    this.#view.say(`A client was answered again ${outage.toFixed(1)} s after the kill.`);
    await this.#check(client, "metro took over");
    this.#begins("4. The database goes on, on metro");
    await this.#write(client, this.#options.loadMs / 2);
    client.close();
    await this.#tree();
    return outage;
  }

  async #comeBack() {
    this.#begins("5. hq comes back, by itself, as one that follows");
    this.#view.command("cascade serve --node hq", "");
    const startedMs = performance.now();
    this.#cluster.start("hq");
    const report = await this.#settled("metro");
    const returnSeconds = secondsSince(startedMs);
    const metro = statusesOf(report).find(({ name }) => name === "metro");
    const link = metro?.links.find(({ name }) => name === "metro-hq");
    const returnBytes = link?.sentBytes ?? 0;
    this.#view.say(
      `It took ${returnSeconds.toFixed(1)} s and ${approximateSize(returnBytes)} of the ${
        approximateSize(this.#options.sizeBytes)
      }: only what either side touched since.`,
    );
    const kept = await keptOf(`${this.#cluster.dir("hq")}/abandoned`);
    this.#view.say(
      kept === null
        ? "hq had written nothing that metro lacks: nothing had to be kept."
        : `What hq had written and told nobody of is kept: ${
          approximateSize(kept.bytes)
        } of log in hq/abandoned/${kept.folder}.`,
    );
    await this.#tree();
    await this.#compare("metro");
    return { returnSeconds, returnBytes, kept };
  }

  async #goHome(): Promise<number> {
    this.#begins("6. Home again, with nothing lost");
    const seconds = await this.#command("migrate", "hq");
    const client = await NbdClient.connect(this.#cluster.exportSocket("hq"), "data");
    await this.#check(client, "hq was handed its role again");
    await this.#write(client, HOME_LOAD_MS);
    await this.#settled("hq");
    await this.#check(client, "the end");
    client.close();
    await this.#tree();
    await this.#compare("hq");
    return seconds;
  }

  /** Runs the load for so long; rejects when the client leaves. */
  async #write(client: NbdClient, forMs: number): Promise<void> {
    this.#load.done = false;
    const work = databaseLoad(client, this.#load, this.#ledger, performance.now() + forMs);
    await Promise.all([work, this.#watch.run()]);
  }

  /** Gives the command; how long it took, seconds. Throws when it fails. */
  async #command(...args: string[]): Promise<number> {
    const startedMs = performance.now();
    const { text, code } = await this.#cluster.command(...args);
    const line = ["cascade", ...args].join(" ");
    this.#view.command(line, text);
    if (code === 0) return secondsSince(startedMs);
    throw new Error(`\`${line}\` ended with ${code}\n${await this.#cluster.lastWords()}`);
  }

  /** Who feeds whom, as the nodes know it. */
  async #tree(): Promise<void> {
    const report = await this.#cluster.report();
    this.#view.show(report, this.#load);
    for (const line of treeLines(report)) this.#view.say(line);
  }

  async #check(client: NbdClient, after: string): Promise<void> {
    const pages = await this.#ledger.judge(client, `after ${after}`);
    this.#checks.push({ after, pages });
    this.#view.say(`All that was flushed is there: ${pages} pages were read and judged.`);
  }

  async #compare(primary: string): Promise<void> {
    for (const [node, offset] of await compareImages(this.#cluster, primary)) {
      if (offset !== null) throw new Error(`${node} differs from ${primary} at byte ${offset}`);
    }
    this.#view.say("All three images are the same, byte for byte.");
  }

  /** Waits until all nodes follow `primary` and have all of it. */
  async #settled(primary: string): Promise<Report> {
    let report = await this.#cluster.report();
    await this.#cluster.waitFor(`the nodes did not all follow ${primary}`, async () => {
      report = await this.#cluster.report();
      this.#view.show(report, this.#load);
      const statuses = statusesOf(report);
      const end = statuses.find(({ name }) => name === primary)?.lsn.appended;
      return statuses.length === this.#cluster.nodes.length &&
        statuses.every((status) =>
          status.state === "running" && status.consistent && status.lsn.applied === end &&
          status.tree?.primary === primary && !status.tree.isRejoining &&
          status.links.every(({ state }) => state === "streaming")
        );
    }, SETTLE_TIMEOUT_MS);
    return report;
  }
}

function secondsSince(startedMs: number): number {
  return (performance.now() - startedMs) / 1000;
}

/** The tree as lines, the primary first; nodes that do not answer are marked. */
function treeLines({ tree, nodes, declared }: Report): string[] {
  const silent = new Set(nodes.flatMap(({ node, status }) => status === null ? [node.name] : []));
  const parents = new Map(tree === null ? declared : Object.entries(tree.parents));
  const below = (parent: string, depth: number): string[] =>
    [...parents].filter(([, from]) => from === parent).flatMap(([node], index, all) => [
      `${"   ".repeat(depth)}${index < all.length - 1 ? "├─" : "└─"} ${node}${
        silent.has(node) ? " (dead)" : ""
      }`,
      ...below(node, depth + 1),
    ]);
  const root = tree?.primary ?? nodes.find(({ node }) => !declared.has(node.name))?.node.name ?? "";
  return [`${root} (primary)${silent.has(root) ? " (dead)" : ""}`, ...below(root, 0)];
}

/** What is kept in a node's folder of abandoned epochs: EPOCH-FROM-TO, in LSNs; null when nothing is. */
async function keptOf(path: string): Promise<FailoverResult["kept"]> {
  try {
    for await (const { name } of Deno.readDir(path)) {
      const [, from = 0, to = 0] = name.split("-").map(Number);
      return { folder: name, bytes: to - from };
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return null;
}
