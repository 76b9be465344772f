/**
 * The topology files of the nodes, once the tree has changed: every node writes the roles and links, as it knows them
 * itself, into the file that it was started with. Nothing of what is asked for goes into a file, and no path: a
 * question only names the view that a node has to know before it writes.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { CascadeError, describeError, isCascadeError } from "./errors.ts";
import type { CascadeNode } from "./node.ts";
import { waitUntil } from "./node_standing.ts";
import {
  failedOutcome,
  type FileOutcome,
  fileOutcomeSchema,
  type FileReport,
} from "./tree/file_report.ts";
import { digestOf, type View } from "./tree/view.ts";

/** How long a node may take to hear of the tree as it is, ms. */
const HEAR_MS = 5_000;
/** How long one that turns, and so does not answer, is asked again, ms. */
const TURN_MS = 3_000;
/** The same, of one that answered just before: it may only dial, and be about to, ms. */
const REDIAL_MS = 10_000;
/** How long another one is that answers with less or more than is known here, ms. */
const AGREE_MS = 15_000;
const AGAIN_MS = 200;
/** How long writing may take, beside hearing: a busy disk, and a lock, ms. */
const WRITE_MS = 20_000;

/** Has all nodes write their files; what became of each, in the order of the topology. */
export async function writeFiles(node: CascadeNode): Promise<FileReport[]> {
  const { tree, name: own } = node.config;
  const id = Buffer.from(node.ports.random.bytes(16)).toString("hex");
  const names = tree?.nodes.map(({ name }) => name) ?? [own];
  return await Promise.all(names.map(async (name): Promise<FileReport> => {
    if (name !== own) return { node: name, ...await askToWrite(node, name, id) };
    return { node: name, ...await writeOwnFile(node, node.tree.seat.view, id) };
  }));
}

/** Writes the node's own file, once it knows as much of the tree as `view`. Throws `timed-out`, `refused`. */
export async function writeOwnFile(
  node: CascadeNode,
  view: View,
  id: string,
): Promise<FileOutcome> {
  const { seat } = node.tree;
  const wanted = digestOf(view);
  const { name } = node.config;
  await waitUntil(node, HEAR_MS, `${name} does not know of the same changes of the tree`, () => {
    return digestOf(seat.view) === wanted;
  });
  if (seat.conflict !== null) throw new CascadeError("refused", seat.conflict);
  const keeper = node.ports.topologyKeeper;
  if (keeper === undefined) return failedOutcome(null, "it runs on no file");
  return await keeper.write(view, id);
}

async function askToWrite(
  node: CascadeNode,
  name: string,
  id: string,
): Promise<Omit<FileReport, "node">> {
  const { clock } = node.ports;
  const sinceMs = clock.monotonicMs();
  for (;;) {
    try {
      const { view } = node.tree.seat;
      const answer = await node.hub.ask(name, { ask: "write", view, id }, WRITE_MS);
      return fileOutcomeSchema.parse(answer);
    } catch (error) {
      const tookMs = clock.monotonicMs() - sinceMs;
      const reason = describeError(error);
      if (isAway(error)) {
        const patienceMs = node.tree.away.has(name) ? TURN_MS : REDIAL_MS;
        if (tookMs > patienceMs) return { ...failedOutcome(null, reason), outcome: "unreachable" };
      } else if (!isPassing(error) || tookMs > AGREE_MS) return failedOutcome(null, reason);
    }
    await new Promise<void>((go) => clock.after(AGAIN_MS, go));
  }
}

function isAway(error: unknown): boolean {
  return isCascadeError(error, "unreachable") || isCascadeError(error, "connection-lost");
}

function isPassing(error: unknown): boolean {
  return isCascadeError(error) && error.retryable;
}
