/**
 * Which node commands about marks ask.
 *
 * @module
 */
import { CascadeError } from "../core/errors.ts";
import type { Topology, TopologyNode } from "../core/topology/topology.ts";
import type { AdminTarget } from "../io/admin_client.ts";

const ANSWER_TIMEOUT_MS = 60_000;

/** The node named, or else the one that is primary now, or should be. Throws `usage`, `topology`. */
export async function markTarget(file: string, name: string | undefined): Promise<AdminTarget> {
  const { nodeNamed } = await import("../core/topology/node_config.ts");
  const { loadTopology } = await import("../io/topology_file.ts");
  const { readToken } = await import("../io/secret_source.ts");
  const topology = loadTopology(file);
  const node = name === undefined ? await primaryOf(topology) : nodeNamed(topology, name);
  if (node.admin === null) {
    throw new CascadeError("topology", `node ${node.name} has no admin address to ask`, {
      where: { file },
      hint: `Give ${node.name} an \`admin:\` address.`,
    });
  }
  return {
    node: node.name,
    address: node.admin,
    token: node.adminToken === null ? null : readToken(node.adminToken),
    timeoutMs: ANSWER_TIMEOUT_MS,
  };
}

/** Who reigns is what the nodes say: the file may be older. */
async function primaryOf(topology: Topology): Promise<TopologyNode> {
  const { gather } = await import("./report.ts");
  const asked = topology.nodes.filter(({ admin }) => admin !== null);
  const { nodes } = await gather(topology, asked);
  const reigning = nodes.find(({ status }) =>
    status?.role === "primary" && status.state === "running"
  );
  const node = reigning?.node ?? topology.nodes.find(({ role }) => role === "primary");
  if (node !== undefined) return node;
  throw new CascadeError("topology", "the topology has no primary", {
    hint: "Name a node with --node.",
  });
}
