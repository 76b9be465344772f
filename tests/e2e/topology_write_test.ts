/** Topology files after a failover: written where a node is reached, said where one is not what is so, and never followed. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "node:path";
import { stringify } from "yaml";
import { PERMISSIONS } from "../../build/permissions.ts";
import { cascadeArgsWith } from "./support/cascade_args.ts";
import { cascadeArgs, Cluster } from "./support/cluster.ts";
import { type Cleanup, e2e } from "./support/e2e.ts";
import { NbdClient } from "./support/nbd_client.ts";
import { Background } from "./support/programs.ts";
import { until } from "./support/wait.ts";

const NODES = ["hq", "metro", "dr"];
const IS_OTHER = /the topology file does not say what is so/;

function trio(cleanup: Cleanup, folder = ""): Cluster {
  return Cluster.create(cleanup, {
    nodes: NODES,
    links: [{ from: "hq", to: "metro", mode: "sync" }, { from: "metro", to: "dr", mode: "async" }],
    exporting: ["metro", "dr"],
    tcp: true,
  }, folder);
}

/** A node's own file, with comments. */
function fileOf(cluster: Cluster, node: string): string {
  return join(cluster.folder, `${node}.yaml`);
}

function commentsIn(path: string): string[] {
  return Deno.readTextFileSync(path).split("\n").flatMap((line) => line.match(/#.*/) ?? []).sort();
}

/** Every node gets a file of its own, as on a host of its own. */
function separate(cluster: Cluster): void {
  const topology = JSON.parse(Deno.readTextFileSync(cluster.topologyPath));
  const text = stringify(topology).replace("nodes:\n", "# All of them.\nnodes:\n")
    .replace("role: primary", "role: primary # the main site").replace(/(mode: sync)/, "$1 # near");
  for (const node of NODES) Deno.writeTextFileSync(fileOf(cluster, node), `# At ${node}.\n${text}`);
}

async function start(cluster: Cluster, ...nodes: string[]): Promise<void> {
  for (const node of nodes) cluster.spawn(node, fileOf(cluster, node));
  for (const node of nodes) await cluster.ready(node);
}

async function settled(cluster: Cluster, primary: string, at: number): Promise<void> {
  const client = await NbdClient.connect(cluster.socket(primary));
  await client.write(at * 4096, new Uint8Array(4096).fill(at));
  await client.flush();
  client.close();
  await until(`all follow ${primary}`, async () => {
    const end = (await cluster.status(primary)).lsn.appended;
    for (const node of NODES) {
      const { lsn, tree } = await cluster.status(node);
      if (lsn.applied !== end || tree?.primary !== primary || tree.isRejoining) return false;
    }
    return true;
  });
}

async function declared(cluster: Cluster): Promise<string[]> {
  const statuses = await Promise.all(NODES.map((node) => cluster.status(node)));
  return statuses.filter(({ tree }) => tree?.isDeclared === true).map(({ name }) => name);
}

/** What a node says from now on. */
function listen(cluster: Cluster, node: string): (pattern: RegExp) => Promise<string> {
  const heard = cluster.output(node).length;
  return (pattern) =>
    until(`${node} says ${pattern}`, () => pattern.exec(cluster.output(node).slice(heard))?.[0]);
}

/** Reads the file again: what the node says of it. */
async function reload(cluster: Cluster, node: string, pattern: RegExp): Promise<string> {
  const before = cluster.output(node).length;
  const says = listen(cluster, node);
  cluster.process(node).signal("SIGHUP");
  await says(/the topology was reloaded.*\n/);
  await says(pattern);
  return cluster.output(node).slice(before);
}

const words = (text: string) =>
  text.trim().split("\n").filter((line) => /^(?:hq|metro|dr|here): /.test(line));

e2e("each node writes its own file, and none is followed", [], async (cleanup) => {
  const cluster = trio(cleanup);
  separate(cluster);
  const comments = NODES.map((node) => commentsIn(fileOf(cluster, node)));
  await start(cluster, ...NODES);
  await settled(cluster, "hq", 1);
  await cluster.kill("hq");
  const first = await cluster.cli(["promote", "metro", "--write", "--yes"]);
  const lines = words(first.stdout);
  assertMatch(lines[0]!, /^hq: not reached: /);
  assertEquals(lines.slice(1).map((line) => line.replace(/ \(.*/, "")), [
    `metro: written: ${fileOf(cluster, "metro")}`,
    `dr: written: ${fileOf(cluster, "dr")}`,
    `here: written: ${cluster.topologyPath}`,
  ]);
  assertMatch(first.stderr, /the same command writes the files of the others/);

  // The old primary comes back with its old file.
  await start(cluster, "hq");
  const says = listen(cluster, "hq");
  await settled(cluster, "metro", 2);
  assertEquals(await declared(cluster), ["metro", "dr"]);
  assertMatch(
    (await cluster.cli(["status"], { codes: null })).stdout,
    /^the topology file of hq says otherwise: `cascade migrate metro --write` /m,
  );
  await says(/file does not say what is so.*says="hq is the primary.*so="metro is the primary/);
  await reload(cluster, "hq", /are not changed by the topology file.*cascade migrate hq/);
  assertEquals((await cluster.status("hq")).role, "secondary");

  // Changed by hand to what is so: that is taken, and the link stays.
  const old = Deno.readTextFileSync(fileOf(cluster, "hq"));
  const linkOf = async () => (await cluster.link("metro-hq", "hq")).connectedSince;
  const connected = await linkOf();
  Deno.copyFileSync(fileOf(cluster, "metro"), fileOf(cluster, "hq"));
  const taken = await reload(cluster, "hq", /the topology was reloaded changed=nothing/);
  assert(!/are not changed/.test(taken), taken);
  assertEquals([await declared(cluster), await linkOf()], [NODES, connected]);
  Deno.writeTextFileSync(fileOf(cluster, "hq"), old);

  const again = await cluster.cli(["promote", "metro", "--write", "--yes"]);
  assertEquals(words(again.stdout).map((line) => line.split(": ").slice(0, 2).join(": ")), [
    "hq: written",
    "metro: says so already",
    "dr: says so already",
    "here: says so already",
  ]);
  assertEquals(await declared(cluster), NODES);
  for (const [i, node] of NODES.entries()) {
    const check = await cluster.cli(["check", fileOf(cluster, node)]);
    assertEquals(check.stdout + check.stderr, "", node);
    assertEquals(commentsIn(fileOf(cluster, node)), comments[i], node);
  }

  // What is not of roles and links is taken as ever, and no connection is lost.
  const metro = fileOf(cluster, "metro");
  const text = Deno.readTextFileSync(metro);
  Deno.writeTextFileSync(metro, text.replace("mode: async", "mode: async\n    bandwidth: 50MiB/s"));
  const heard = await reload(cluster, "metro", /changed=metro-dr\.bandwidth/);
  assert(!/disconnected|are not changed/.test(heard), heard);
  const before = await cluster.status("metro");
  await settled(cluster, "metro", 3);
  const after = await cluster.status("metro");
  const since = (links: typeof after.links) => links.map(({ connectedSince }) => connectedSince);
  assertEquals(since(after.links), since(before.links));

  for (const node of ["dr", "hq", "metro"]) await cluster.stop(node);
  const ends = NODES.map((node) => cluster.output(node).length);
  await start(cluster, ...NODES);
  await settled(cluster, "metro", 4);
  for (const node of NODES) {
    const told = await reload(cluster, node, /the topology was reloaded changed=nothing/);
    assert(!/are not changed/.test(told), told);
  }
  assertEquals(await declared(cluster), NODES);
  const status = await cluster.cli(["status"]);
  assert(!/otherwise|--write/.test(status.stdout), status.stdout);

  await cluster.cli(["migrate", "hq", "--write"]);
  await settled(cluster, "hq", 5);
  assertEquals(await declared(cluster), NODES);
  for (const [i, node] of NODES.entries()) {
    assert(!IS_OTHER.test(cluster.output(node).slice(ends[i])), cluster.output(node));
    assertMatch(Deno.readTextFileSync(fileOf(cluster, node)), /role: primary # the main site/);
  }
});

e2e("a command that is cut off at any moment is completed by the next one", [], async (cleanup) => {
  const cluster = trio(cleanup);
  separate(cluster);
  await start(cluster, ...NODES);
  const moments = [/^/, /is the primary now/, /ready role=primary/, /file was written/];
  for (const [i, moment] of moments.entries()) {
    const [primary, other] = i % 2 === 0 ? ["metro", "hq"] as const : ["hq", "metro"] as const;
    const heard = cluster.output(primary).length;
    await settled(cluster, other, 1 + i);
    const args = ["migrate", primary, "--write"];
    const command = new Background(
      "migrate",
      Deno.execPath(),
      cascadeArgs(...args),
      join(cleanup.folder, "migrate.out"),
      { CASCADE_TOPOLOGY: cluster.topologyPath },
    );
    await until("it has come so far, or is done", () => {
      return command.status !== null || moment.test(cluster.output(primary).slice(heard));
    });
    await command.kill();
    // dr only dials, and just after a hand-over it is about to: it is waited for.
    assert(!/: not reached: /.test((await cluster.cli(args)).stdout));
    await settled(cluster, primary, 10 + i);
    assertEquals(await declared(cluster), NODES);
  }
  // One that cannot be written is told, with the reason.
  Deno.removeSync(`${fileOf(cluster, "dr")}.before`);
  Deno.mkdirSync(`${fileOf(cluster, "dr")}.before`);
  const { code, stdout } = await cluster.cli(["migrate", "metro", "--write"], { codes: null });
  assertMatch(stdout, /^hq: (written|says so already): /m);
  assertMatch(stdout, /^dr: not written: .*dr\.yaml.*cannot be written/m);
  assertEquals(code, 1);
  Deno.removeSync(`${fileOf(cluster, "dr")}.before`);
  const done = await cluster.cli(["migrate", "metro", "--write"]);
  assertMatch(done.stdout, /^dr: written: /m);
});

e2e(
  "a file of all nodes of a host is written once, and a node that was down follows",
  [],
  async (cleanup) => {
    const cluster = trio(cleanup);
    await cluster.start();
    await settled(cluster, "hq", 1);
    await cluster.kill("hq");
    const { stdout } = await cluster.cli(["promote", "metro", "--write", "--yes"]);
    assertEquals(words(stdout).filter((line) => line.includes(": written: ")).length, 1, stdout);
    // By its folder it reigned, by its file it does not, and neither is what counts.
    await cluster.start("hq");
    await settled(cluster, "metro", 2);
    assertEquals(await declared(cluster), NODES);
    await cluster.cli(["reparent", "dr", "--to", "hq", "--write"]);
    await settled(cluster, "metro", 3);
    const topology = JSON.parse(Deno.readTextFileSync(cluster.topologyPath));
    assertEquals(topology.links.map((link: { from: string; to: string }) => [link.from, link.to]), [
      ["metro", "hq"],
      ["hq", "dr"],
    ]);
  },
);

e2e(
  "a node that may not write its file says so, and takes it when the command wrote it",
  [],
  async (cleanup) => {
    const cluster = trio(cleanup, "run");
    const etc = join(cleanup.folder, "etc.yaml");
    const text = Deno.readTextFileSync(cluster.topologyPath);
    Deno.writeTextFileSync(
      etc,
      text.replace("./cluster.secret", `${cluster.folder}/cluster.secret`),
    );
    await cluster.start("hq", "metro");
    const narrow = PERMISSIONS.map((flag) =>
      flag === "--allow-write" ? `${flag}=${cluster.folder}` : flag
    );
    const dr = new Background(
      "dr",
      Deno.execPath(),
      cascadeArgsWith(narrow, "serve", "-t", etc, "--node", "dr"),
      join(cleanup.folder, "dr.out"),
    );
    cleanup.defer(() => dr.kill());
    await until("dr runs", async () => (await cluster.status("dr")).state === "running");
    await settled(cluster, "hq", 1);
    const failed = await cluster.cli(["migrate", "metro", "--write"], { codes: [1] });
    assertMatch(failed.stdout, /^dr: not written: .*etc\.yaml.* Requires write access to .*$/m);
    assertMatch(dr.output(), /WARN .*the topology file was not written .*Requires write access/);
    assertEquals((await cluster.status("dr")).tree?.isDeclared, false);
    const done = await cluster.cli(["migrate", "metro", "--write", "-t", etc]);
    assertMatch(done.stdout, /^dr: says so already: .*etc\.yaml$/m);
    assertMatch(done.stdout, /^here: written: .*etc\.yaml /m);
    assertEquals(await declared(cluster), NODES);
  },
);
