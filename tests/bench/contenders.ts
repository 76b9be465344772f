/**
 * Who is measured: each starts its processes over images of the same kind in the same folder and
 * gives a URI for fio.
 *
 * @module
 */
import { closeSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { fio } from "../e2e/support/clients.ts";
import { Cluster } from "../e2e/support/cluster.ts";
import { freePorts } from "../e2e/support/ports.ts";
import type { Cleanup } from "../e2e/support/e2e.ts";
import { Background } from "../e2e/support/programs.ts";
import { until } from "../e2e/support/wait.ts";

/** One server under test. */
export interface Contender {
  readonly name: string;
  readonly uri: string;
  /** Its processes, by what they do. */
  pids(): Readonly<Record<string, number>>;
  /** Waits until it has nothing left to do, and checks that it still does what it is here for. */
  settle(): Promise<void>;
}

/**
 * How images are filled: in pieces of 1 MiB, as whatever copies, installs or restores one does, or of 4 KiB. The
 * page cache keeps them in pieces of that size, and Linux takes ten times as long for a small write into a large
 * one, whoever writes: so the two are different machines as to everybody's figures.
 */
export type FillBytes = 4096 | 1048576;

/** The volume that each contender serves. */
export interface Disk {
  readonly sizeBytes: number;
  readonly fillBytes: FillBytes;
}

/** Writes a file of zeroes with real room on the disk, so that nobody's writes allocate. */
export function fillImage(path: string, sizeBytes: number, fillBytes: FillBytes = 1048576): void {
  const file = openSync(path, "w");
  const zeroes = new Uint8Array(fillBytes);
  for (let at = 0; at < sizeBytes; at += fillBytes) writeSync(file, zeroes);
  closeSync(file);
}

/** Cascade as the primary of a pair: its log on, one peer that follows in another process. */
export async function startCascade(
  cleanup: Cleanup,
  name: string,
  mode: "async" | "sync",
  { sizeBytes, fillBytes }: Disk,
  budget: string,
): Promise<Contender & { readonly cluster: Cluster }> {
  const cluster = Cluster.create(cleanup, {
    volumes: { data: `${sizeBytes / 1024 / 1024}MiB` },
    nodes: ["hq", "dr"],
    links: [{ from: "hq", to: "dr", mode }],
    budget,
    tcp: true,
  }, name);
  for (const node of cluster.spec.nodes) fillImage(cluster.image(node), sizeBytes, fillBytes);
  await cluster.start();
  await fillLog(cluster);
  return {
    name,
    cluster,
    uri: cluster.uri(),
    pids: () => ({ primary: cluster.process("hq").pid, peer: cluster.process("dr").pid }),
    settle: async () => {
      await cluster.converged();
      const { state } = (await cluster.status()).links[0]!;
      if (state !== "streaming") throw new Error(`${name}: the peer no longer follows: ${state}`);
    },
  };
}

/** Fills the log once, so that every row meets it as it is for good: segments are used again. */
export async function fillLog(cluster: Cluster): Promise<void> {
  for (;;) {
    await cluster.converged();
    const { bytes, budget, segments } = (await cluster.status()).log;
    const left = budget - bytes;
    if (left <= 2 * bytes / segments) return;
    // Small writes: the volumes' pages in the page cache stay small.
    const options = { rw: "randwrite", bs: "4k", iodepth: 16, size: "256m", norandommap: 1 };
    await fio(cluster.uri(), { ...options, io_size: left });
  }
}

/** The file plugin of nbdkit. */
export function startNbdkit(cleanup: Cleanup, disk: Disk): Promise<Contender> {
  const image = join(cleanup.folder, "nbdkit.img");
  const socket = join(cleanup.folder, "nbdkit.sock");
  fillImage(image, disk.sizeBytes, disk.fillBytes);
  return serve(cleanup, "nbdkit", socket, ["nbdkit", "-f", "-U", socket, "file", image]);
}

/** The name of {@linkcode startCeiling}'s contender: it is shown, and competes with nobody. */
export const CEILING = "nothing";

/**
 * nbdkit's null plugin: it forgets what is written, and keeps no file. What it reaches tells how much of
 * nbdkit's other figure is the work of the protocol, and of fio, alone.
 */
export function startCeiling(cleanup: Cleanup, { sizeBytes }: Disk): Promise<Contender> {
  const socket = join(cleanup.folder, "nothing.sock");
  return serve(cleanup, CEILING, socket, [
    ...["nbdkit", "-f", "-U", socket],
    ...["null", `size=${sizeBytes}`],
  ]);
}

/** qemu-nbd over a raw file, with its default cache mode. */
export function startQemuNbd(cleanup: Cleanup, disk: Disk): Promise<Contender> {
  const image = join(cleanup.folder, "qemu-nbd.img");
  const socket = join(cleanup.folder, "qemu-nbd.sock");
  fillImage(image, disk.sizeBytes, disk.fillBytes);
  const options = ["--persistent", "--shared=8", "--cache=writeback", "-f", "raw"];
  return serve(cleanup, "qemu-nbd", socket, ["qemu-nbd", "-k", socket, ...options, image]);
}

/**
 * qemu-nbd over a quorum of a local file and the export of another qemu-nbd over TCP: a write is
 * answered when both have it, as with a sync link.
 */
export async function startQuorum(cleanup: Cleanup, disk: Disk): Promise<Contender> {
  const local = join(cleanup.folder, "quorum-local.img");
  const remote = join(cleanup.folder, "quorum-remote.img");
  const socket = join(cleanup.folder, "quorum.sock");
  const [port] = freePorts(1);
  fillImage(local, disk.sizeBytes, disk.fillBytes);
  fillImage(remote, disk.sizeBytes, disk.fillBytes);
  const far = new Background("quorum-remote", "qemu-nbd", [
    ...["-b", "127.0.0.1", "-p", String(port), "--persistent", "--shared=8"],
    ...["--cache=writeback", "-f", "raw", "-x", "remote", remote],
  ], join(cleanup.folder, "quorum-remote.out"));
  cleanup.defer(() => far.kill());
  await until("the remote export listens", async () => {
    (await Deno.connect({ hostname: "127.0.0.1", port: port! })).close();
    return true;
  });
  const quorum = [
    "driver=quorum",
    "vote-threshold=2",
    "children.0.driver=raw",
    "children.0.file.driver=file",
    `children.0.file.filename=${local}`,
    "children.1.driver=raw",
    "children.1.file.driver=nbd",
    "children.1.file.server.type=inet",
    "children.1.file.server.host=127.0.0.1",
    `children.1.file.server.port=${port}`,
    "children.1.file.export=remote",
  ].join(",");
  const contender = await serve(cleanup, "qemu-quorum", socket, [
    ...["qemu-nbd", "-k", socket, "--persistent", "--shared=8", "--cache=writeback"],
    ...["--image-opts", quorum],
  ]);
  return { ...contender, pids: () => ({ ...contender.pids(), remote: far.pid }) };
}

async function serve(
  cleanup: Cleanup,
  name: string,
  socket: string,
  [program, ...args]: readonly string[],
): Promise<Contender> {
  const server = new Background(name, program!, args, join(cleanup.folder, `${name}.out`));
  cleanup.defer(() => server.kill());
  await until(`${name} listens`, () => {
    if (server.status !== null) throw new Error(server.output());
    return Deno.statSync(socket).isSocket;
  });
  return {
    name,
    uri: `nbd+unix:///?socket=${socket}`,
    pids: () => ({ server: server.pid }),
    settle: () => Promise.resolve(),
  };
}
