/**
 * Commands that are cut off with `kill -9`, or whose nodes are, at moments that the nodes' journals tell of; and a load
 * that goes on wherever the primary is, and knows what must be there.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { join } from "node:path";
import { cascadeArgs, type Cluster } from "./cluster.ts";
import type { Cleanup } from "./e2e.ts";
import { firstDifference } from "./images.ts";
import { generator, isBroken, StampedLoad } from "./load.ts";
import { NbdClient, NbdError } from "./nbd_client.ts";
import { Background, type Outcome } from "./programs.ts";
import { until } from "./wait.ts";

/** When it happens: once a node has said this since the command was given; null: at once. */
export interface Moment {
  readonly node: string;
  readonly says: RegExp | null;
}

/** Who is killed. */
export type Victim = "the command" | { readonly node: string };

/** A command, and how it is cut off. */
export interface Cut {
  readonly args: readonly string[];
  readonly at: Moment;
  readonly victim: Victim;
}

/** How a cut reads in the output of a test that failed. */
export function describeCut({ args, at, victim }: Cut): string {
  const who = victim === "the command" ? victim : victim.node;
  return `${args.join(" ")}: kill -9 ${who} ${at.says === null ? "at once" : `at ${at.says}`}`;
}

/**
 * Gives the command, kills at that moment, starts again what was killed, and gives the command again: it must end with
 * 0 then, whatever became of the first one.
 */
export async function cutOff(cluster: Cluster, cleanup: Cleanup, cut: Cut): Promise<Outcome> {
  const { args, at, victim } = cut;
  const heard = cluster.output(at.node).length;
  const command = new Background(
    "command",
    Deno.execPath(),
    cascadeArgs(...args),
    join(cleanup.folder, "command.out"),
    { CASCADE_TOPOLOGY: cluster.topologyPath },
  );
  const isThere = () =>
    at.says === null || at.says.test(cluster.output(at.node).slice(heard)) ||
    command.status !== null;
  await until(`${at.node} says ${at.says}, or the command is done`, isThere, { pollMs: 2 });
  if (victim === "the command") await command.kill();
  else {
    await cluster.kill(victim.node);
    cluster.spawn(victim.node);
    await until(`${victim.node} answers`, () => cluster.status(victim.node));
  }
  // Whoever typed it sees that nothing comes, and presses Ctrl-C.
  await command.kill();
  return await cluster.cli(args);
}

/** One primary, which all nodes name; all have all of it, and the images are the same. */
export async function settled(cluster: Cluster, primary: string): Promise<void> {
  const { nodes, logOnly = [] } = cluster.spec;
  await until(`all follow ${primary}`, async () => {
    const end = (await cluster.status(primary)).lsn.appended;
    for (const node of nodes) {
      const { lsn, tree, consistent, role } = await cluster.status(node);
      if (lsn.applied !== end || tree?.primary !== primary || tree.isRejoining) return false;
      if (!consistent || (role === "primary") !== (node === primary)) return false;
    }
    return (await cluster.status(primary)).lsn.appended === end;
  }, { deadlineMs: 90_000 });
  for (const node of nodes) {
    if (logOnly.includes(node)) continue;
    const at = firstDifference(cluster.image(primary), cluster.image(node));
    assertEquals(at, null, `${node} differs from ${primary}`);
  }
}

/**
 * A load on whichever node is the primary. Each time that it connects, all that was acknowledged is looked for: so no
 * promotion and no hand-over may lose any of it.
 */
export class RovingLoad {
  readonly #cluster: Cluster;
  readonly #load: StampedLoad;
  #isStopped = true;
  #running: Promise<void> = Promise.resolve();
  #failure: unknown = null;

  constructor(cluster: Cluster, sizeBytes: number, seed: number) {
    this.#cluster = cluster;
    this.#load = new StampedLoad(sizeBytes, seed);
  }

  /** Batches that were sent. */
  get batches(): number {
    return this.#load.counts.batches;
  }

  start(): void {
    this.#isStopped = false;
    this.#running = this.#loop().catch((error) => {
      this.#failure = error;
    });
  }

  /** Goes on until so many batches more were answered. */
  async more(batches = 5): Promise<void> {
    const enough = this.batches + batches;
    await until("the load goes on", () => this.#failure !== null || this.batches >= enough);
    if (this.#failure !== null) throw this.#failure;
  }

  /** Stops, looks for all that must be there, and flushes. Throws what it has met. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#running;
    if (this.#failure !== null) throw this.#failure;
    const client = await this.#connect();
    await this.#load.verify(client);
    await client.flush();
    client.close();
  }

  async #loop(): Promise<void> {
    while (!this.#isStopped) {
      const client = await this.#connect();
      try {
        await this.#load.verify(client);
        await this.#load.run(client, () => this.#isStopped, 4);
      } catch (error) {
        // A primary that is one no more answers what it still had with an error: nobody knows what became of it.
        if (!isBroken(error) && !(error instanceof NbdError)) throw error;
      } finally {
        client.close();
      }
    }
  }

  #connect(): Promise<NbdClient> {
    return until("a primary takes clients", async () => {
      for (const node of this.#cluster.spec.nodes) {
        const status = await this.#cluster.status(node).catch(() => null);
        if (status?.role !== "primary" || status.state !== "running") continue;
        return await NbdClient.connect(this.#cluster.socket(node));
      }
      return null;
    });
  }
}

/** Some of a list, in an order of the seed's. */
export function drawn<T>(list: readonly T[], count: number, seed: number): T[] {
  const next = generator(seed);
  const left = [...list];
  return Array.from({ length: Math.min(count, list.length) }, () => {
    return left.splice(next(left.length), 1)[0]!;
  });
}

/**
 * The seed of this run, told when it fails: the same for every run of the gate, or what `CASCADE_SEED` names; `random`:
 * one that nobody knows before.
 */
export function seedOf(cleanup: Cleanup, tell: () => string): number {
  const named = Deno.env.get("CASCADE_SEED") ?? "1";
  const seed = named === "random" ? crypto.getRandomValues(new Uint32Array(1))[0]! : Number(named);
  cleanup.onFailure(() => {
    // deno-lint-ignore no-console -- the seed of a failed run
    console.error(`CASCADE_SEED=${seed}: ${tell()}`);
  });
  return seed;
}
