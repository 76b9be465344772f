/**
 * One node as a process: from its topology to its end, with signals, admin side and last words.
 *
 * @module
 */
import type { NodeConfig } from "../core/config.ts";
import { CascadeError, describeError } from "../core/errors.ts";
import { CascadeNode } from "../core/node.ts";
import { limitLink, tuneLinks } from "../core/link/tuning.ts";
import type { Journal, LogLevel } from "../core/ports.ts";
import { isLoopback } from "../core/topology/address.ts";
import { endpointOf } from "../core/topology/hosts.ts";
import { nodeNamed } from "../core/topology/node_config.ts";
import { type AdminServer, startAdmin } from "../io/admin.ts";
import { SyncGate } from "../core/sync_gate.ts";
import type { AdminControl } from "../io/admin_control.ts";
import { tlsSelf } from "../io/identity.ts";
import type { JournalFormat } from "../io/journal.ts";
import { notifyService } from "../io/notify.ts";
import { loadNodeConfig, loadTopology, readToken } from "../io/topology_file.ts";
import { denoPorts, stderrJournal } from "../io/world.ts";
import { EXIT, exitCodeOf, ExitWith } from "./exit.ts";
import { changedParts, withLive } from "./serve_reload.ts";

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
  const starting = CascadeNode.start(
    setup.config,
    denoPorts({ journal, tls: tlsSelf(setup.config) }),
  );
  const node = await Promise.race([starting, signals.stopAtOnce]);
  signals.onCrash = (error) => node.onFatal(error);
  let current = setup;
  signals.onReload = () => {
    current = reload(current, options, journal);
    tuneLinks(node.hub, current.config.downstream);
  };
  let admin: AdminServer | null = null;
  try {
    admin = await openAdmin(setup, node, () => current.adminToken);
    tellReady(node, admin, journal);
    await Promise.race([node.done, signals.stop]);
    await drain(node, journal, signals);
  } catch (error) {
    // Why a node failed is in the journal by then: it tells that itself.
    if (node.phase === "failed") throw new ExitWith(EXIT.failed);
    if (error instanceof ExitWith) throw error;
    await node.stop();
    throw error;
  } finally {
    admin?.close();
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
  node: CascadeNode,
  token: () => string | null,
): Promise<AdminServer | null> {
  if (setup.admin === null) return null;
  const status = () => ({ ...node.status(), pid: Deno.pid });
  const control: AdminControl = {
    pause: (link, reason) => node.hub.pause(link, reason),
    resume: (link) => node.hub.resume(link),
    limit: (link, limit) => limitLink(node.config.name, node.hub, link, limit),
  };
  const sync = new SyncGate(node.config.name, node.sync);
  return await startAdmin({
    address: setup.admin,
    token,
    status,
    control,
    sync,
    verify: node.verify,
    marks: () => node.marks,
    seeds: { maker: node.seeds, secret: node.config.secret, journal: node.ports.journal },
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

async function drain(node: CascadeNode, journal: Journal, signals: Signals): Promise<void> {
  journal.write("info", "draining", { signal: signals.received ?? "" });
  notifyService("STOPPING=1");
  await Promise.race([node.stop(), signals.stopAtOnce]);
  journal.write("info", "stopped", { lsn: node.pipeline.appendedLsn });
}

/** Reads the topology again and applies what can be; returns what holds from now on. */
function reload(current: NodeSetup, options: ServeOptions, journal: Journal): NodeSetup {
  let next: NodeSetup;
  try {
    next = loadSetup(options);
  } catch (error) {
    journal.write("error", "the topology was not reloaded", { reason: describeError(error) });
    return current;
  }
  const { live, restart } = changedParts(current, next);
  if (restart.length > 0) {
    const message = "the topology was reloaded, and some changes need a restart";
    journal.write("warn", message, { restart: restart.join(" ") });
  } else {
    journal.write("info", "the topology was reloaded", {
      changed: live.length === 0 ? "nothing" : live.join(" "),
    });
  }
  return withLive(current, next, live);
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
