/**
 * The rows about thin lines: whether a limit is kept, and what compression makes of it.
 *
 * The link is paused, something is written, the link goes on: what is measured has all of it to send, and no
 * client beside it.
 *
 * @module
 */
import { constants, zstdCompressSync } from "node:zlib";
import { Cluster } from "../e2e/support/cluster.ts";
import type { Cleanup } from "../e2e/support/e2e.ts";
import { NbdClient } from "../e2e/support/nbd_client.ts";
import { pause, until } from "../e2e/support/wait.ts";
import { fillImage, fillLog } from "./contenders.ts";
import type { OwnRow } from "./report.ts";
import { random } from "./sync_rows.ts";

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
const VOLUME_BYTES = 512 * MIB;
const PAGE_BYTES = 8192;
const LINK = "hq-dr";

/** A pair whose log was filled before: a peer that has to make room on its disk is slower than its line. */
async function stage(cleanup: Cleanup, budget: string): Promise<Cluster> {
  const cluster = Cluster.create(cleanup, {
    volumes: { data: `${VOLUME_BYTES / MIB}MiB` },
    nodes: ["hq", "dr"],
    links: [{ from: "hq", to: "dr", mode: "async", bandwidth: "none", compress: "none" }],
    budget,
    tcp: true,
  });
  for (const node of cluster.spec.nodes) fillImage(cluster.image(node), VOLUME_BYTES);
  await cluster.start();
  await fillLog(cluster);
  return cluster;
}

/** Changes the topology of a cluster that runs. */
async function tune(cluster: Cluster, bandwidth: string, compress: string): Promise<void> {
  const path = cluster.topologyPath;
  const topology = JSON.parse(Deno.readTextFileSync(path));
  Object.assign(topology.links[0], { bandwidth, compress });
  Deno.writeTextFileSync(path, JSON.stringify(topology, null, 2));
  const reloads = () => cluster.output("hq").split("the topology was reloaded").length;
  const before = reloads();
  cluster.process("hq").signal("SIGHUP");
  await until("the topology was reloaded", () => reloads() > before);
}

/** Writes content behind a paused link, and lets it go on. */
async function backlog(cluster: Cluster, bytes: number, content: (at: number) => Uint8Array) {
  await cluster.converged();
  await cluster.cli(["pause", "--link", LINK]);
  const client = await NbdClient.connect(cluster.socket("hq"));
  for (let at = 0; at < bytes; at += MIB) {
    await client.write(at % VOLUME_BYTES, content(at));
  }
  await client.flush();
  client.close();
  await cluster.cli(["resume", "--link", LINK]);
}

/** How far from its limit a link is, in percent, over some seconds. */
async function deviation(cluster: Cluster, rate: number, seconds: number): Promise<number> {
  const noise = random(MIB);
  await tune(cluster, `${rate / MIB}MiB/s`, "none");
  await backlog(cluster, Math.ceil((seconds + 2) * rate / MIB) * MIB, () => noise);
  const sent = async () => {
    const { nowMs, links } = await cluster.status();
    return { nowMs, bytes: links[0]!.sentBytes };
  };
  const idle = await sent();
  await until("it sends", async () => (await sent()).bytes > idle.bytes + rate / 10, { pollMs: 5 });
  const begun = await sent();
  await pause(seconds * 1000);
  const ended = await sent();
  const found = (ended.bytes - begun.bytes) / ((ended.nowMs - begun.nowMs) / 1000);
  await tune(cluster, "none", "none");
  return 100 * (found / rate - 1);
}

/** A limit of 5, 50 and 200 MiB/s. */
export async function measureLimit(cleanup: Cleanup, bytes: number): Promise<OwnRow[]> {
  const seconds = bytes >= 2 * GIB ? 10 : 2;
  const cluster = await stage(cleanup, "4GiB");
  const details: Record<string, number> = {};
  for (const rate of [5, 50, 200]) {
    details[`at ${rate} MiB/s %`] = await deviation(cluster, rate * MIB, seconds);
  }
  await cluster.dispose();
  return [{
    id: "limit",
    title: `bandwidth limits over ${seconds} s: furthest from the limit (required 3)`,
    unit: "%",
    value: Math.max(...Object.values(details).map(Math.abs)),
    details,
    peaks: {},
  }];
}

const WORDS =
  "alpha beta invoice shipped pending returned paid customer street berlin paris london note"
    .split(" ");

/** Pages with rows of text and numbers, some room left in each, and a page of noise now and then. */
function databaseImage(bytes: number): Uint8Array {
  const image = new Uint8Array(bytes);
  const encoder = new TextEncoder();
  let seed = 1;
  const next = (below: number) => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor(seed / 2 ** 32 * below);
  };
  const word = () => WORDS[next(WORDS.length)]!;
  for (let page = 0; page < bytes; page += PAGE_BYTES) {
    if (next(8) === 0) {
      image.set(random(PAGE_BYTES / 2), page);
      continue;
    }
    let rows = "";
    while (rows.length < PAGE_BYTES * 0.8) {
      const name = `${word()}${next(100_000)}`;
      rows +=
        `${page + next(1000)}\x02${name}\x05${name}@${word()}.example\x00${
          next(1e6)
        }\x01${word()} ` +
        `${word()} ${word()} ${next(1e9).toString(16)}${next(1e9).toString(16)}\n`;
    }
    encoder.encodeInto(rows.slice(0, PAGE_BYTES - 64), image.subarray(page, page + PAGE_BYTES));
  }
  return image;
}

/** Seconds from the first bytes on the wire until the peer has all of it durably. */
async function carry(
  cluster: Cluster,
  rate: string,
  compress: string,
  image: Uint8Array,
): Promise<number> {
  await tune(cluster, rate, compress);
  const before = (await cluster.link(LINK)).sentBytes;
  await backlog(cluster, image.length, (at) => image.subarray(at, at + MIB));
  const isBegun = async () => (await cluster.link(LINK)).sentBytes > before + MIB;
  await until("it sends", isBegun, { pollMs: 5 });
  const begun = performance.now();
  const end = (await cluster.status()).lsn.appended;
  await until("the peer has it", async () => ((await cluster.link(LINK)).durable ?? 0) >= end, {
    pollMs: 5,
    deadlineMs: 300_000,
  });
  return (performance.now() - begun) / 1000;
}

/** A database's image and noise, at 20 MiB/s, as it is and with `auto`. */
export async function measureCompress(cleanup: Cleanup, bytes: number): Promise<OwnRow[]> {
  const cluster = await stage(cleanup, "1GiB");
  const size = Math.min(bytes / 8, 256 * MIB);
  const rate = "20MiB/s";
  const image = databaseImage(size);
  const params = { [constants.ZSTD_c_compressionLevel]: 1 };
  const possible = image.length / zstdCompressSync(image, { params }).length;
  const plain = await carry(cluster, rate, "none", image);
  const packed = await carry(cluster, rate, "auto", image);
  const noise = random(size);
  const plainNoise = await carry(cluster, rate, "none", noise);
  const packedNoise = await carry(cluster, rate, "auto", noise);
  await cluster.dispose();
  return [
    {
      id: "compress",
      title: "a database's image at 20 MiB/s, compress: auto against none",
      unit: "x faster",
      value: plain / packed,
      details: {
        "zstd -1 of the file, ratio": possible,
        "of that ratio (required 0.9)": plain / packed / possible,
        "none s": plain,
        "auto s": packed,
      },
      peaks: {},
    },
    {
      id: "compress-noise",
      title: "random bytes at 20 MiB/s, compress: auto against none (required 0.95)",
      unit: "x",
      value: plainNoise / packedNoise,
      details: { "none s": plainNoise, "auto s": packedNoise },
      peaks: {},
    },
  ];
}
