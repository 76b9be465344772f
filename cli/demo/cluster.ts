/**
 * A demo's cascade: a temporary folder, a topology, a real process of this very program for each
 * node. Everything is gone when it ends, however it ends.
 *
 * @module
 */
import { PERMISSIONS, RUNTIME } from "../../build/permissions.ts";
import { delay } from "@std/async/delay";
import { CascadeError } from "../../core/errors.ts";
import type { Topology } from "../../core/topology/topology.ts";
import { loadTopology } from "../../io/topology_file.ts";
import { gather, type Report } from "../report.ts";

/** Who takes part in a story. The first node is the primary. */
export interface Cast {
  readonly roles: Readonly<Record<string, "primary" | "intermediate" | "secondary">>;
  /** Those that clients may connect to, if they are the primary. */
  readonly exporting: readonly string[];
  /** The links, as they stand in a topology file. */
  readonly links: readonly string[];
}

/** A machine that is busy with other things may take long to start four programs. */
const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 10_000;
const POLL_MS = 50;

/** How to run this program again: the compiled binary itself, or Deno with the main module and what that may do. */
export function selfCommand(): string[] {
  if (Deno.build.standalone) return [Deno.execPath()];
  const main = new URL("../../mod.ts", import.meta.url).href;
  return [Deno.execPath(), "run", ...PERMISSIONS, ...RUNTIME, "--quiet", main];
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
  readonly #cast: Cast;
  readonly #sizeBytes: number;
  #parsed: Topology | null = null;
  #removed: Promise<void> | null = null;
  readonly #processes = new Map<string, Deno.ChildProcess>();
  readonly #commands = new Set<Deno.ChildProcess>();

  private constructor(folder: string, cast: Cast, sizeBytes: number) {
    this.folder = folder;
    this.#cast = cast;
    this.#sizeBytes = sizeBytes;
  }

  /** Makes the folder and the topology; starts nothing. */
  static async create(cast: Cast, sizeBytes: number): Promise<DemoCluster> {
    const folder = await Deno.makeTempDir({ prefix: "cascade-demo-" });
    const cluster = new DemoCluster(folder, cast, sizeBytes);
    await Deno.writeTextFile(cluster.topology, cluster.#topologyText());
    const secret = [...crypto.getRandomValues(new Uint8Array(32))];
    const hex = secret.map((byte) => byte.toString(16).padStart(2, "0")).join("");
    await Deno.writeTextFile(`${folder}/demo.secret`, `${hex}\n`, { mode: 0o600 });
    return cluster;
  }

  get topology(): string {
    return `${this.folder}/topology.yaml`;
  }

  get nodes(): string[] {
    return Object.keys(this.#cast.roles);
  }

  /** The Unix socket of a node's export. */
  exportSocket(node: string): string {
    return `${this.folder}/${node}.nbd`;
  }

  /** The node's folder. */
  dir(node: string): string {
    return `${this.folder}/${node}`;
  }

  image(node: string): string {
    return `${this.folder}/${node}.img`;
  }

  #topologyText(): string {
    const { roles, exporting, links } = this.#cast;
    const nodes = Object.entries(roles).map(([name, role]) =>
      `  ${name}:\n    role: ${role}\n    dir: ./${name}\n    listen: [unix:./${name}.sock]\n` +
      `    volumes: { data: ./${name}.img }\n    log: { budget: 256MiB, segment: 16MiB }\n` +
      `    admin: unix:./${name}.admin\n` +
      (exporting.includes(name) ? `    nbd: [unix:./${name}.nbd]\n` : "")
    );
    return `cascade: 1\nname: demo\nsecret: ./demo.secret\nvolumes:\n` +
      `  data: { size: ${this.#sizeBytes} }\nnodes:\n${nodes.join("")}` +
      `links:\n${links.map((link) => `  - { ${link} }\n`).join("")}`;
  }

  /** Starts a node's process; its journal goes to NODE.log in the folder. */
  start(node: string): void {
    if (this.#removed !== null) throw new Error("the demo was stopped");
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

  /** Stops a node's process where it stands, as a line that is choked does; or lets it go on. */
  hold(node: string, isHeld: boolean): void {
    const child = this.#processes.get(node);
    if (child !== undefined) signal(child, isHeld ? "SIGSTOP" : "SIGCONT");
  }

  /** kill -9, and waits until the process is gone; which one it was. */
  async kill(node: string): Promise<number | null> {
    const child = this.#processes.get(node);
    if (child === undefined) return null;
    this.#processes.delete(node);
    signal(child, "SIGKILL");
    await child.status;
    return child.pid;
  }

  /** Gives a command line, as a user would; both of its outputs, and how it ended. */
  async command(...args: string[]): Promise<{ text: string; code: number }> {
    if (this.#removed !== null) throw new Error("the demo was stopped");
    const [program = "", ...words] = selfCommand();
    const child = new Deno.Command(program, {
      args: [...words, ...args],
      env: { CASCADE_TOPOLOGY: this.topology, NO_COLOR: "1" },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#commands.add(child);
    const { stdout, stderr, code } = await child.output();
    this.#commands.delete(child);
    const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    return { text: (decode(stdout) + decode(stderr)).trimEnd(), code };
  }

  /** The cascade as it is now, or one node of it; nodes that do not answer are in it as such. */
  report(only?: string): Promise<Report> {
    const topology = this.#parsed ??= loadTopology(this.topology);
    const nodes = topology.nodes.filter(({ name }) => only === undefined || name === only);
    return gather(topology, nodes);
  }

  /** Waits until `test` holds; throws `timed-out` with the nodes' last words when it does not in time. */
  async waitFor(what: string, test: () => Promise<boolean>, timeoutMs = START_TIMEOUT_MS) {
    const deadline = performance.now() + timeoutMs;
    while (!await test()) {
      if (performance.now() > deadline) {
        const message = `${what} within ${timeoutMs / 1000} s`;
        const hint =
          "Is the machine busy with something else? Then try again. Of the nodes' journals:\n" +
          await this.lastWords();
        throw new CascadeError("timed-out", message, { hint, retryable: true });
      }
      await delay(POLL_MS);
    }
  }

  /** The ends of the nodes' journals. */
  async lastWords(): Promise<string> {
    const parts: string[] = [];
    for (const node of this.nodes) {
      const text = await Deno.readTextFile(`${this.folder}/${node}.log`).catch(() => "");
      parts.push(`--- ${node}\n${text.split("\n").slice(-8).join("\n")}`);
    }
    return parts.join("\n");
  }

  /** Stops all processes in order (SIGTERM); what does not stop in time is killed. */
  async stop(): Promise<void> {
    for (const node of this.nodes) {
      const child = this.#processes.get(node);
      if (child === undefined) continue;
      signal(child, "SIGTERM");
      const late = setTimeout(() => signal(child, "SIGKILL"), STOP_TIMEOUT_MS);
      await child.status;
      clearTimeout(late);
      this.#processes.delete(node);
    }
  }

  /** Kills what still runs and removes the folder; nothing starts any more. */
  remove(): Promise<void> {
    return this.#removed ??= this.#remove();
  }

  async #remove(): Promise<void> {
    for (const child of this.#commands) signal(child, "SIGKILL");
    for (const node of [...this.#processes.keys()]) await this.kill(node);
    await Deno.remove(this.folder, { recursive: true });
  }
}
