/**
 * `cascade sync` as cron runs it: a script that knows a path and an exit code.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "node:path";
import { writeBulk } from "./support/bulk.ts";
import { cascadeArgs, Cluster, type ClusterSpec } from "./support/cluster.ts";
import { type Cleanup, e2e } from "./support/e2e.ts";
import { assertSameImages } from "./support/images.ts";
import { Background, type Outcome, run } from "./support/programs.ts";
import { until } from "./support/wait.ts";

const MIB = 1024 * 1024;

function nightly(cleanup: Cleanup, spec: Partial<ClusterSpec> = {}): Cluster {
  return Cluster.create(cleanup, {
    volumes: { data: "512MiB" },
    nodes: ["hq", "dr"],
    links: [{ from: "hq", to: "dr", mode: "periodic", every: "24h" }],
    ...spec,
  });
}

/** Runs a script as cron does: hardly any environment, another folder, no terminal. */
async function cron(cluster: Cluster, ...args: string[]): Promise<Outcome> {
  const command = [Deno.execPath(), ...cascadeArgs("sync", "-t", cluster.topologyPath, ...args)];
  const script = join(cluster.folder, `nightly.${crypto.randomUUID()}.sh`);
  Deno.writeTextFileSync(script, `#!/bin/sh\ncd / && exec ${command.join(" ")}\n`);
  const home = `HOME=${Deno.env.get("HOME")}`;
  const cache = `DENO_DIR=${Deno.env.get("DENO_DIR") ?? `${Deno.env.get("HOME")}/.cache/deno`}`;
  return await run("env", ["-i", home, cache, "PATH=/usr/bin:/bin", "sh", script], { codes: null });
}

/** A sync in the background, as cron would have started it. */
function inBackground(cleanup: Cleanup, cluster: Cluster, ...args: string[]): Background {
  const output = join(cluster.folder, `sync.${crypto.randomUUID()}`);
  const all = cascadeArgs("sync", "-t", cluster.topologyPath, "--node", "hq", ...args);
  const background = new Background("sync", Deno.execPath(), all, output);
  cleanup.defer(() => background.kill());
  return background;
}

/** hq has taken `mebibytes` and does not run any more. */
async function writtenAndStopped(cluster: Cluster, mebibytes: number, offset = 0): Promise<void> {
  await cluster.start("hq");
  await writeBulk(cluster.socket("hq"), "data", offset * MIB, mebibytes);
  await cluster.stop("hq");
}

function arrived(cluster: Cluster): Promise<void> {
  return until("what was synced is applied", async () => {
    const { lsn } = await cluster.status("dr");
    return lsn.applied === lsn.appended;
  }).then(() => assertSameImages(cluster));
}

e2e("a nightly sync needs no server above, says one line, and nothing twice", [], async (
  cleanup,
) => {
  const cluster = nightly(cleanup);
  await writtenAndStopped(cluster, 24);
  await cluster.start("dr");
  const plan = await cron(cluster, "--node", "hq", "--dry-run");
  assertEquals([plan.code, plan.stderr], [0, ""]);
  assertMatch(plan.stdout, /^to sync: hq-dr 24(\.\d)?MiB of 24(\.\d)?MiB written\n$/);
  assertEquals((await cluster.status("dr")).lsn.appended, 0, "a plan sends nothing");
  const first = await cron(cluster, "--node", "hq", "--skip-if-running");
  assertEquals([first.code, first.stderr], [0, ""]);
  assertMatch(first.stdout, /^synced: hq-dr 24(\.\d)?MiB of 24(\.\d)?MiB written in \S+\n$/);
  await arrived(cluster);
  // The same blocks over and over: only the last of them go.
  for (let i = 0; i < 3; i++) await writtenAndStopped(cluster, 8);
  const second = JSON.parse((await cron(cluster, "--node", "hq", "--json")).stdout);
  assertEquals([second.beside, second.links[0].outcome], [false, "done"]);
  assert(second.links[0].logBytes > 24 * MIB && second.links[0].deltaBytes < 9 * MIB);
  await arrived(cluster);
  // Only the epoch that a start begins may be new.
  const third = await cron(cluster, "--node", "hq", "--quiet");
  assertEquals([third.code, third.stdout, third.stderr], [0, "", ""]);
});

e2e("a sync beside a server asks it, and a second one is told so", [], async (cleanup) => {
  const cluster = nightly(cleanup);
  await cluster.start();
  await writeBulk(cluster.socket("hq"), "data", 0, 250);
  const first = inBackground(cleanup, cluster, "--json");
  await until("it ships", async () => (await cluster.link("hq-dr")).delta, { pollMs: 2 });
  const [refused, skipped] = await Promise.all([
    cron(cluster, "--node", "hq"),
    cron(cluster, "--node", "hq", "--skip-if-running"),
  ]);
  assertEquals((await first.ended).code, 0, first.output());
  const document = JSON.parse(first.output());
  assertEquals([document.beside, document.links[0].outcome], [true, "done"]);
  await arrived(cluster);
  // They came in time to be told, or the first one was over: then there was nothing left to do.
  if (refused.code !== 0) assertMatch(refused.stderr, /runs already/);
  assertEquals([skipped.code, skipped.stderr], [0, ""]);
});

e2e("two syncs at once without a server: one works, one leaves", [], async (cleanup) => {
  const cluster = nightly(cleanup);
  await writtenAndStopped(cluster, 40);
  // It waits for its peer, meanwhile.
  const first = inBackground(cleanup, cluster);
  await until("it is the node", async () => (await cluster.status("hq")).state === "running");
  const [refused, skipped] = await Promise.all([
    cron(cluster, "--node", "hq"),
    cron(cluster, "--node", "hq", "--skip-if-running", "--json"),
  ]);
  await cluster.start("dr");
  assertEquals(refused.code, 1, refused.stderr);
  assertMatch(refused.stderr, /runs already/);
  assertEquals(skipped.code, 0, skipped.stderr);
  assertMatch(JSON.parse(skipped.stdout).skipped, /runs already/);
  assertEquals((await first.ended).code, 0, first.output());
  await arrived(cluster);
});

e2e("a sync that is killed goes on where it was", [], async (cleanup) => {
  const cluster = nightly(cleanup, { budget: "1GiB" });
  await writtenAndStopped(cluster, 300);
  await cluster.start("dr");
  for (const signal of ["SIGKILL", "SIGTERM"] as const) {
    const killed = inBackground(cleanup, cluster);
    const least = (signal === "SIGKILL" ? 80 : 200) * MIB;
    await until(
      "it is midway",
      async () => ((await cluster.link("hq-dr")).delta?.bytesStaged ?? 0) > least,
      { pollMs: 2 },
    );
    killed.signal(signal);
    assertEquals((await killed.ended).success, false);
    if (signal === "SIGTERM") assertMatch(killed.output(), /interrupted/);
  }
  const last = await cron(cluster, "--node", "hq", "--json");
  assertEquals(last.code, 0, last.stderr);
  const [link] = JSON.parse(last.stdout).links;
  assert(link.logBytes >= 300 * MIB, `${link.logBytes} in all`);
  assert(link.sentBytes < 110 * MIB, `${link.sentBytes} were sent, though most was there`);
  await arrived(cluster);
});

e2e("a sync tells of a peer that is away, and of one that has no room", [], async (cleanup) => {
  const cluster = nightly(cleanup, { settings: { dr: { log: { deltaBudget: "16MiB" } } } });
  await writtenAndStopped(cluster, 64);
  const away = await cron(cluster, "--node", "hq", "--quiet");
  assertEquals([away.code, away.stdout], [4, ""]);
  assertMatch(away.stderr, /^cascade: hq-dr was not synced: dr did not connect[^\n]*\n$/);
  await cluster.start("dr");
  const full = await cron(cluster, "--node", "hq", "--json");
  assertEquals(full.code, 1);
  const [link] = JSON.parse(full.stdout).links;
  assertEquals(link.outcome, "failed");
  assertMatch(link.reason, /needs 4\d MiB more/);
  assertMatch(full.stderr, /hq-dr was not synced: .*4\d MiB more/);
});

e2e("a sync over an async link that refuses its delta fails, and ends", [], async (cleanup) => {
  const cluster = nightly(cleanup, {
    links: [{ from: "hq", to: "dr", mode: "async" }],
    budget: "32MiB",
    settings: { dr: { log: { deltaBudget: "16MiB" } } },
  });
  await cluster.start();
  await cluster.converged();
  await cluster.kill("dr");
  await writeBulk(cluster.socket("hq"), "data", 0, 100);
  await cluster.start("dr");
  const refused = await cron(cluster, "--node", "hq");
  assertEquals(refused.code, 1);
  assertMatch(refused.stderr, /hq-dr was not synced: .*MiB more/);
});

e2e("syncs down a cascade bring all of it to the lowest node, step by step", [], async (
  cleanup,
) => {
  const cluster = Cluster.create(cleanup, {
    nodes: ["hq", "metro", "far"],
    links: [
      { from: "hq", to: "metro", mode: "periodic", every: "24h" },
      { from: "metro", to: "far", mode: "periodic", every: "24h" },
    ],
  });
  await cluster.start();
  for (let round = 0; round < 3; round++) {
    await writeBulk(cluster.socket("hq"), "data", round * 5 * MIB, 8);
    assertEquals((await cron(cluster, "--node", "hq", "--quiet")).code, 0);
    // Two steps of the upper link are one of the lower.
    if (round === 0) continue;
    assertEquals((await cron(cluster, "--node", "metro", "--quiet")).code, 0);
    await cluster.converged();
    assertSameImages(cluster);
  }
});
