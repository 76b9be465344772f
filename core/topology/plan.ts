/**
 * The plan of a cascade: a topology as one plain document, without secrets. What `plan` draws, and
 * prints with `--format json`. Fields are only ever added.
 *
 * @module
 */
import * as z from "zod";
import { formatWindow } from "./cron.ts";
import { formatBandwidth } from "./line_scalars.ts";
import type { Topology, TopologyLink, TopologyNode } from "./topology.ts";

const bytes = z.number().int().nonnegative();
const ms = z.number().int().nonnegative();

const planVolumeSchema = z.object({ name: z.string(), sizeBytes: bytes });

const planNodeSchema = z.object({
  name: z.string(),
  role: z.enum(["primary", "intermediate", "secondary"]),
  logOnly: z.boolean().describe("keeps the log and no volume"),
  dir: z.string(),
  listen: z.array(z.string()),
  advertise: z.array(z.string()).nullable(),
  volumes: z.record(z.string(), z.string()).nullable().describe("path by volume; null: log-only"),
  log: z.object({ budgetBytes: bytes, segmentBytes: bytes, deltaBudgetBytes: bytes }),
  nbd: z.array(z.string()),
  admin: z.string().nullable(),
  parents: z.array(z.string()).default([])
    .describe("whom it chooses among, the preferred first; none: it does not choose"),
});

const planLinkSchema = z.object({
  name: z.string(),
  from: z.string(),
  to: z.string(),
  mode: z.enum(["sync", "async", "periodic"]),
  dial: z.enum(["to", "from"]),
  paused: z.boolean(),
  onDisconnect: z.enum(["degrade", "fail"]).nullable().describe("null unless the mode is sync"),
  timeoutMs: ms.nullable().describe("null unless the mode is sync"),
  everyMs: ms.nullable(),
  cron: z.string().nullable(),
  window: z.string().nullable(),
  bandwidth: z.string().nullable().default(null).describe("as in the file; null: no limit"),
});

/** The document. Nodes come in the order of the drawing: each behind its upstream node. */
export const planSchema = z.object({
  name: z.string(),
  volumes: z.array(planVolumeSchema),
  nodes: z.array(planNodeSchema),
  links: z.array(planLinkSchema),
});

export type Plan = z.infer<typeof planSchema>;
export type PlanNode = z.infer<typeof planNodeSchema>;
export type PlanLink = z.infer<typeof planLinkSchema>;

/** The plan of a topology. */
export function planOf(topology: Topology): Plan {
  const byName = new Map(topology.nodes.map((node) => [node.name, node]));
  const nodes: PlanNode[] = [];
  const links: PlanLink[] = [];
  const walk = (node: TopologyNode | undefined): void => {
    if (node === undefined) return;
    nodes.push(planNode(node));
    for (const link of topology.links.filter(({ from }) => from === node.name)) {
      links.push(planLink(link));
      walk(byName.get(link.to));
    }
  };
  walk(topology.nodes.find((node) => node.role === "primary"));
  return { name: topology.name, volumes: [...topology.volumes], nodes, links };
}

function planNode(node: TopologyNode): PlanNode {
  return {
    name: node.name,
    role: node.role,
    logOnly: node.volumes === null,
    dir: node.dir,
    listen: [...node.listen],
    advertise: node.advertise === null ? null : [...node.advertise],
    volumes: node.volumes === null ? null : Object.fromEntries(node.volumes),
    log: { ...node.log },
    nbd: [...node.nbd],
    admin: node.admin,
    parents: [...node.parents ?? []],
  };
}

function planLink(link: TopologyLink): PlanLink {
  return {
    name: link.name,
    from: link.from,
    to: link.to,
    mode: link.mode,
    dial: link.dial,
    paused: link.paused,
    onDisconnect: link.mode === "sync" ? link.onDisconnect : null,
    timeoutMs: link.mode === "sync" ? link.timeoutMs : null,
    everyMs: link.schedule?.everyMs ?? null,
    cron: link.schedule?.cron ?? null,
    window: link.schedule?.window ? formatWindow(link.schedule.window) : null,
    bandwidth: link.bandwidthEntries === null ? null : formatBandwidth(link.bandwidthEntries),
  };
}
