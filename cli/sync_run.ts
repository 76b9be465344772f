/**
 * Who does a sync: the node that runs, when it answers at its admin address, or else this process,
 * as the node.
 *
 * @module
 */
import { isCascadeError } from "../core/errors.ts";
import type { SyncReport } from "../core/sync_report.ts";
import { resolvePath } from "../core/topology/paths.ts";
import {
  type AdminTarget,
  fetchStatus,
  syncNode,
  TIMEOUT_NEVER_MS,
  wasNeverAsked,
} from "../io/admin_client.ts";
import { type NodeContact, ownMemory, recall, remember, type Remembering } from "../io/contacts.ts";
import { readToken } from "../io/secret_source.ts";
import { EXIT, type ExitCode, ExitWith } from "./exit.ts";
import { printLine, tell } from "./output.ts";
import type { SyncHere } from "./sync_here.ts";
import {
  failureLines,
  summaryLine,
  type SyncHow,
  syncJson,
  timedOut,
  verdictOf,
} from "./sync_text.ts";

/** What the command line says. */
export interface SyncRunOptions {
  readonly topology: string;
  readonly node: string;
  /** Null: all links to nodes below. */
  readonly links: readonly string[] | null;
  readonly dryRun: boolean;
  readonly full: boolean;
  readonly skipIfRunning: boolean;
  /** Null: for as long as it takes. */
  readonly timeoutMs: number | null;
  readonly json: boolean;
  readonly quiet: boolean;
}

/** How long a running node may take to say that it is there. */
const ASK_TIMEOUT_MS = 2_000;

/** How it ended, and what there is to say of it. */
export interface SyncEnd {
  readonly code: ExitCode;
  /** For stdout; null: nothing. */
  readonly result: string | null;
  /** Lines for stderr. */
  readonly troubles: readonly string[];
}

/** Runs the command. Throws {@linkcode ExitWith} when it went wrong and all is told, or what is wrong. */
export async function runSync(options: SyncRunOptions): Promise<void> {
  const { code, result, troubles } = await performSync(options);
  if (result !== null) printLine(result);
  for (const line of troubles) tell(line);
  if (code !== EXIT.done) throw new ExitWith(code);
}

/** Does the work. `here` does it when no node answers. Throws what is wrong. */
export async function performSync(
  options: SyncRunOptions,
  here?: SyncHere,
  memory: Remembering = ownMemory(),
): Promise<SyncEnd> {
  try {
    const asked = await askRemembered(options, memory) ?? await askKnown(options, memory);
    const report = asked ?? await (here ?? (await import("./sync_here.ts")).syncHere)(options);
    return endOf(report, options, { isBeside: asked !== null, skipped: null });
  } catch (error) {
    if (!options.skipIfRunning || !isCascadeError(error, "locked")) throw error;
    return endOf({ links: [] }, options, {
      isBeside: false,
      skipped: `a sync of ${options.node} runs already`,
    });
  }
}

/** Asks the node that runs, by what is remembered of the topology; null: the topology has to be read. */
async function askRemembered(
  options: SyncRunOptions,
  memory: Remembering,
): Promise<SyncReport | null> {
  const contacts = recall(resolvePath(Deno.cwd(), options.topology), memory);
  const node = contacts?.nodes.find(({ name }) => name === options.node);
  if (contacts === null || node === undefined || node.admin === null) return null;
  const fed = contacts.links.filter(({ from }) => from === node.name).map(({ name }) => name);
  // What is wrong with a command line is told by whoever knows all of the topology.
  if (fed.length === 0 || options.links?.some((name) => !fed.includes(name))) return null;
  return await askNode(node, node.admin, options);
}

/** Reads the topology and asks the node that runs; null when nobody takes the question. Throws what is wrong. */
async function askKnown(options: SyncRunOptions, memory: Remembering): Promise<SyncReport | null> {
  const { topologyToSync } = await import("./sync_topology.ts");
  const { node, topology, text } = topologyToSync(options);
  if (node.admin === null) return null;
  remember(resolvePath(Deno.cwd(), options.topology), text, topology, memory);
  return await askNode(node, node.admin, options);
}

/**
 * Asks the node that runs; null when nobody takes the question. Whoever answers in its place, the node
 * itself is not there then: its lock will tell for certain.
 */
async function askNode(
  node: NodeContact,
  address: string,
  options: SyncRunOptions,
): Promise<SyncReport | null> {
  const timeoutMs = Math.min(options.timeoutMs ?? TIMEOUT_NEVER_MS, TIMEOUT_NEVER_MS);
  const token = node.adminToken === null ? null : readToken(node.adminToken);
  const target = { node: node.name, address, token };
  const silence = new Silence(target);
  const beganMs = performance.now();
  try {
    const { signal } = silence;
    return await syncNode({ ...target, timeoutMs, signal }, options.links, options);
  } catch (error) {
    if (wasNeverAsked(error)) return null;
    const isLate = isCascadeError(error, "unreachable") && performance.now() - beganMs >= timeoutMs;
    throw isLate ? timedOut(options, "The node goes on with it.") : error;
  } finally {
    silence.end();
  }
}

/** Notices a node that took the question and hangs: a sync may take long, its status does not. */
class Silence {
  readonly #stop = new AbortController();
  readonly #timer: ReturnType<typeof setTimeout>;

  constructor(target: Omit<AdminTarget, "timeoutMs">) {
    this.#timer = setTimeout(() => {
      const timeoutMs = ASK_TIMEOUT_MS;
      fetchStatus({ ...target, timeoutMs }).catch((error) => this.#stop.abort(error));
    }, ASK_TIMEOUT_MS);
  }

  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  end(): void {
    clearTimeout(this.#timer);
  }
}

function endOf(report: SyncReport, options: SyncRunOptions, how: SyncHow): SyncEnd {
  const result = options.json
    ? JSON.stringify(syncJson(report, options, how), null, 2)
    : options.quiet
    ? null
    : how.skipped !== null
    ? `skipped: ${how.skipped}`
    : summaryLine(report);
  const troubles = failureLines(report).map((line) => `cascade: ${line}`);
  return { code: verdictOf(report), result, troubles };
}
