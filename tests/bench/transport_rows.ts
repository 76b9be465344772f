/**
 * The rows about what carries a link: the same stream over plain TCP, TLS and QUIC, and what bare QUIC streams of
 * the runtime carry.
 *
 * @module
 */
import { join } from "node:path";
import { DATA_RECORDS_BYTES_MAX } from "../../core/link/link_limits.ts";
import { writeBulk } from "../e2e/support/bulk.ts";
import { Cluster } from "../e2e/support/cluster.ts";
import type { Cleanup } from "../e2e/support/e2e.ts";
import { run } from "../e2e/support/programs.ts";
import { until } from "../e2e/support/wait.ts";
import { bareQuic } from "./bare_quic.ts";
import { median, type OwnRow } from "./report.ts";

const MIB = 1024 * 1024;
const MB = 1e6;
const ROUNDS = 5;

type Kind = "tcp" | "tls" | "quic";

/** A pair with an async link over one transport. */
async function stage(cleanup: Cleanup, kind: Kind, bytes: number): Promise<Cluster> {
  const cluster = Cluster.create(cleanup, {
    volumes: { data: `${bytes / MIB}MiB` },
    nodes: ["hq", "dr"],
    links: [{
      from: "hq",
      to: "dr",
      mode: "async",
      ...(kind === "tcp" ? {} : { transport: kind }),
    }],
    budget: `${8 * bytes / MIB}MiB`,
    tcp: true,
  }, kind);
  await cluster.start();
  await cluster.converged();
  return cluster;
}

/** Seconds from when the link goes on until the peer has all durably. */
async function stream(cluster: Cluster, bytes: number): Promise<number> {
  await cluster.cli(["pause", "--link", "hq-dr"]);
  await writeBulk(cluster.socket("hq"), "data", 0, bytes / MIB);
  await cluster.converged("hq");
  await run("sync", []);
  const { lsn } = await cluster.status("hq");
  const before = (await cluster.status("dr")).lsn.durable;
  const resumed = cluster.cli(["resume", "--link", "hq-dr"]);
  const moved = async (atLsn: number) => (await cluster.status("dr")).lsn.durable >= atLsn;
  await until("it goes on", () => moved(before + 1), { pollMs: 2 });
  const begun = performance.now();
  await until("the peer has all", () => moved(lsn.appended), { pollMs: 5, deadlineMs: 120_000 });
  const seconds = (performance.now() - begun) / 1000;
  await resumed;
  return seconds;
}

/** See the module's text. Rounds go in turn, so that all meet the same machine. */
export async function measureTransports(cleanup: Cleanup, bytes: number): Promise<OwnRow[]> {
  const kinds = ["tcp", "tls", "quic"] as const;
  const rates: Record<Kind | "bare", number[]> = { tcp: [], tls: [], quic: [], bare: [] };
  const clusters = new Map<Kind, Cluster>();
  for (const kind of kinds) clusters.set(kind, await stage(cleanup, kind, bytes));
  const certs = join(clusters.get("quic")!.folder, "certs");
  for (let round = 0; round < ROUNDS; round++) {
    for (const [kind, cluster] of clusters) {
      rates[kind].push(bytes / MB / await stream(cluster, bytes));
    }
    const seconds = await bareQuic(certs, "e2e", "hq", bytes, DATA_RECORDS_BYTES_MAX);
    rates.bare.push(bytes / MB / seconds);
  }
  const value = (kind: keyof typeof rates) => median(rates[kind]);
  return [
    {
      id: "stream-tls",
      title: "async stream over TLS",
      unit: "MB/s",
      value: value("tls"),
      details: {
        "over plain TCP": value("tcp"),
        "factor (required 0.6)": value("tls") / value("tcp"),
      },
      peaks: {},
    },
    {
      id: "stream-quic",
      title: "async stream over QUIC",
      unit: "MB/s",
      value: value("quic"),
      details: {
        "bare QUIC stream": value("bare"),
        "factor (required 0.8)": value("quic") / value("bare"),
      },
      peaks: {},
    },
  ];
}
