/**
 * A node that is started to make a seed file, and stopped again: with its links, so that a primary that
 * crashed gets back what its peers hold, and without exports.
 *
 * @module
 */
import type { NodeConfig } from "../core/config.ts";
import { CascadeError, isCascadeError } from "../core/errors.ts";
import { CascadeNode } from "../core/node.ts";
import type { SeedMaker } from "../core/node_seeds.ts";
import { SyncGate } from "../core/sync_gate.ts";
import { startAdmin } from "../io/admin.ts";
import { denoPorts, stderrJournal } from "../io/world.ts";
import type { NodeSetup } from "./serve_node.ts";

/** Runs the node for as long as `work` takes. Throws `unreachable` when it runs already, or is not here. */
export async function asNode(
  setup: NodeSetup,
  work: (maker: SeedMaker) => Promise<boolean>,
): Promise<boolean> {
  const { config, admin: address } = setup;
  const ports = denoPorts({ journal: stderrJournal(config.name, "text", "warn") });
  if (!ports.disk.exists(`${config.dir}/state.json`)) throw notHere(setup);
  const node = await start(config, ports, address);
  try {
    await node.ready;
    // Whoever asks for it meanwhile should find somebody.
    const admin = address === null ? null : await startAdmin({
      address,
      token: () => setup.adminToken,
      status: () => ({ ...node.status(), pid: Deno.pid }),
      sync: new SyncGate(config.name, node.sync),
    });
    try {
      return await work(node.seeds);
    } finally {
      admin?.close();
    }
  } finally {
    if (node.phase !== "failed") await node.stop();
  }
}

async function start(
  config: NodeConfig,
  ports: ReturnType<typeof denoPorts>,
  admin: string | null,
): Promise<CascadeNode> {
  try {
    return await CascadeNode.start(config, ports);
  } catch (error) {
    if (!isCascadeError(error, "locked") || error.where.path !== `${config.dir}/lock`) throw error;
    const message = admin === null
      ? `${config.name} runs, and has no admin address at which it could be asked for a seed`
      : `${config.name} is in use, and nobody answers for it at ${admin}`;
    throw new CascadeError("unreachable", message, {
      where: error.where,
      hint: admin === null
        ? `Give ${config.name} an \`admin:\` address, or stop it.`
        : "Look at its journal.",
      cause: error,
    });
  }
}

function notHere({ config, admin }: NodeSetup): CascadeError {
  const message = admin === null
    ? `${config.name} has no admin address, and its folder is not on this machine`
    : `nobody answers for ${config.name} at ${admin}, and its folder is not on this machine`;
  return new CascadeError("unreachable", message, {
    where: { folder: config.dir },
    hint: "Run the command where the node is, or start the node.",
    retryable: true,
  });
}
