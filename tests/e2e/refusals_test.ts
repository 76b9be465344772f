import { assert, assertEquals, assertMatch, assertNotEquals } from "@std/assert";
import { join } from "node:path";
import { cascade, cascadeArgs, Cluster } from "./support/cluster.ts";
import { type Cleanup, e2e } from "./support/e2e.ts";
import { Background } from "./support/programs.ts";
import { until, within } from "./support/wait.ts";

interface Topology {
  name: string;
  secret: string;
  volumes: Record<string, { size: string }>;
  nodes: Record<string, Record<string, unknown>>;
  links: Record<string, unknown>[];
}

function pair(cleanup: Cleanup): Cluster {
  return Cluster.create(cleanup, {
    nodes: ["hq", "dr"],
    links: [{ from: "hq", to: "dr", mode: "async" }],
  });
}

/** Writes a changed copy of the topology beside it. */
function variant(cluster: Cluster, name: string, edit: (topology: Topology) => void): string {
  const topology = JSON.parse(Deno.readTextFileSync(cluster.topologyPath)) as Topology;
  edit(topology);
  const path = join(cluster.folder, `${name}.yaml`);
  Deno.writeTextFileSync(path, JSON.stringify(topology, null, 2));
  return path;
}

/** What both ends say of their link once the lower node runs on another topology. */
async function clash(
  cleanup: Cleanup,
  node: string,
  edit: (topology: Topology) => void,
  pattern: RegExp,
): Promise<void> {
  const cluster = pair(cleanup);
  const path = variant(cluster, "other", edit);
  await cluster.start("hq");
  const lower = cluster.spawn(node, path);
  await until("the upper end says why", () => pattern.test(cluster.output("hq")));
  await until("the lower end says why", () => pattern.test(lower.output()));
  assertEquals((await cluster.status("hq")).state, "running");
}

e2e("a second process on the same node is refused, with the pid of the first", [], async (
  cleanup,
) => {
  const cluster = pair(cleanup);
  await cluster.start();
  const second = await cascade(
    ["serve", "-t", cluster.topologyPath, "--node", "hq"],
    { codes: null, deadlineMs: 20_000 },
  );
  assertNotEquals(second.code, 0);
  assertMatch(second.stderr, new RegExp(`\\b${cluster.process("hq").pid}\\b`));
  await cluster.converged();
});

e2e("a node with another secret is refused, and both ends say so", [], async (cleanup) => {
  await clash(cleanup, "dr", (topology) => {
    const folder = topology.nodes["dr"]!["dir"] as string;
    Deno.writeTextFileSync(`${folder}.secret`, "2e".repeat(32) + "\n", { mode: 0o600 });
    topology.secret = `${folder}.secret`;
  }, /secret/i);
});

e2e("a node of another cluster is refused, and both ends say so", [], async (cleanup) => {
  await clash(cleanup, "dr", (topology) => topology.name = "elsewhere", /cluster/i);
});

e2e("a node that the upstream's topology does not know is refused", [], async (cleanup) => {
  await clash(cleanup, "ghost", (topology) => {
    const node = topology.nodes["dr"]!;
    delete topology.nodes["dr"];
    topology.nodes["ghost"] = node;
    topology.links[0]!["to"] = "ghost";
  }, /ghost|unknown/i);
});

e2e("a folder of another node, or a volume of another size, is refused by name", [], async (
  cleanup,
) => {
  const cluster = pair(cleanup);
  await cluster.start();
  await cluster.converged();
  await cluster.stop("dr");
  const stranger = variant(cluster, "stranger", (topology) => {
    topology.nodes["dr"]!["dir"] = cluster.dir("hq") + ".copy";
  });
  await within("the copy", copyFolder(cluster.dir("hq"), cluster.dir("hq") + ".copy"));
  const foreign = await cascade(["serve", "-t", stranger, "--node", "dr"], { codes: null });
  assertNotEquals(foreign.code, 0);
  assertMatch(foreign.stderr, /hq/);

  const larger = variant(cluster, "larger", (topology) => topology.volumes["data"]!.size = "65MiB");
  const wrong = await cascade(["serve", "-t", larger, "--node", "dr"], { codes: null });
  assertNotEquals(wrong.code, 0);
  assertMatch(wrong.stderr, /size|bytes/);
});

e2e("a node that is already connected keeps its place", [], async (cleanup) => {
  const cluster = pair(cleanup);
  await cluster.start();
  await cluster.converged();
  const twin = variant(cluster, "twin", (topology) => {
    const node = topology.nodes["dr"]!;
    node["dir"] = cluster.dir("dr") + ".twin";
    node["volumes"] = { data: cluster.image("dr") + ".twin" };
    delete node["admin"];
  });
  const second = new Background(
    "twin",
    Deno.execPath(),
    cascadeArgs("serve", "-t", twin, "--node", "dr"),
    join(cluster.folder, "twin.out"),
  );
  cleanup.defer(() => second.kill());
  await until("the twin is told", () => /already/.test(second.output()));
  await until("the upper end tells of it", () => /already/.test(cluster.output("hq")));
  assert((await cluster.status("hq")).links[0]!.state === "streaming");
});

e2e("a topology that is wrong ends `serve` with exit code 2", [], async (cleanup) => {
  const cluster = pair(cleanup);
  const misspelt = variant(cluster, "misspelt", (topology) => {
    topology.links[0]!["too"] = topology.links[0]!["to"];
    delete topology.links[0]!["to"];
  });
  const outcome = await cascade(["serve", "-t", misspelt, "--node", "hq"], { codes: null });
  assertEquals(outcome.code, 2);
  assertMatch(outcome.stderr, /misspelt\.yaml:\d+:\d+/);
  const unknown = await cascade(
    ["serve", "-t", cluster.topologyPath, "--node", "hk"],
    { codes: null },
  );
  assertEquals(unknown.code, 2);
});

async function copyFolder(from: string, to: string): Promise<void> {
  await Deno.mkdir(to, { recursive: true });
  for await (const entry of Deno.readDir(from)) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (entry.isDirectory) await copyFolder(source, target);
    else await Deno.copyFile(source, target);
  }
}
