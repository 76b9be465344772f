/**
 * Kills nodes of a cluster under load, at moments that a seed chooses, and proves that nothing
 * acknowledged was lost and that all images are equal in the end.
 *
 * @module
 */
import type { Cluster } from "./cluster.ts";
import { assertSameImages } from "./images.ts";
import { generator, isBroken, type LoadCounts, StampedLoad } from "./load.ts";
import { NbdClient } from "./nbd_client.ts";
import { pause, until } from "./wait.ts";

/** What is to be done. */
export interface KillPlan {
  readonly kills: number;
  readonly seed: number;
  readonly sizeBytes: number;
  /** Told of every kill. */
  readonly onKill?: (line: string) => void;
}

/** Starts the cluster, and goes through the plan. Throws when anything was lost or differs. */
export async function killUnderLoad(cluster: Cluster, plan: KillPlan): Promise<LoadCounts> {
  const next = generator(plan.seed);
  const load = new StampedLoad(plan.sizeBytes, plan.seed + 1);
  const driver = new Driver(cluster, load);
  await cluster.start();
  driver.start();
  for (let kill = 1; kill <= plan.kills; kill++) {
    await pause(next(600));
    driver.check();
    if (next(4) === 0) await hang(cluster, next);
    const victims = pick(cluster.spec.nodes, next, next(5) === 0 ? 2 : 1);
    const line = `kill ${kill}: ${victims.join(" and ")} after batch ${load.counts.batches}`;
    plan.onKill?.(line);
    await Promise.all(victims.map((victim) => cluster.kill(victim)));
    await pause(next(3) === 0 ? next(400) : 0);
    await restart(cluster, victims, next);
  }
  await driver.finish();
  await cluster.converged();
  assertSameImages(cluster);
  await Promise.all(cluster.spec.nodes.map((node) => cluster.stop(node)));
  assertSameImages(cluster);
  return load.counts;
}

/** Stops a node in its tracks for a while: to the others it is there and says nothing. */
async function hang(cluster: Cluster, next: (below: number) => number): Promise<void> {
  const [node] = pick(cluster.spec.nodes, next, 1);
  const process = cluster.process(node!);
  process.signal("SIGSTOP");
  await pause(next(1500));
  // Half of them are killed as they are.
  if (next(2) === 0) {
    await cluster.kill(node!);
    await restart(cluster, [node!], next);
  } else process.signal("SIGCONT");
}

/** Starts the victims again; now and then kills one while it starts. */
async function restart(
  cluster: Cluster,
  victims: readonly string[],
  next: (below: number) => number,
): Promise<void> {
  for (const victim of victims) cluster.spawn(victim);
  if (next(5) === 0) {
    const twice = victims[0]!;
    await pause(next(400));
    await cluster.kill(twice);
    cluster.spawn(twice);
  }
  for (const victim of victims) await cluster.ready(victim);
}

function pick(
  nodes: readonly string[],
  next: (below: number) => number,
  count: number,
): readonly string[] {
  const left = [...nodes];
  return Array.from({ length: count }, () => left.splice(next(left.length), 1)[0]!);
}

/** Keeps the load going over every reconnect, and verifies all after each. */
class Driver {
  #stopped = false;
  #failure: unknown = null;
  #running: Promise<void> = Promise.resolve();

  constructor(readonly cluster: Cluster, readonly load: StampedLoad) {}

  start(): void {
    this.#running = this.#loop().catch((error) => {
      this.#failure = error;
    });
  }

  /** Throws what the load has met. */
  check(): void {
    if (this.#failure !== null) throw this.#failure;
  }

  /** Stops the load and verifies for the last time, flushed. */
  async finish(): Promise<void> {
    this.#stopped = true;
    await this.#running;
    this.check();
    const client = await this.#connect();
    await this.load.verify(client);
    await client.flush();
    client.close();
  }

  #connect(): Promise<NbdClient> {
    return until(
      "the primary takes clients again",
      () => NbdClient.connect(this.cluster.socket(this.cluster.primary)),
      { pollMs: 5 },
    );
  }

  async #loop(): Promise<void> {
    while (!this.#stopped) {
      const client = await this.#connect();
      try {
        await this.load.verify(client);
        await this.load.run(client, () => this.#stopped, 4);
      } catch (error) {
        if (!isBroken(error)) throw error;
      } finally {
        client.close();
      }
    }
  }
}
