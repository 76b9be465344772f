/**
 * The demo's cascade: a temporary folder, a topology of four nodes, four real processes of this
 * very program. Everything is gone when it ends, however it ends.
 *
 * @module
 */
import { PERMISSIONS, UNSTABLE } from "../../build/permissions.ts";
import { delay } from "@std/async/delay";
import type { Topology } from "../../core/topology/topology.ts";
import { loadTopology } from "../../io/topology_file.ts";
import { gather, type Report } from "../report.ts";

/** hq -sync-> metro -async-> dr1, and metro -periodic-> dr2. */
export const DEMO_NODES = ["hq", "metro", "dr1", "dr2"] as const;
export type DemoNode = (typeof DEMO_NODES)[number];

/** How often dr2 is sent what changed. */
const PERIOD = "3s";
const START_TIMEOUT_MS = 10_000;
const POLL_MS = 50;

/** How to run this program again: the compiled binary itself, or Deno with the main module and what that may do. */
export function selfCommand(): string[] {
  if (Deno.build.standalone) return [Deno.execPath()];
  const main = new URL("../../mod.ts", import.meta.url).href;
  return [Deno.execPath(), "run", ...PERMISSIONS, ...UNSTABLE, "--quiet", main];
}

/** Sends a signal to a process that may have ended by itself. */
function signal(child: Deno.ChildProcess, name: Deno.Signal): void {
  try {
    child.kill(name);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
  }
}

export class DemoCluster {
  readonly folder: string;
  readonly #sizeBytes: number;
  #parsed: Topology | null = null;
  readonly #processes = new Map<DemoNode, Deno.ChildProcess>();

  private constructor(folder: string, sizeBytes: number) {
    this.folder = folder;
    this.#sizeBytes = sizeBytes;
  }

  /** Makes the folder and the topology; starts nothing. */
  static async create(sizeBytes: number): Promise<DemoCluster> {
    const folder = await Deno.makeTempDir({ prefix: "cascade-demo-" });
    const cluster = new DemoCluster(folder, sizeBytes);
    await Deno.writeTextFile(cluster.topology, cluster.#topologyText());
    const secret = [...crypto.getRandomValues(new Uint8Array(32))];
    const hex = secret.map((byte) => byte.toString(16).padStart(2, "0")).join("");
    await Deno.writeTextFile(`${folder}/demo.secret`, `${hex}\n`, { mode: 0o600 });
    return cluster;
  }

  get topology(): string {
    return `${this.folder}/topology.yaml`;
  }

  /** The Unix socket of the primary's export. */
  get exportSocket(): string {
    return `${this.folder}/hq.nbd`;
  }

  image(node: DemoNode): string {
    return `${this.folder}/${node}.img`;
  }

  #topologyText(): string {
    const node = (name: DemoNode, role: string, extra: string) =>
      `  ${name}:\n    role: ${role}\n    dir: ./${name}\n    listen: [unix:./${name}.sock]\n` +
      `    volumes: { data: ./${name}.img }\n    log: { budget: 256MiB, segment: 16MiB }\n` +
      `    admin: unix:./${name}.admin\n${extra}`;
    return `cascade: 1\nname: demo\nsecret: ./demo.secret\nvolumes:\n` +
      `  data: { size: ${this.#sizeBytes} }\nnodes:\n` +
      node("hq", "primary", "    nbd: [unix:./hq.nbd]\n") + node("metro", "intermediate", "") +
      node("dr1", "secondary", "") + node("dr2", "secondary", "") +
      `links:\n  - { from: hq, to: metro, mode: sync, timeout: 5s }\n` +
      `  - { from: metro, to: dr1, mode: async }\n  - { from: metro, to: dr2, mode: periodic, every: ${PERIOD} }\n`;
  }

  /** Starts a node's process; its journal goes to NODE.log in the folder. */
  start(node: DemoNode): void {
    const [program = "", ...args] = selfCommand();
    const log = `${this.folder}/${node}.log`;
    const words = [program, ...args, "serve", "--topology", this.topology, "--node", node];
    // A shell only to send the journal to a file; `exec` makes it the process itself.
    const child = new Deno.Command("/bin/sh", {
      args: ["-c", 'exec "$@" >>"$0" 2>&1', log, ...words],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    this.#processes.set(node, child);
  }

  /** kill -9, and waits until the process is gone. */
  async kill(node: DemoNode): Promise<void> {
    const child = this.#processes.get(node);
    if (child === undefined) return;
    this.#processes.delete(node);
    signal(child, "SIGKILL");
    await child.status;
  }

  /** The cascade as it is now, or one node of it; nodes that do not answer are in it as such. */
  report(only?: DemoNode): Promise<Report> {
    const topology = this.#parsed ??= loadTopology(this.topology);
    const nodes = topology.nodes.filter(({ name }) => only === undefined || name === only);
    return gather(topology, nodes);
  }

  /** Waits until `test` holds; throws with the nodes' last words when it does not in time. */
  async waitFor(what: string, test: () => Promise<boolean>, timeoutMs = START_TIMEOUT_MS) {
    const deadline = performance.now() + timeoutMs;
    while (!await test()) {
      if (performance.now() > deadline) {
        throw new Error(`${what}: not within ${timeoutMs / 1000} s\n${await this.lastWords()}`);
      }
      await delay(POLL_MS);
    }
  }

  /** The ends of the nodes' journals. */
  async lastWords(): Promise<string> {
    const parts: string[] = [];
    for (const node of DEMO_NODES) {
      const text = await Deno.readTextFile(`${this.folder}/${node}.log`).catch(() => "");
      parts.push(`--- ${node}\n${text.split("\n").slice(-8).join("\n")}`);
    }
    return parts.join("\n");
  }

  /** Stops all processes in order (SIGTERM); what does not stop in time is killed. */
  async stop(): Promise<void> {
    for (const node of DEMO_NODES) {
      const child = this.#processes.get(node);
      if (child === undefined) continue;
      signal(child, "SIGTERM");
      const late = setTimeout(() => signal(child, "SIGKILL"), START_TIMEOUT_MS);
      await child.status;
      clearTimeout(late);
      this.#processes.delete(node);
    }
  }

  /** Kills what still runs and removes the folder. */
  async remove(): Promise<void> {
    for (const node of [...this.#processes.keys()]) await this.kill(node);
    await Deno.remove(this.folder, { recursive: true });
  }
}
