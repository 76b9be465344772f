/**
 * A sync without a node that runs: this process is the node for as long as it takes, without
 * exports. Its admin side is open meanwhile, so that the status tells of it.
 *
 *  1. DIR/sync.lock is taken, or a sync runs already. It tells a sync from a node that serves.
 *  2. The node is started, which takes the node's own lock.
 *  3. What is asked for is synced, until that, a signal or the timeout ends it.
 *  4. The node is stopped in good order: what was staged at the other end stays, and the next run goes
 *     on from there.
 *
 * @module
 */
import { CascadeError, describeError, isCascadeError } from "../core/errors.ts";
import { CascadeNode } from "../core/node.ts";
import type { Journal } from "../core/ports.ts";
import type { NodeStatus } from "../core/status.ts";
import { SyncGate, syncRunning } from "../core/sync_gate.ts";
import type { SyncReport, SyncRunner } from "../core/sync_report.ts";
import { type AdminServer, startAdmin } from "../io/admin.ts";
import { diskError } from "../io/disk_errors.ts";
import { type FileLock, lockFile, lockHolder } from "../io/file_lock.ts";
import { TIMEOUT_NEVER_MS } from "../io/admin_client.ts";
import { WarmHashers } from "../io/scan_pool.ts";
import { tlsSelf } from "../io/identity.ts";
import { denoPorts, stderrJournal } from "../io/world.ts";
import { EXIT, ExitWith } from "./exit.ts";
import { tell } from "./output.ts";
import { loadSetup, type NodeSetup } from "./serve_node.ts";
import type { SyncRunOptions } from "./sync_run.ts";
import { timedOut } from "./sync_text.ts";

/** Syncs as the node itself. */
export type SyncHere = (options: SyncRunOptions) => Promise<SyncReport>;

/** As much of a node as a sync needs. */
export interface SyncNode extends SyncRunner {
  readonly ready: Promise<void>;
  /** Rejects when the node had to stop. */
  readonly done: Promise<unknown>;
  status(): NodeStatus;
  stop(): Promise<void>;
}

/** Starts a node that has links and no exports. Throws what `CascadeNode.start` throws. */
export type StartNode = (setup: NodeSetup, journal: Journal) => Promise<SyncNode>;

const startNode: StartNode = async (setup, journal) => {
  const hashers = new WarmHashers();
  if (setup.config.capture === "scan") hashers.warm();
  const ports = denoPorts({ journal, openHasher: hashers.open, tls: tlsSelf(setup.config) });
  const node = await CascadeNode.start(setup.config, ports, { onRequest: true }).catch((error) => {
    hashers.close();
    throw error;
  });
  return {
    ready: node.ready,
    done: node.done,
    sync: (links, options) => node.sync.sync(links, options),
    status: () => node.status(),
    stop: () => node.stop().finally(() => hashers.close()),
  };
};

/** See the head of this file. Throws `locked`, `timed-out`, and what a start throws. */
export const syncHere: SyncHere = (options) => syncAsNode(options, startNode);

/** {@linkcode syncHere} over some kind of node. */
export async function syncAsNode(options: SyncRunOptions, start: StartNode): Promise<SyncReport> {
  const setup = loadSetup(options);
  const lock = takeLock(setup.config.dir, options.node);
  const end = new End(options);
  try {
    // A cron job's mail should hold no tale of links that come up.
    const journal = stderrJournal(options.node, "text", options.quiet ? "error" : "warn");
    const node = await Promise.race([startLocked(setup, journal, start), end.asked]);
    return await runOn(node, setup, options, end);
  } finally {
    end.close();
    lock.release();
  }
}

async function runOn(
  node: SyncNode,
  setup: NodeSetup,
  options: SyncRunOptions,
  end: End,
): Promise<SyncReport> {
  let admin: AdminServer | null = null;
  const gate = new SyncGate(options.node, node);
  try {
    const fatal = node.done.then(() => {
      throw new CascadeError("stopping", `${options.node} stopped before the sync was over`);
    });
    fatal.catch(() => {/* told by the race, or the sync is over */});
    const work = async () => {
      await node.ready;
      return await gate.sync(options.links, options);
    };
    admin = await openAdmin(setup, node, gate);
    const working = work();
    working.catch(() => {/* told by the race, or an end was asked for before */});
    return await Promise.race([
      working,
      fatal,
      end.asked.catch((error) => {
        throw withTroubles(error, node.status());
      }),
    ]);
  } finally {
    admin?.close();
    await Promise.race([node.stop(), end.insisted]);
  }
}

/** A timeout says which links were not up: that may be why. */
function withTroubles(error: unknown, { name, links }: NodeStatus): unknown {
  if (!isCascadeError(error, "timed-out")) return error;
  const away = links.filter(({ from, connectedSince }) => from === name && connectedSince === null)
    .map(({ to, state, reason }) => `${to} is not connected (${reason ?? state})`);
  if (away.length === 0) return error;
  const { where, hint = "" } = error;
  const message = `${error.message}: ${away.join(", ")}`;
  return new CascadeError("timed-out", message, { where, hint, retryable: true, cause: error });
}

function takeLock(dir: string, node: string): FileLock {
  const path = `${dir}/sync.lock`;
  try {
    Deno.mkdirSync(dir, { recursive: true });
    Deno.openSync(path, { write: true, create: true }).close();
  } catch (error) {
    throw diskError(error, `sync as ${node}`, dir);
  }
  try {
    return lockFile(path, false);
  } catch (error) {
    if (isCascadeError(error, "locked")) throw syncRunning(node, lockHolder(path));
    throw error;
  }
}

/**
 * A lock that is held then is that of a node that serves, or somebody has a volume: no reason to skip
 * a sync in silence, so neither is told as `locked`.
 */
async function startLocked(
  setup: NodeSetup,
  journal: Journal,
  start: StartNode,
): Promise<SyncNode> {
  try {
    return await start(setup, journal);
  } catch (error) {
    if (!isCascadeError(error, "locked")) throw error;
    const { name, dir } = setup.config;
    if (error.where.path !== `${dir}/lock`) {
      const { message, where, hint = "Look at who has it." } = error;
      throw new CascadeError("refused", message, { where, hint, cause: error });
    }
    const message = setup.admin === null
      ? `${name} runs, and has no admin address at which it could be asked to sync`
      : `${name} is in use, and nobody answers for it at ${setup.admin}`;
    throw new CascadeError("unreachable", message, {
      where: error.where,
      hint: setup.admin === null ? `Give ${name} an \`admin:\` address.` : "Look at its journal.",
      cause: error,
    });
  }
}

/** The status may be asked for meanwhile, which is no condition of a sync. */
async function openAdmin(
  setup: NodeSetup,
  node: SyncNode,
  gate: SyncGate,
): Promise<AdminServer | null> {
  if (setup.admin === null) return null;
  try {
    return await startAdmin({
      address: setup.admin,
      token: () => setup.adminToken,
      status: () => ({ ...node.status(), pid: Deno.pid }),
      sync: gate,
    });
  } catch (error) {
    tell(`cascade: the status is not served during the sync: ${describeError(error)}`);
    return null;
  }
}

/** What ends a sync early: a signal, or the timeout. */
class End {
  /** Rejects then. */
  readonly asked: Promise<never>;
  /** Rejects at a second signal: what is under way is left as it is. */
  readonly insisted: Promise<never>;
  readonly #listeners: (() => void)[] = [];

  constructor(options: SyncRunOptions) {
    let end: (error: Error) => void = () => {};
    this.asked = new Promise((_, reject) => end = reject);
    let insist: (error: Error) => void = () => {};
    this.insisted = new Promise((_, reject) => insist = reject);
    for (const promise of [this.asked, this.insisted]) {
      promise.catch(() => {/* nobody has to await it */});
    }
    let signals = 0;
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      const listener = () => {
        if (++signals > 1) insist(new ExitWith(EXIT.failed, "cascade: stopped at once"));
        end(new ExitWith(EXIT.failed, `cascade: the sync was interrupted by ${signal}`));
      };
      Deno.addSignalListener(signal, listener);
      this.#listeners.push(() => Deno.removeSignalListener(signal, listener));
    }
    if (options.timeoutMs === null) return;
    const hint = "What has arrived is kept: the next run goes on from there.";
    const late = () => end(timedOut(options, hint));
    const timer = setTimeout(late, Math.min(options.timeoutMs, TIMEOUT_NEVER_MS));
    this.#listeners.push(() => clearTimeout(timer));
  }

  close(): void {
    for (const remove of this.#listeners) remove();
  }
}
