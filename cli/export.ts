/**
 * `cascade export`: a read-only NBD export of an image that a node has received and not applied yet.
 *
 * @module
 */
import { resolve } from "node:path";
import { Command, Option } from "@commander-js/extra-typings";
import { CascadeError, isCascadeError } from "../core/errors.ts";
import type { ViewStatus } from "../core/marks/apply_status.ts";
import type { AsOf } from "../core/marks/views.ts";
import type { AdminTarget } from "../io/admin_client.ts";
import { asOfOptions, lsnArgument, timeArgument } from "./as_of.ts";
import { EXIT, ExitWith } from "./exit.ts";
import { examples, topologyOption } from "./options.ts";
import { printJson, printLine, tell } from "./output.ts";

/** How often the node is told that the export is wanted, and after how long without that it closes it. */
const KEEP_INTERVAL_MS = 5_000;
const LEASE_MS = 30_000;

/** The command. */
export function exportCommand() {
  return new Command("export")
    .summary("show an image between a node's volumes and the end of its log")
    .description(
      "Export a node's volumes read-only over NBD, as of a mark, an LSN or a time that the node has received " +
        "and not applied yet, such as one with applyDelay. The volumes themselves are not changed; nothing " +
        "is applied past that image meanwhile. The export is closed when the command ends.",
    )
    .addOption(topologyOption())
    .requiredOption("--node <name>", "whose image")
    .option("--as-of-mark <name>", "the image at a mark")
    .addOption(new Option("--as-of-lsn <n>", "the image at an LSN").argParser(lsnArgument))
    .addOption(
      new Option(
        "--as-of-time <time>",
        'by the primary\'s clock, such as 2026-11-24T02:15:00Z or "20m ago"',
      )
        .argParser(timeArgument),
    )
    .option(
      "--nbd <address>",
      "where: unix:/PATH or tcp://127.0.0.1:PORT; a socket in the node's folder if left out",
    )
    .option("--detach", "leave the export open until --close, or until the node stops")
    .option("--close <id>", "close an export that was left open")
    .option("--json", "print one JSON document")
    .addHelpText(
      "after",
      examples(
        [
          "The table was dropped at 02:20",
          "cascade export --node dr --as-of-time 2026-11-24T02:15:00Z",
        ],
        [
          "Copy an image as of a mark to a file",
          "cascade export --node dr --as-of-mark nightly --nbd unix:/run/n.sock --detach --json\n" +
          "  nbdcopy 'nbd+unix:///data?socket=/run/n.sock' nightly.img\n" +
          "  cascade export --node dr --close ID",
        ],
      ) +
        "\nExit codes: 0 it was closed; 1 it was refused, or the node closed it; 4 the node does not answer.\n",
    )
    .action(async (options) => {
      const { markTarget } = await import("./mark_target.ts");
      const target = await markTarget(options.topology, options.node);
      const asOf = asOfOptions(options.asOfMark, options.asOfLsn, options.asOfTime);
      if (options.close !== undefined) {
        if (asOf.length > 0) throw new CascadeError("usage", "--close goes without --as-of-...");
        const { closeView } = await import("../io/marks_client.ts");
        await closeView(target, options.close);
        return printLine(`the export ${options.close} is closed`);
      }
      const [only, second] = asOf;
      if (only === undefined || second !== undefined) {
        throw new CascadeError(
          "usage",
          "expected one of --as-of-mark, --as-of-lsn and --as-of-time",
          {
            hint: "See `cascade export --help`.",
          },
        );
      }
      await show(
        target,
        only,
        options.nbd === undefined ? null : absolute(options.nbd),
        options.detach === true,
        options.json === true,
      );
    });
}

/** The node stands in another folder. */
function absolute(address: string): string {
  return address.startsWith("unix:") ? `unix:${resolve(address.slice(5))}` : address;
}

async function show(
  target: AdminTarget,
  asOf: AsOf,
  address: string | null,
  isDetached: boolean,
  isJson: boolean,
): Promise<void> {
  const { closeView, openView } = await import("../io/marks_client.ts");
  const { stopOnSignal } = await import("./stop_signal.ts");
  const stop = stopOnSignal();
  try {
    const view = await openView(target, asOf, address, isDetached ? null : LEASE_MS);
    if (isJson) printJson({ node: target.node, ...view });
    else tellOf(view, target.node ?? "", isDetached);
    if (isDetached) return;
    await hold(target, view.id, stop.signal);
    await closeView(target, view.id);
    tell("the export is closed");
  } finally {
    stop.end();
  }
}

function tellOf({ id, lsn, of, uris }: ViewStatus, node: string, isDetached: boolean): void {
  printLine(`${node} as of ${of} (LSN ${lsn}), read-only:`);
  for (const uri of uris) printLine(`  ${uri}`);
  tell(
    isDetached
      ? `it stays open; close it with: cascade export --node ${node} --close ${id}`
      : "Ctrl-C closes it",
  );
}

/** Until it is asked to stop. Throws when the node has closed the export. */
async function hold(target: AdminTarget, id: string, signal: AbortSignal): Promise<void> {
  const { keepView } = await import("../io/marks_client.ts");
  let lastHeardMs = Date.now();
  while (!signal.aborted) {
    await new Promise<void>((go) => {
      const timer = setTimeout(go, KEEP_INTERVAL_MS);
      signal.addEventListener("abort", () => {
        clearTimeout(timer);
        go();
      }, { once: true });
    });
    if (signal.aborted) return;
    try {
      await keepView(target, id);
      lastHeardMs = Date.now();
    } catch (error) {
      if (isCascadeError(error, "unreachable") && Date.now() - lastHeardMs < LEASE_MS) continue;
      if (!isCascadeError(error, "refused")) throw error;
      throw new ExitWith(EXIT.failed, `cascade: the node has closed the export: ${error.message}`);
    }
  }
}
