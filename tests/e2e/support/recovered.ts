/**
 * What a node that was killed holds: a copy of all that it left behind is started where it reaches
 * nobody, and does what is left to be done. The node itself stays as it was found.
 *
 * @module
 */
import { join } from "node:path";
import type { Cluster } from "./cluster.ts";
import { freePorts } from "./ports.ts";
import { Background, run } from "./programs.ts";
import { cascadeArgs } from "./cluster.ts";
import { fetchStatus } from "../../../io/admin_client.ts";
import type { NodeStatus } from "../../../core/status.ts";
import { until } from "./wait.ts";

/** A node's images as it makes them good after a crash. */
export interface Recovered {
  /** In the order of the volumes. */
  readonly images: readonly string[];
  readonly status: NodeStatus;
}

interface NodeText {
  dir: string;
  admin: string;
  listen?: string[];
  nbd?: string[];
  volumes?: Record<string, string>;
}

/**
 * Copies what is left of `node`, which does not run, and lets a process make it good. The copy is gone
 * with the next one of the same node.
 */
export async function recover(cluster: Cluster, node: string): Promise<Recovered> {
  const folder = join(cluster.folder, `recovered.${node}`);
  await Deno.remove(folder, { recursive: true }).catch(() => {/* the first one */});
  Deno.mkdirSync(folder);
  const text = JSON.parse(Deno.readTextFileSync(cluster.topologyPath)) as {
    nodes: Record<string, NodeText>;
    secret: string;
  };
  text.secret = join(cluster.folder, "cluster.secret");
  for (const [name, one] of Object.entries(text.nodes)) {
    if (one.listen !== undefined) one.listen = [`unix:${join(folder, name)}.nobody`];
  }
  const mine = text.nodes[node]!;
  const copy = async (path: string) => {
    await run("cp", ["-a", "--sparse=always", path, folder]);
    return join(folder, path.slice(path.lastIndexOf("/") + 1));
  };
  mine.dir = await copy(mine.dir);
  mine.admin = `http://127.0.0.1:${freePorts(1)[0]}`;
  delete mine.nbd;
  const images: string[] = [];
  for (const [volume, path] of Object.entries(mine.volumes ?? {})) {
    await copy(`${path}.cascade`);
    images.push(mine.volumes![volume] = await copy(path));
  }
  const topology = join(folder, "topology.yaml");
  Deno.writeTextFileSync(topology, JSON.stringify(text));
  const status = await settle(topology, node, mine.admin, join(folder, "out"));
  return { images, status };
}

async function settle(
  topology: string,
  node: string,
  address: string,
  output: string,
): Promise<NodeStatus> {
  const args = cascadeArgs("serve", "-t", topology, "--node", node);
  const process = new Background(`${node}, recovered`, Deno.execPath(), args, output);
  try {
    const status = await until(`${node} makes good what a crash left`, async () => {
      if (process.status !== null) return true;
      const status = await fetchStatus({ address, token: null, timeoutMs: 5000 });
      const { applied, stable } = status.lsn;
      return status.state === "running" && applied === stable ? status : null;
    });
    if (status === true) throw new Error(`it ended:\n${process.output()}`);
    const code = await process.stop();
    if (code !== 0) throw new Error(`it stopped with ${code}:\n${process.output()}`);
    return status;
  } finally {
    await process.kill();
  }
}
