/**
 * One node as a process: from its topology to its end, with signals, admin side and last words.
 *
 * @module
 */
import type { NodeConfig } from "../core/config.ts";
import { CascadeError, describeError } from "../core/errors.ts";
import type { CascadeNode } from "../core/node.ts";
import { NodeLife } from "../core/node_life.ts";
import { limitLink, tuneLinks } from "../core/link/tuning.ts";
import type { Journal, LogLevel } from "../core/ports.ts";
import { isLoopback } from "../core/topology/address.ts";
import { endpointOf } from "../core/topology/hosts.ts";
import { nodeNamed } from "../core/topology/node_config.ts";
import { resolvePath } from "../core/topology/paths.ts";
import { type AdminServer, startAdmin } from "../io/admin.ts";
import { SyncGate } from "../core/sync_gate.ts";
import type { SyncRunner } from "../core/sync_report.ts";
import type { AdminControl } from "../io/admin_control.ts";
import type { JournalFormat } from "../io/journal.ts";
import { notifyService } from "../io/notify.ts";
import { readToken } from "../io/secret_source.ts";
import { loadNodeConfig, loadTopology } from "../io/topology_file.ts";
import { denoPorts, stderrJournal } from "../io/world.ts";
import { EXIT, exitCodeOf, ExitWith } from "./exit.ts";
import { ServedCertificates } from "./serve_certificates.ts";
import { declareTo, reloaded, settled } from "./serve_reload.ts";
import { ServedTopology } from "./serve_topology.ts";

/** What the command line says. */
export interface ServeOptions {
  readonly topology: string;
  readonly node: string;
  readonly logFormat: JournalFormat;
  readonly logLevel: LogLevel;
}

/** All that a node's process takes from its topology. */
export interface NodeSetup {
  readonly config: NodeConfig;
  readonly admin: string | null;
  readonly adminToken: string | null;
}

/**
 * Serves until a signal or a fatal error. Throws `usage` and `topology` as they are; what comes after
 * is told in the journal, and ends with {@linkcode ExitWith} alone.
 */
export async function serve(options: ServeOptions): Promise<void> {
  const setup = loadSetup(options);
  const journal = stderrJournal(options.node, options.logFormat, options.logLevel);
  const signals = new Signals();
  try {
    await run(setup, options, journal, signals);
  } catch (error) {
    if (error instanceof ExitWith) throw error;
    journal.write("error", "cannot serve", { reason: describeError(error) });
    throw new ExitWith(exitCodeOf(error));
  } finally {
    signals.end();
  }
}

/** Reads the topology and what it refers to. Throws `usage` or `topology`. */
export function loadSetup(options: Pick<ServeOptions, "topology" | "node">): NodeSetup {
  const topology = loadTopology(options.topology);
  const node = nodeNamed(topology, options.node);
  return {
    config: loadNodeConfig(topology, options.node),
    admin: node.admin,
    adminToken: node.adminToken === null ? null : readToken(node.adminToken),
  };
}

async function run(
  setup: NodeSetup,
  options: ServeOptions,
  journal: Journal,
  signals: Signals,
): Promise<void> {
  tellOfPlain(setup.config, journal);
  const certificates = new ServedCertificates(setup.config, journal);
  let current = setup;
  let admin: AdminServer | null = null;
  let up: NodeLife | null = null;
  const topologyKeeper = new ServedTopology({
    path: resolvePath(Deno.cwd(), options.topology),
    journal,
    onSettled(view) {
      current = settled(current, view);
      if (up !== null) declareTo(up.node, current);
    },
  });
  const ports = denoPorts({ journal, tls: certificates.links, nbdTls: certificates.nbd });
  const starting = NodeLife.start(() => current.config, { ...ports, topologyKeeper }, {
    onStarted(node) {
      if (up === null) return;
      tellReady(node, admin, journal);
      topologyKeeper.lookSoon(() => life.node);
    },
  });
  const life = await Promise.race([starting, signals.stopAtOnce]);
  signals.onCrash = (error) => life.onFatal(error);
  signals.onReload = () => {
    current = reload(current, options, life.node, certificates, topologyKeeper);
    declareTo(life.node, current);
  };
  try {
    admin = await openAdmin(setup, life, certificates, () => current.adminToken);
    up = life;
    topologyKeeper.lookSoon(() => life.node);
    tellReady(life.node, admin, journal);
    await Promise.race([life.done, signals.stop]);
    await drain(life, journal, signals);
  } catch (error) {
    // Why a node failed is in the journal by then: it tells that itself.
    if (life.node.phase === "failed") throw new ExitWith(EXIT.failed);
    if (error instanceof ExitWith) throw error;
    await life.stop();
    throw error;
  } finally {
    admin?.close();
    topologyKeeper.close();
    certificates.close();
  }
}

/** `insecure: true` allows it: that is not to be forgotten. */
function tellOfPlain({ listen }: NodeConfig, journal: Journal): void {
  for (const address of listen) {
    const endpoint = endpointOf(address);
    if (endpoint.scheme !== "tcp" || isLoopback(endpoint.host)) continue;
    const message = "links to this address are not encrypted: whoever is on the way reads all data";
    journal.write("warn", message, { address, instead: "tls:// or quic://" });
  }
}

async function openAdmin(
  setup: NodeSetup,
  life: NodeLife,
  certificates: ServedCertificates,
  token: () => string | null,
): Promise<AdminServer | null> {
  if (setup.admin === null) return null;
  const { name, secret } = setup.config;
  const status = () => ({
    ...life.node.status(),
    certificates: certificates.status(),
    pid: Deno.pid,
  });
  const control: AdminControl = {
    pause: (link, reason) => life.node.hub.pause(link, reason),
    resume: (link) => life.node.hub.resume(link),
    limit: (link, limit) => limitLink(life.node, link, limit),
    order: (target, order) => life.order(target ?? name, order),
    progress: (target) => life.progress(target ?? name),
  };
  const sync: SyncRunner = { sync: (links, options) => life.node.sync.sync(links, options) };
  return await startAdmin({
    address: setup.admin,
    token,
    status,
    control,
    sync: new SyncGate(name, sync),
    verify: { verify: (link, repair) => life.node.verify.verify(link, repair) },
    marks: () => life.node.marks,
    seeds: { maker: () => life.node.seeds, secret, journal: life.node.ports.journal },
  });
}

function tellReady(node: CascadeNode, admin: AdminServer | null, journal: Journal): void {
  const { role, listen, volumes } = node.config;
  node.ready.then(() => {
    journal.write("info", "ready", {
      role,
      volumes: volumes.map(({ name }) => name).join(" "),
      ...(listen.length === 0 ? {} : { listen: listen.join(" ") }),
      ...(node.config.nbd.length === 0
        ? {}
        : { nbd: node.nbd.listening.map(({ address }) => address).join(" ") }),
      ...(admin === null ? {} : { admin: admin.address }),
      lsn: node.pipeline.appendedLsn,
      pid: Deno.pid,
    });
    notifyService("READY=1");
  }, () => {/* it ended before: that is told elsewhere */});
}

async function drain(life: NodeLife, journal: Journal, signals: Signals): Promise<void> {
  journal.write("info", "draining", { signal: signals.received ?? "" });
  notifyService("STOPPING=1");
  await Promise.race([life.stop(), signals.stopAtOnce]);
  journal.write("info", "stopped", { lsn: life.node.pipeline.appendedLsn });
}

/** Reads the topology again and applies what can be; returns what holds from now on. */
function reload(
  current: NodeSetup,
  options: ServeOptions,
  node: CascadeNode,
  certificates: ServedCertificates,
  topologyKeeper: ServedTopology,
): NodeSetup {
  const { journal } = node.ports;
  let next: NodeSetup;
  try {
    next = loadSetup(options);
  } catch (error) {
    journal.write("error", "the topology was not reloaded", { reason: describeError(error) });
    return current;
  }
  const renewed = certificates.reload(next.config);
  const after = reloaded(current, next, node.tree.seat.view, renewed);
  const { live, restart, differs, running } = after;
  if (restart.length > 0) {
    const message = "the topology was reloaded, and some changes need a restart";
    journal.write("warn", message, { restart: restart.join(" ") });
  } else {
    journal.write("info", "the topology was reloaded", {
      changed: live.length === 0 ? "nothing" : live.join(" "),
    });
  }
  if (differs !== null) topologyKeeper.tellReload(differs);
  tuneLinks(node.hub, running.config.downstream);
  return after.setup;
}

/** The signals of a process, and the errors that nobody caught. */
class Signals {
  /** The signal that asked for the stop. */
  received: Deno.Signal | null = null;
  onReload: () => void = () => {};
  onCrash: (error: unknown) => void = () => {};
  /** Settles when a stop is asked for. */
  readonly stop: Promise<void>;
  /** Rejects when a stop is asked for once more: what is under way is left as it is. */
  readonly stopAtOnce: Promise<never>;
  readonly #listeners: (() => void)[] = [];

  constructor() {
    let ask: () => void = () => {};
    let insist: (error: ExitWith) => void = () => {};
    this.stop = new Promise((resolve) => ask = resolve);
    this.stopAtOnce = new Promise((_, reject) => insist = reject);
    this.stopAtOnce.catch(() => {/* nobody has to await it */});
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      this.#listen(signal, () => {
        if (this.received !== null) insist(new ExitWith(EXIT.failed, "stopped at once"));
        this.received ??= signal;
        ask();
      });
    }
    this.#listen("SIGHUP", () => this.onReload());
    this.#catch("error", (event) => (event as ErrorEvent).error);
    this.#catch("unhandledrejection", (event) => (event as PromiseRejectionEvent).reason);
  }

  #listen(signal: Deno.Signal, listener: () => void): void {
    Deno.addSignalListener(signal, listener);
    this.#listeners.push(() => Deno.removeSignalListener(signal, listener));
  }

  /** An error that nobody caught is a bug: the node must not go on as if nothing had happened. */
  #catch(kind: string, errorOf: (event: Event) => unknown): void {
    const listener = (event: Event) => {
      event.preventDefault();
      const error = errorOf(event);
      const stack = error instanceof Error ? error.stack : String(error);
      this.onCrash(new CascadeError("bug", `an error was not caught: ${stack}`, { cause: error }));
    };
    globalThis.addEventListener(kind, listener);
    this.#listeners.push(() => globalThis.removeEventListener(kind, listener));
  }

  end(): void {
    for (const remove of this.#listeners) remove();
  }
}
