/**
 * A made-up cascade for the tests of what is drawn: hq -sync-> metro -async-> dr1, dr2.
 *
 * @module
 */
import type { NodeStatus } from "../../core/status.ts";
import { parseTopology, topologyOrThrow } from "../../core/topology/parse.ts";
import type { Topology } from "../../core/topology/topology.ts";
import { type Report, reportOf } from "../../cli/report.ts";
import { linkStatus, nodeStatus } from "../io/fixtures.ts";

const node = (role: string, port: number) =>
  `{ role: ${role}, dir: ./${port}, listen: ["unix:./${port}.sock"], volumes: { data: ./${port}.img }, ` +
  `admin: "http://127.0.0.1:${port}" }`;

const TEXT = `
cascade: 1
name: payroll
secret: ./payroll.secret
volumes: { data: { size: 64MiB } }
nodes:
  hq: ${node("primary", 7431)}
  metro: ${node("intermediate", 7432)}
  dr1: ${node("secondary", 7433)}
  dr2: ${node("secondary", 7434)}
links:
  - { from: hq, to: metro, mode: sync }
  - { from: metro, to: dr1, mode: async }
  - { from: metro, to: dr2, mode: async }
`;

/** The topology of the four. */
export function topology(): Topology {
  return topologyOrThrow(parseTopology(TEXT, "topology.yaml", "/srv"));
}

/** Statuses by name; null for a node that does not answer. */
export type Statuses = Readonly<Record<string, NodeStatus | null>>;

/** All four caught up and streaming. */
export function allWell(): Record<"hq" | "metro" | "dr1" | "dr2", NodeStatus> {
  const down = ["dr1", "dr2"].map((to) =>
    linkStatus({ name: `metro-${to}`, from: "metro", to, mode: "async" })
  );
  const up = linkStatus();
  return {
    hq: nodeStatus({ links: [up, ...down] }),
    metro: nodeStatus({ name: "metro", role: "intermediate", exports: [], links: [up, ...down] }),
    dr1: nodeStatus({ name: "dr1", role: "secondary", exports: [], links: down.slice(0, 1) }),
    dr2: nodeStatus({ name: "dr2", role: "secondary", exports: [], links: down.slice(1) }),
  };
}

/** A report in which the nodes say these things, 30 s after their clocks. */
export function report(statuses: Statuses): Report {
  const made = topology();
  const nodes = made.nodes.map((node) => {
    const status = statuses[node.name] ?? null;
    return { node, status, error: status === null ? "nobody answers" : null };
  });
  return { ...reportOf(made, nodes), atMs: 1_700_000_090_000 };
}
