/**
 * A cluster of real processes in a temporary folder: a generated topology, one `serve` a node.
 *
 * @module
 */
import { join } from "node:path";
import type { LinkStatus, NodeStatus } from "../../../core/status.ts";
import { PERMISSIONS, PERMISSIONS_DEVICES } from "../../../build/permissions.ts";
import { fetchStatus } from "../../../io/admin_client.ts";
import { cascadeArgs, cascadeArgsWith } from "./cascade_args.ts";
import type { Cleanup } from "./e2e.ts";
import { freePorts } from "./ports.ts";
import { Background, type Outcome, run, type RunOptions } from "./programs.ts";
import { TestCa } from "../../support/certificates.ts";
import { until } from "./wait.ts";

export { cascadeArgs };

/** One link of the topology, as in the file. */
export interface LinkSpec {
  readonly from: string;
  readonly to: string;
  readonly mode: "sync" | "async" | "periodic";
  /** Of a periodic link. */
  readonly every?: string;
  readonly onDisconnect?: "degrade" | "fail";
  readonly onOverflow?: "map" | "stall" | "fail";
  readonly timeout?: string;
  readonly verify?: string;
  readonly dial?: "to" | "from";
  readonly bandwidth?: string;
  readonly compress?: string;
  /** What carries it: the topology gets the addresses, certificates and commands for that. */
  readonly transport?: Transport | readonly Transport[];
}

type Transport = "tls" | "quic" | "exec";

/** What a test chooses about its cluster. */
export interface ClusterSpec {
  /** Sizes of the volumes; one volume `data` of 64 MiB unless given. */
  readonly volumes?: Record<string, string>;
  /** Node names; the first is the primary, one with links on both sides an intermediate. */
  readonly nodes: readonly string[];
  readonly links: readonly LinkSpec[];
  /** Nodes that keep a log and no volume. */
  readonly logOnly?: readonly string[];
  /** The log budget of every node. */
  readonly budget?: string;
  /** Nodes other than the primary that export their applied image. */
  readonly exporting?: readonly string[];
  /** Its volumes are block devices: its programs are those that may open them. */
  readonly devices?: boolean;
  /** Links over TCP on loopback (default: Unix sockets). */
  readonly tcp?: boolean;
  /** The name of the cluster. */
  readonly name?: string;
  /** What else stands in the topology of a node; `log` is put beside its budget. */
  readonly settings?: Readonly<Record<string, NodeSettings>>;
}

/** Keys of a node, as in the file. */
export type NodeSettings = Readonly<Record<string, unknown>> & {
  readonly log?: Readonly<Record<string, unknown>>;
};

/** The nodes of one test. Everything that it starts ends with the test. */
export class Cluster {
  readonly folder: string;
  readonly topologyPath: string;
  readonly spec: ClusterSpec;
  readonly #admin = new Map<string, string>();
  readonly #running = new Map<string, Background>();

  private constructor(folder: string, spec: ClusterSpec) {
    this.folder = folder;
    this.spec = spec;
    this.topologyPath = join(folder, "topology.yaml");
  }

  /** Writes the topology and its secret; starts nothing. */
  static create(cleanup: Cleanup, spec: ClusterSpec, subfolder = ""): Cluster {
    const folder = join(cleanup.folder, subfolder);
    Deno.mkdirSync(folder, { recursive: true });
    const cluster = new Cluster(folder, spec);
    const ports = freePorts(spec.nodes.length * 2);
    const nodes = Object.fromEntries(spec.nodes.map((name, i) => {
      cluster.#admin.set(name, `http://127.0.0.1:${ports[i * 2]}`);
      return [name, cluster.#nodeTopology(name, ports[i * 2 + 1]!)];
    }));
    const volumes = Object.fromEntries(
      Object.entries(spec.volumes ?? { data: "64MiB" }).map(([name, size]) => [name, { size }]),
    );
    const name = spec.name ?? "e2e";
    const topology = {
      cascade: 1,
      name,
      secret: "./cluster.secret",
      volumes,
      nodes,
      links: spec.links.map((link) => cluster.#linkTopology(link)),
      ...(spec.links.some((link) => link.transport !== undefined) ? { certs: "./certs" } : {}),
    };
    if ("certs" in topology) {
      const ca = new TestCa(join(folder, "certs"));
      for (const node of spec.nodes) ca.issue(name, node);
    }
    Deno.writeTextFileSync(join(folder, "cluster.secret"), "1f".repeat(32) + "\n", { mode: 0o600 });
    Deno.writeTextFileSync(cluster.topologyPath, JSON.stringify(topology, null, 2));
    cleanup.defer(() => cluster.dispose());
    cleanup.onFailure(() => cluster.#tell());
    return cluster;
  }

  #nodeTopology(name: string, port: number): Record<string, unknown> {
    const { spec, folder } = this;
    const isPrimary = spec.nodes[0] === name;
    const feeds = spec.links.some((link) => link.from === name);
    const volumes = Object.keys(spec.volumes ?? { data: "" });
    const dialled = spec.links.filter((link) =>
      (link.dial === "from" ? link.to : link.from) === name
    );
    const kinds = dialled.flatMap(({ transport = [] }) => transport);
    const isPlain = dialled.some(({ transport }) => transport === undefined);
    const listen = [
      ...(!isPlain
        ? []
        : [spec.tcp ? `tcp://127.0.0.1:${port}` : `unix:${join(folder, name)}.link`]),
      // Of the two protocols, one is over TCP and one over UDP.
      ...(kinds.includes("tls") ? [`tls://127.0.0.1:${port}`] : []),
      ...(kinds.includes("quic") ? [`quic://127.0.0.1:${port}`] : []),
    ];
    const exports = isPrimary || (spec.exporting ?? []).includes(name);
    const logOnly = (spec.logOnly ?? []).includes(name);
    const { log, ...settings } = spec.settings?.[name] ?? {};
    return {
      role: isPrimary ? "primary" : feeds ? "intermediate" : "secondary",
      dir: join(folder, name),
      ...(listen.length > 0 ? { listen } : {}),
      ...(logOnly ? {} : {
        volumes: Object.fromEntries(volumes.map((volume) => [volume, this.image(name, volume)])),
      }),
      log: { budget: spec.budget ?? "256MiB", ...log },
      ...(exports ? { nbd: [`unix:${this.socket(name)}`] } : {}),
      admin: this.admin(name),
      ...settings,
    };
  }

  #linkTopology(link: LinkSpec): Record<string, unknown> {
    if (![link.transport ?? []].flat().includes("exec")) return { ...link };
    const node = link.dial === "from" ? link.to : link.from;
    const attach = cascadeArgs("attach", "-t", this.topologyPath, "--node", node);
    return { ...link, exec: [Deno.execPath(), ...attach] };
  }

  /** The node that takes writes. */
  get primary(): string {
    return this.spec.nodes[0]!;
  }

  /** The file behind a node's volume. */
  image(node: string, volume = "data"): string {
    return join(this.folder, `${node}.${volume}.img`);
  }

  /** The folder of a node's log. */
  dir(node: string): string {
    return join(this.folder, node);
  }

  /** Where a node serves NBD. */
  socket(node: string): string {
    return join(this.folder, `${node}.nbd`);
  }

  /** The NBD URI of a node's export. */
  uri(node = this.primary, volume = "data"): string {
    return `nbd+unix:///${volume}?socket=${this.socket(node)}`;
  }

  /** The address of a node's admin side. */
  admin(node: string): string {
    return this.#admin.get(node)!;
  }

  /** The process of a node that was started. */
  process(node: string): Background {
    const process = this.#running.get(node);
    if (process === undefined) throw new Error(`node ${node} was not started`);
    return process;
  }

  /** Starts `serve` for a node without waiting for it; on another topology file, if given. */
  spawn(node: string, topologyPath = this.topologyPath): Background {
    const permissions = this.spec.devices === true ? PERMISSIONS_DEVICES : PERMISSIONS;
    const process = new Background(
      node,
      Deno.execPath(),
      cascadeArgsWith(permissions, "serve", "-t", topologyPath, "--node", node),
      join(this.folder, `${node}.out`),
    );
    this.#running.set(node, process);
    return process;
  }

  /** Starts nodes (all, unless named) and waits until each serves. */
  async start(...names: string[]): Promise<void> {
    const nodes = names.length === 0 ? this.spec.nodes : names;
    for (const node of nodes) this.spawn(node);
    for (const node of nodes) await this.ready(node);
  }

  /** Waits until a node runs, or fails with what it printed when it ended instead. */
  async ready(node: string): Promise<void> {
    const process = this.process(node);
    await until(`${node} runs`, async () => {
      if (process.status !== null) return true;
      return (await this.status(node)).state === "running";
    });
    if (process.status !== null) {
      throw new Error(`${node} ended with ${process.status.code}:\n${process.output()}`);
    }
  }

  /** SIGKILL, and waits until the process is gone. */
  async kill(node: string): Promise<void> {
    await this.process(node).kill();
  }

  /** SIGTERM; fails unless the node ends with 0. */
  async stop(node: string): Promise<void> {
    const code = await this.process(node).stop();
    if (code !== 0) throw new Error(`${node} stopped with ${code}:\n${this.output(node)}`);
  }

  /** The status document of a running node. */
  status(node = this.primary): Promise<NodeStatus> {
    return fetchStatus({ address: this.admin(node), token: null, timeoutMs: 5000 });
  }

  /** Runs a command of Cascade on this cluster's topology. */
  cli(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
    return cascade(args, { ...options, env: { CASCADE_TOPOLOGY: this.topologyPath } });
  }

  /** Everything that a node has printed since it was first started. */
  output(node: string): string {
    return this.process(node).output();
  }

  /** Waits until the nodes (all, unless named) have applied all that the primary appended. */
  async converged(...names: string[]): Promise<void> {
    const nodes = names.length === 0 ? this.spec.nodes : names;
    await until(`${nodes.join(", ")} caught up`, async () => {
      const end = (await this.status()).lsn.appended;
      for (const node of nodes) {
        const { lsn, consistent } = await this.status(node);
        // A node that only keeps the log never applies: durable is all there is.
        const logOnly = (this.spec.logOnly ?? []).includes(node);
        if ((logOnly ? lsn.durable : lsn.applied) !== end || !consistent) return false;
      }
      return (await this.status()).lsn.appended === end;
    }, { deadlineMs: 90_000 });
  }

  /** A link, as a node (its upstream end, unless named) tells of it. */
  async link(name: string, teller?: string): Promise<LinkStatus> {
    const from = teller ?? this.spec.links.find(({ from, to }) => `${from}-${to}` === name)?.from;
    const { links } = await this.status(from);
    const link = links.find((one) => one.name === name);
    if (link === undefined) throw new Error(`${from} tells nothing of the link ${name}`);
    return link;
  }

  /** Waits until a node has applied up to `lsn`. */
  async reached(node: string, lsn: number): Promise<void> {
    await until(
      `${node} has applied ${lsn}`,
      async () => (await this.status(node)).lsn.applied >= lsn,
    );
  }

  /** Kills what still runs. */
  async dispose(): Promise<void> {
    for (const process of this.#running.values()) await process.kill();
  }

  #tell(): void {
    for (const [node, process] of this.#running) {
      // deno-lint-ignore no-console -- a failed test shows what its nodes said
      console.error(`--- last lines of ${node}:\n${process.output().slice(-3000)}`);
    }
  }
}

/** Runs the command line. */
export function cascade(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  return run(Deno.execPath(), cascadeArgs(...args), {
    ...options,
    env: { NO_COLOR: "1", ...options.env },
  });
}
