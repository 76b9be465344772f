/**
 * The rows about one-shot sync and about what a periodic link carries.
 *
 * A volume of random data, page cache warm; 1 % of its 4 KiB blocks are changed at random, through the
 * export and, for rsync, in a copy. Times of whole processes, in turn.
 *
 * @module
 */
import { join } from "node:path";
import { fio } from "../e2e/support/clients.ts";
import { Cluster } from "../e2e/support/cluster.ts";
import type { Cleanup } from "../e2e/support/e2e.ts";
import { NbdClient } from "../e2e/support/nbd_client.ts";
import { run } from "../e2e/support/programs.ts";
import { until } from "../e2e/support/wait.ts";
import { median, type OwnRow } from "./report.ts";

const MIB = 1024 * 1024;
export const BLOCK_BYTES = 4096;
export const CHANGED = 0.01;
export const ROUNDS = 5;
const CONFIG = new URL("../../deno.json", import.meta.url).pathname;
const MOD = Deno.env.get("CASCADE_E2E_MOD") ?? new URL("../../mod.ts", import.meta.url).pathname;

/** A process's time and its peak of memory. */
export interface Ran {
  readonly seconds: number;
  readonly bytes: number;
}

/** Runs a program with nothing left to be written. */
export async function timed(program: string, ...args: string[]): Promise<Ran> {
  await run("sync", []);
  const begun = performance.now();
  const { stderr } = await run("/usr/bin/time", ["-f", "%M", program, ...args]);
  const seconds = (performance.now() - begun) / 1000;
  return { seconds, bytes: 1024 * Number(stderr.trim().split("\n").at(-1)) };
}

/** `cascade sync` as cron runs it. */
export function sync(cluster: Cluster): Promise<Ran> {
  const line = ["run", "-A", "--config", CONFIG, MOD, "sync", "-t", cluster.topologyPath];
  return timed(Deno.execPath(), ...line, "--node", cluster.primary, "--quiet");
}

/** A pair with a periodic link that is never due by itself, whose volume is random, and synced. */
async function stage(
  cleanup: Cleanup,
  name: string,
  bytes: number,
  budget: string,
): Promise<Cluster> {
  const cluster = Cluster.create(cleanup, {
    volumes: { data: `${bytes / MIB}MiB` },
    nodes: ["hq", "dr"],
    links: [{ from: "hq", to: "dr", mode: "periodic", every: "30d" }],
    budget,
    settings: { dr: { log: { deltaBudget: `${2 * bytes / MIB}MiB` } } },
  }, name);
  await cluster.start();
  await change(cluster, 0, bytes, MIB);
  await sync(cluster);
  return cluster;
}

/** Writes random bytes in steps, from one end to the other. */
async function change(cluster: Cluster, from: number, to: number, step: number): Promise<void> {
  const client = await NbdClient.connect(cluster.socket(cluster.primary));
  for (let at = from; at < to; at += step) await client.write(at, random(step));
  await client.flush();
  client.close();
}

export function random(bytes: number): Uint8Array {
  const block = new Uint8Array(bytes);
  for (let at = 0; at < bytes; at += 65536) {
    crypto.getRandomValues(block.subarray(at, Math.min(bytes, at + 65536)));
  }
  return block;
}

/** Writes 1 % of the blocks, each once. */
async function changeSome(cluster: Cluster, bytes: number): Promise<void> {
  const blocks = bytes / BLOCK_BYTES;
  const chosen = new Set<number>();
  while (chosen.size < blocks * CHANGED) chosen.add(Math.floor(Math.random() * blocks));
  const client = await NbdClient.connect(cluster.socket(cluster.primary));
  for (const block of chosen) await client.write(block * BLOCK_BYTES, random(BLOCK_BYTES));
  await client.flush();
  client.close();
}

/** The same change for `cascade sync` and for rsync, in turn. */
async function contest(
  cluster: Cluster,
  bytes: number,
  prepare: () => Promise<void>,
): Promise<Record<"cascade" | "rsync", number>> {
  const [source, target] = ["source", "target"].map((name) => join(cluster.folder, name));
  const image = cluster.image(cluster.primary);
  await run("cp", [image, target!]);
  const times = { cascade: [] as number[], rsync: [] as number[] };
  for (let round = 0; round < ROUNDS; round++) {
    await prepare();
    await changeSome(cluster, bytes);
    await until("all is in the volume", async () => {
      const { lsn } = await cluster.status();
      return lsn.applied === lsn.appended;
    });
    await run("cp", [image, source!]);
    times.cascade.push((await sync(cluster)).seconds);
    const line = ["--inplace", "--no-whole-file", source!, target!];
    times.rsync.push((await timed("rsync", ...line)).seconds);
  }
  await run("cmp", [image, cluster.image("dr")]);
  return { cascade: median(times.cascade), rsync: median(times.rsync) };
}

function row(id: string, title: string, { cascade, rsync }: Record<string, number>): OwnRow {
  const details = { rsync: rsync!, "factor (required 20)": rsync! / cascade! };
  return { id, title, unit: "s", value: cascade!, details, peaks: {} };
}

/** From the log, from the dirty map, and with nothing to do. */
export async function measureSync(cleanup: Cleanup, bytes: number): Promise<OwnRow[]> {
  const cluster = await stage(cleanup, "log", bytes, `${4 * bytes / MIB}MiB`);
  const log = await contest(cluster, bytes, () => Promise.resolve());
  const idle: Ran[] = [];
  for (let round = 0; round < ROUNDS; round++) idle.push(await sync(cluster));
  await cluster.dispose();
  const small = await stage(cleanup, "map", bytes, "64MiB");
  // More than the budget, again and again in one place: the log goes, the map stays small.
  const overflow = async () => {
    for (let i = 0; i < 40; i++) await change(small, 0, 2 * MIB, MIB);
  };
  const map = await contest(small, bytes, overflow);
  return [
    row("sync-log", "sync of 1 % from the log", log),
    row("sync-map", "sync of 1 % from the dirty map", map),
    {
      id: "sync-idle",
      title: "sync with nothing to do",
      unit: "s",
      value: median(idle.map(({ seconds }) => seconds)),
      details: { "required s": 0.25 },
      peaks: { sync: Math.max(...idle.map(({ bytes }) => bytes)) },
    },
  ];
}

/** Bytes on the wire for a load that overwrites, streamed and shipped every few seconds. */
export async function measureWire(cleanup: Cleanup, bytes: number): Promise<OwnRow[]> {
  const sent: Record<string, number> = {};
  for (const mode of ["async", "periodic"] as const) {
    const cluster = Cluster.create(cleanup, {
      volumes: { data: "256MiB" },
      nodes: ["hq", "dr"],
      links: [{ from: "hq", to: "dr", mode, ...(mode === "periodic" ? { every: "5s" } : {}) }],
      budget: `${4 * bytes / MIB}MiB`,
    }, mode);
    await cluster.start();
    await cluster.converged();
    await fio(cluster.uri(), {
      rw: "randwrite",
      bs: "4k",
      iodepth: 16,
      size: "16m",
      io_size: `${bytes / MIB}m`,
      rate: "20m",
    });
    await cluster.converged();
    sent[mode] = (await cluster.status()).links[0]!.sentBytes;
    await run("cmp", [cluster.image("hq"), cluster.image("dr")]);
    await cluster.dispose();
  }
  return [{
    id: "wire",
    title: `${bytes / MIB} MiB written over 16 MiB at 20 MiB/s, every 5 s`,
    unit: "MB sent",
    value: sent["periodic"]! / 1e6,
    details: { "streamed MB": sent["async"]! / 1e6, factor: sent["async"]! / sent["periodic"]! },
    peaks: {},
  }];
}
