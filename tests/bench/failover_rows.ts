/**
 * The rows about changes of the tree: promotion, failback, another parent, and what many descendants cost their root.
 * Times are of whole commands as typed, the start of the program included.
 *
 * @module
 */
import { loadTopology, type RunningNode, runNode } from "../../mod.ts";
import { Cluster } from "../e2e/support/cluster.ts";
import type { Cleanup } from "../e2e/support/e2e.ts";
import { NbdClient } from "../e2e/support/nbd_client.ts";
import { cpuSecondsOf, memoryOf } from "../e2e/support/programs.ts";
import { pause, until } from "../e2e/support/wait.ts";
import { median, type OwnRow } from "./report.ts";
import { BLOCK_BYTES, CHANGED, random } from "./sync_rows.ts";

const MIB = 1024 * 1024;
const ROUNDS = 3;
const PIECE_BYTES = 16 * 1024;
const DESCENDANTS = 64;
const FED_BY_EACH = 7;
const WATCHED_MS = 10_000;
const SILENT = { write: () => {} };

/** All rows; `bytes`: of the volume that fails over. */
export async function measureFailover(cleanup: Cleanup, bytes: number): Promise<OwnRow[]> {
  const rows = [...await measureHome(cleanup, bytes), await measureReparent(cleanup)];
  return [...rows, await measureDescendants(cleanup)];
}

async function stage(cleanup: Cleanup, name: string, bytes: number): Promise<Cluster> {
  const cluster = Cluster.create(cleanup, {
    volumes: { data: `${bytes / MIB}MiB` },
    nodes: ["hq", "metro", "dr"],
    links: [{ from: "hq", to: "metro", mode: "async" }, { from: "metro", to: "dr", mode: "async" }],
    budget: `${4 * bytes / MIB}MiB`,
    exporting: ["metro", "dr"],
    tcp: true,
  }, name);
  await cluster.start();
  return cluster;
}

async function write(socket: string, offsets: Iterable<number>, length: number): Promise<void> {
  const client = await NbdClient.connect(socket);
  for (const at of offsets) await client.write(at, random(length));
  await client.flush();
  client.close();
}

function* steps(bytes: number, step: number): Generator<number> {
  for (let at = 0; at < bytes; at += step) yield at;
}

/** 1 % of the blocks, each once. */
function someBlocks(bytes: number): number[] {
  const chosen = new Set<number>();
  const blocks = bytes / BLOCK_BYTES;
  while (chosen.size < blocks * CHANGED) chosen.add(Math.floor(Math.random() * blocks));
  return [...chosen].map((block) => block * BLOCK_BYTES);
}

/** From the command to the first write that is acknowledged there. */
async function timeToServe(cluster: Cluster, node: string, ...args: string[]): Promise<number> {
  const begun = performance.now();
  const command = cluster.cli(args);
  await until(`${node} takes a write`, async () => {
    const client = await NbdClient.connect(cluster.socket(node)).catch(() => null);
    if (client === null) return false;
    try {
      await client.write(0, random(BLOCK_BYTES));
      await client.flush();
      return true;
    } catch {
      return false;
    } finally {
      client.close();
    }
  }, { deadlineMs: 60_000, pollMs: 5 });
  const seconds = (performance.now() - begun) / 1000;
  const { code, stderr } = await command;
  if (code !== 0) throw new Error(`${args.join(" ")} ended with ${code}: ${stderr}`);
  return seconds;
}

/** Blocks are changed on both sides of a fork; the old primary comes back, and is the primary again. */
async function measureHome(cleanup: Cleanup, bytes: number): Promise<OwnRow[]> {
  const cluster = await stage(cleanup, "home", bytes);
  await write(cluster.socket("hq"), steps(bytes, MIB), MIB);
  await cluster.converged();
  await cluster.cli(["pause", "--link", "hq-metro"]);
  await write(cluster.socket("hq"), someBlocks(bytes), BLOCK_BYTES);
  await cluster.kill("hq");
  const promote = await timeToServe(cluster, "metro", "promote", "metro", "--yes");
  await write(cluster.socket("metro"), someBlocks(bytes), BLOCK_BYTES);
  const begun = performance.now();
  await cluster.start("hq");
  await until("hq has all", async () => {
    const [hq, metro] = [await cluster.status("hq"), await cluster.status("metro")];
    return hq.role !== "primary" && hq.tree?.isRejoining === false &&
      hq.lsn.applied === metro.lsn.appended;
  }, { deadlineMs: 120_000 });
  const back = (performance.now() - begun) / 1000;
  const { sentBytes } = await cluster.link("metro-hq", "metro");
  await cluster.cli(["resume", "--link", "hq-metro"]);
  const migrate = await timeToServe(cluster, "hq", "migrate", "hq");
  await cluster.dispose();
  return [
    {
      ...{ id: "promote", title: "promotion to the first acknowledged write", unit: "s" },
      ...{ value: promote, details: { "hand-over home": migrate }, peaks: {} },
    },
    {
      ...{ id: "failback", title: "return after 1 % changed on each side", unit: "% of a copy" },
      ...{ value: 100 * sentBytes / bytes, details: { "MiB sent": sentBytes / MIB, s: back } },
      peaks: {},
    },
  ];
}

/** All of the volume was overwritten, in small pieces and any order, and nothing of it is applied where it is to reign. */
export async function measureDelayed(cleanup: Cleanup, bytes: number): Promise<OwnRow[]> {
  const cluster = Cluster.create(cleanup, {
    volumes: { data: `${bytes / MIB}MiB` },
    nodes: ["hq", "metro"],
    links: [{ from: "hq", to: "metro", mode: "async" }],
    budget: `${4 * bytes / MIB}MiB`,
    exporting: ["metro"],
    settings: { metro: { applyDelay: "6h" } },
    tcp: true,
  }, "delayed");
  await cluster.start();
  await write(cluster.socket("hq"), shuffled([...steps(bytes, PIECE_BYTES)]), PIECE_BYTES);
  const end = (await cluster.status("hq")).lsn.appended;
  await until("metro has all", async () => (await cluster.status("metro")).lsn.durable === end, {
    deadlineMs: 120_000,
  });
  const { lsn } = await cluster.status("metro");
  await cluster.kill("hq");
  const seconds = await timeToServe(cluster, "metro", "promote", "metro", "--yes");
  const after = (await cluster.status("metro")).lsn;
  await cluster.dispose();
  return [{
    ...{ id: "promote-delayed", title: "promotion with nothing applied", unit: "s" },
    value: seconds,
    details: {
      "MiB not applied": (lsn.durable - lsn.applied) / MIB,
      "MiB not applied after it": (after.durable - after.applied) / MIB,
    },
    peaks: {},
  }];
}

function shuffled<T>(list: T[]): T[] {
  for (let i = list.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [list[i], list[j]] = [list[j]!, list[i]!];
  }
  return list;
}

async function measureReparent(cleanup: Cleanup): Promise<OwnRow> {
  const cluster = await stage(cleanup, "reparent", 64 * MIB);
  await write(cluster.socket("hq"), steps(64 * MIB, MIB), MIB);
  await cluster.converged();
  const times: number[] = [];
  let bytes = 0;
  for (let round = 0; round < ROUNDS; round++) {
    for (const to of ["hq", "metro"]) {
      const begun = performance.now();
      const { code, stderr } = await cluster.cli(["reparent", "dr", "--to", to]);
      if (code !== 0) throw new Error(stderr);
      await until("the new link streams", async () => {
        const { links } = await cluster.status(to);
        const link = links.find(({ name }) => name === `${to}-dr`);
        bytes = Math.max(bytes, link?.sentBytes ?? 0);
        return link?.connectedSince !== null && link?.connectedSince !== undefined;
      }, { pollMs: 5 });
      times.push((performance.now() - begun) / 1000);
    }
  }
  await cluster.dispose();
  return {
    ...{ id: "reparent", title: "another parent for a node that has all", unit: "s" },
    ...{ value: median(times), details: { "KiB sent": bytes / 1024 }, peaks: {} },
  };
}

/** A root with 8 children of 7 children each, all of them in one process beside it, against one child. */
async function measureDescendants(cleanup: Cleanup): Promise<OwnRow> {
  const many = await rootCost(cleanup, "many", DESCENDANTS / (FED_BY_EACH + 1), FED_BY_EACH);
  const one = await rootCost(cleanup, "one", 1, 0);
  return {
    ...{ id: "descendants", title: "a root that tracks 64 descendants", unit: "% of a core" },
    value: many.cpu,
    details: {
      "with one, %": one.cpu,
      "busy, %": many.busyCpu,
      "with one, busy, %": one.busyCpu,
      "MiB more": (many.rssBytes - one.rssBytes) / MIB,
    },
    peaks: {},
  };
}

interface RootCost {
  readonly cpu: number;
  readonly busyCpu: number;
  readonly rssBytes: number;
}

async function rootCost(
  cleanup: Cleanup,
  name: string,
  children: number,
  each: number,
): Promise<RootCost> {
  const middle = Array.from({ length: children }, (_, i) => `m${i}`);
  const links = middle.flatMap((to) => [
    { from: "hq", to, mode: "async" as const },
    ...Array.from(
      { length: each },
      (_, i) => ({ from: to, to: `${to}s${i}`, mode: "async" as const }),
    ),
  ]);
  const nodes = ["hq", ...links.map(({ to }) => to)];
  const spec = { volumes: { data: "16MiB" }, nodes, links, budget: "64MiB" };
  const cluster = Cluster.create(cleanup, spec, name);
  await cluster.start("hq");
  const topology = await loadTopology(cluster.topologyPath);
  const running: RunningNode[] = [];
  for (const node of nodes.slice(1)) running.push(await runNode(topology, node, SILENT));
  await until("all have all", async () => {
    const end = (await cluster.status()).lsn.appended;
    return running.every((node) => node.status().lsn.applied === end);
  }, { deadlineMs: 120_000 });
  const { pid } = cluster.process("hq");
  const share = async (work: () => Promise<void>) => {
    const before = cpuSecondsOf(pid);
    const begun = performance.now();
    await work();
    return 100 * (cpuSecondsOf(pid) - before) / ((performance.now() - begun) / 1000);
  };
  const cpu = await share(() => pause(WATCHED_MS));
  const client = await NbdClient.connect(cluster.socket("hq"));
  const busyCpu = await share(async () => {
    const endMs = performance.now() + WATCHED_MS;
    for (let i = 0; performance.now() < endMs; i++) {
      await client.write((i % 4096) * BLOCK_BYTES, random(BLOCK_BYTES));
      await pause(20);
    }
  });
  client.close();
  const rssBytes = memoryOf(pid).residentBytes;
  for (const node of running.reverse()) await node.stop();
  await cluster.dispose();
  return { cpu, busyCpu, rssBytes };
}
