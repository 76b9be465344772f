/**
 * `cascade attach`: the far end of a link over a command, such as `ssh HOST cascade attach --node NODE`.
 *
 * @module
 */
import { Command } from "@commander-js/extra-typings";
import { CascadeError, describeError } from "../core/errors.ts";
import { attachAddress } from "../core/topology/hosts.ts";
import { nodeNamed } from "../core/topology/node_config.ts";
import { loadTopology } from "../io/topology_file.ts";
import { examples, topologyOption } from "./options.ts";

/** The command. */
export function attachCommand() {
  return new Command("attach")
    .summary("the far end of a link over ssh, or any command")
    .description(
      "Connect standard input and output with a node that runs on this host. The node at the other end of " +
        "the link starts this, over ssh or whatever reaches this host: see `exec` in docs/links.md. " +
        "Ends with 4 when the node does not run.",
    )
    .requiredOption("--node <name>", "which node of the topology runs here")
    .addOption(topologyOption())
    .addHelpText(
      "after",
      examples([
        "In the topology, on a link that is dialled from another host",
        "exec: [ssh, dr1.example, cascade, attach, --node, hq]",
      ]),
    )
    .action(async ({ node, topology }) => await attach(topology, node));
}

async function attach(file: string, name: string): Promise<void> {
  const address = attachAddress(nodeNamed(loadTopology(file), name));
  const socket = await connect(address, name);
  const sent = Deno.stdin.readable.pipeTo(socket.writable, { preventClose: true })
    // The caller has hung up, or has no more to say: the node may still have.
    .then(() => socket.closeWrite());
  sent.catch(() => {/* what comes back tells how it ended */});
  try {
    await socket.readable.pipeTo(Deno.stdout.writable);
  } catch (error) {
    throw new CascadeError("connection-lost", `the link was cut: ${describeError(error)}`, {
      where: { address },
    });
  }
}

async function connect(address: string, name: string): Promise<Deno.UnixConn> {
  try {
    return await Deno.connect({ transport: "unix", path: address.slice("unix:".length) });
  } catch (error) {
    throw new CascadeError("unreachable", `${name} does not run here: ${describeError(error)}`, {
      where: { address },
      hint: `Start it with \`cascade serve --node ${name}\`, as a user or group of this one`,
      cause: error,
    });
  }
}
