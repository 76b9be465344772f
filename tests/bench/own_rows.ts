/**
 * The rows about Cascade alone: links, catching up, recovery, start, cost.
 *
 * @module
 */
import { fio } from "../e2e/support/clients.ts";
import { Cluster } from "../e2e/support/cluster.ts";
import type { Cleanup } from "../e2e/support/e2e.ts";
import { NbdClient } from "../e2e/support/nbd_client.ts";
import { cpuSecondsOf, resetPeak, run } from "../e2e/support/programs.ts";
import { until } from "../e2e/support/wait.ts";
import { peaksOf } from "./compared_rows.ts";
import { fillImage, fillLog } from "./contenders.ts";
import { measureDelayed, measureFailover } from "./failover_rows.ts";
import { measureCompress, measureLimit } from "./line_rows.ts";
import { median, type OwnRow } from "./report.ts";
import { measureScan } from "./scan_rows.ts";
import { measureFar } from "./far_rows.ts";
import { measureSeed } from "./seed_rows.ts";
import { measureSync, measureWire } from "./sync_rows.ts";
import { measureTransports } from "./transport_rows.ts";

const MB = 1e6;
const GIB = 1024 ** 3;
const DEADLINE_MS = 300_000;

/** A pair of nodes, and how much is written to it. */
interface Stage {
  readonly cluster: Cluster;
  readonly bytes: number;
}

type Measure = (cleanup: Cleanup, bytes: number) => Promise<OwnRow[]>;

/** By id: each starts its own cluster, for nothing must be left of the row before. */
export const OWN_ROWS: Readonly<Record<string, Measure>> = {
  link: measureLink,
  "catch-up": measureCatchUp,
  recovery: measureRecovery,
  start: measureStart,
  cpu: measureCpu,
  // Half of what the others write: a volume of 1 GiB in a full run.
  seed: (cleanup, bytes) => measureSeed(cleanup, bytes / 2),
  "seed-tls": (cleanup, bytes) => measureFar(cleanup, bytes / 4),
  sync: (cleanup, bytes) => measureSync(cleanup, bytes / 2),
  scan: (cleanup, bytes) => measureScan(cleanup, bytes / 2),
  transports: (cleanup, bytes) => measureTransports(cleanup, bytes / 8),
  wire: (cleanup, bytes) => measureWire(cleanup, bytes / 8),
  failover: (cleanup, bytes) => measureFailover(cleanup, bytes / 2),
  "promote-delayed": (cleanup, bytes) => measureDelayed(cleanup, bytes / 2),
  limit: measureLimit,
  compress: measureCompress,
};

/** Twice the largest load: a peer that is away for it does not overflow. */
const BUDGET = "4GiB";

/** A pair of nodes; `filled`: whose log was filled before, so that its segments are used again. */
async function stage(
  cleanup: Cleanup,
  name: string,
  bytes: number,
  filled = true,
): Promise<Stage> {
  const cluster = Cluster.create(cleanup, {
    volumes: { data: "512MiB" },
    nodes: ["hq", "dr"],
    links: [{ from: "hq", to: "dr", mode: "async" }],
    budget: BUDGET,
    tcp: true,
  }, name);
  for (const node of cluster.spec.nodes) fillImage(cluster.image(node), GIB / 2);
  await cluster.start();
  if (filled) await fillLog(cluster);
  else await cluster.converged();
  await run("sync", []);
  return { cluster, bytes };
}

/** Writes `bytes` in large requests (or small ones, at random). */
async function write({ cluster, bytes }: Stage, small = false): Promise<void> {
  await fio(cluster.uri(), {
    ...(small ? { rw: "randwrite", bs: "4k", iodepth: 16 } : { rw: "write", bs: "1m", iodepth: 4 }),
    size: "512m",
    io_size: bytes,
    norandommap: 1,
    randrepeat: 0,
  }, DEADLINE_MS);
}

function pidsOf(cluster: Cluster): Record<string, number> {
  return { primary: cluster.process("hq").pid, peer: cluster.process("dr").pid };
}

async function timed(call: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await call();
  return (performance.now() - begun) / 1000;
}

/** From the first write until the peer has applied the last, while clients write at full speed. */
async function measureLink(cleanup: Cleanup, bytes: number): Promise<OwnRow[]> {
  const own = await stage(cleanup, "link", bytes);
  const { cluster } = own;
  Object.values(pidsOf(cluster)).forEach(resetPeak);
  let writing = 0;
  const seconds = await timed(async () => {
    writing = await timed(() => write(own));
    await cluster.converged();
  });
  const row = {
    id: "link",
    title: "link throughput, 1 MiB writes, end to end",
    unit: "MB/s",
    value: bytes / MB / seconds,
    details: { "client MB/s": bytes / MB / writing, "lag at the end s": seconds - writing },
    peaks: peaksOf(pidsOf(cluster)),
  };
  await cluster.dispose();
  return [row];
}

/** The peer is stopped, much is written, the peer starts. */
async function measureCatchUp(cleanup: Cleanup, bytes: number): Promise<OwnRow[]> {
  const own = await stage(cleanup, "catch-up", bytes);
  const { cluster } = own;
  await cluster.stop("dr");
  const from = (await cluster.status("hq")).lsn.appended;
  await write(own, true);
  await cluster.converged("hq");
  await run("sync", []);
  const begun = performance.now();
  cluster.spawn("dr");
  await cluster.ready("dr");
  const started = performance.now();
  const logBytes = (await cluster.status("hq")).lsn.appended - from;
  resetPeak(cluster.process("hq").pid);
  await cluster.converged();
  const seconds = (performance.now() - started) / 1000;
  const row = {
    id: "catch-up",
    title: "catching up from the log, 4 KiB writes, until applied",
    unit: "MB/s",
    value: bytes / MB / seconds,
    details: { "start s": (started - begun) / 1000, "log MB": logBytes / MB },
    peaks: peaksOf(pidsOf(cluster)),
  };
  await cluster.dispose();
  return [row];
}

/** A gigabyte of log, checked by the command and met by a node that was killed. */
async function measureRecovery(cleanup: Cleanup): Promise<OwnRow[]> {
  const own = await stage(cleanup, "recovery", GIB, false);
  const { cluster } = own;
  await cluster.kill("dr");
  await write(own, true);
  const { lsn, log } = await cluster.status("hq");
  await cluster.kill("hq");
  const checking = await timed(() => cluster.cli(["log", "check", cluster.dir("hq")]));
  const seconds = await timed(async () => {
    cluster.spawn("hq");
    await firstRead(cluster);
  });
  const peaks = peaksOf({ primary: cluster.process("hq").pid });
  await cluster.dispose();
  return [
    {
      id: "recovery",
      title: "killed with 1 GiB of log, until the first request",
      unit: "s",
      value: seconds,
      details: {
        "log MB": log.bytes / MB,
        "past the checkpoint MB": (lsn.appended - lsn.checkpointed) / MB,
        "MB/s": (lsn.appended - log.start) / MB / seconds,
      },
      peaks,
    },
    {
      id: "log-check",
      title: "`log check` of 1 GiB of 4 KiB records",
      unit: "MB/s",
      value: (lsn.appended - log.start) / MB / checking,
      details: { seconds: checking },
      peaks: {},
    },
  ];
}

/** From the start of the process until it has answered a read. */
async function measureStart(cleanup: Cleanup): Promise<OwnRow[]> {
  const cluster = Cluster.create(cleanup, { nodes: ["hq"], links: [] }, "start");
  const times: number[] = [];
  for (let i = 0; i < 6; i++) {
    times.push(
      1000 * await timed(async () => {
        cluster.spawn("hq");
        await firstRead(cluster);
      }),
    );
    if (i < 5) await cluster.stop("hq");
  }
  const peaks = peaksOf({ primary: cluster.process("hq").pid });
  await cluster.dispose();
  const [first, ...again] = times;
  return [{
    id: "start",
    title: "from the start to the first request answered",
    unit: "ms",
    value: median(again),
    details: { "the very first ms": first! },
    peaks,
  }];
}

async function firstRead(cluster: Cluster): Promise<void> {
  const client = await until(
    "the first connection",
    () => NbdClient.connect(cluster.socket(cluster.primary)),
    { pollMs: 2, deadlineMs: DEADLINE_MS },
  );
  await client.read(0, 4096);
  client.close();
}

/** Processor time of both nodes for each gigabyte that arrives on the peer's volume. */
async function measureCpu(cleanup: Cleanup, bytes: number): Promise<OwnRow[]> {
  const rows: OwnRow[] = [];
  for (const small of [true, false]) {
    const own = await stage(cleanup, small ? "cpu4k" : "cpu1m", bytes);
    const pids = pidsOf(own.cluster);
    Object.values(pids).forEach(resetPeak);
    const cost = () => [cpuSecondsOf(pids["primary"]!), cpuSecondsOf(pids["peer"]!)] as const;
    const before = cost();
    await write(own, small);
    await own.cluster.converged();
    const after = cost();
    const primary = (after[0] - before[0]) / (bytes / GIB);
    const peer = (after[1] - before[1]) / (bytes / GIB);
    rows.push({
      id: small ? "cpu-4k" : "cpu-1m",
      title: `processor time to replicate, ${small ? "4 KiB random" : "1 MiB"} writes`,
      unit: "s/GiB",
      value: primary + peer,
      details: { primary, peer },
      peaks: peaksOf(pids),
    });
    await own.cluster.dispose();
  }
  return rows;
}
