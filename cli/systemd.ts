/**
 * `cascade systemd`: units that run a node as a service, or ship what is pending at set times.
 *
 * @module
 */
import { Argument, Command, Option } from "@commander-js/extra-typings";
import { resolve } from "node:path";
import { CascadeError } from "../core/errors.ts";
import type { UnitRequest } from "../core/systemd/node_units.ts";
import type { Unit } from "../core/systemd/unit.ts";
import type { Topology } from "../core/topology/topology.ts";
import { examples, topologyOption } from "./options.ts";
import { print, printLine } from "./output.ts";

const KINDS = ["service", "timer"] as const;
const PROGRAM_DEFAULT = "/usr/local/bin/cascade";

const NOTES = `
The service is shut in: it writes nowhere but in the folders that the topology names for the
node, and opens no device but its volumes. Nothing is started. Look at it first, and at
what systemd makes of it: systemd-analyze verify, systemd-analyze security.
`;

/** The command. */
export function systemdCommand() {
  return new Command("systemd")
    .summary("print units for systemd")
    .description(
      "Print a unit for a node: service runs `cascade serve`; timer is a pair that runs `cascade sync` " +
        "when the links from the node are due, for a node that is not served.",
    )
    .addArgument(new Argument("[kind]", "which").choices(KINDS).default("service" as const))
    .addOption(topologyOption())
    .option("--node <name>", "the node (default: the only one)")
    .option("--user <name>", "whom it runs as", userArgument, "cascade")
    .option("--program <path>", "where cascade is (default: where this one is, if installed)")
    .option("--link <name>", "timer: ship this link alone")
    .option("--on-calendar <event>", "timer: when, in the words of systemd.time(7)")
    .option("-o, --output <folder>", "write files into this folder, such as /etc/systemd/system")
    .addOption(new Option("--force", "with --output: overwrite files"))
    .addHelpText(
      "after",
      examples(
        ["A node as a service", "cascade systemd -t /etc/cascade/payroll.yaml --node hq"],
        [
          "Put it in place, and start it",
          "cascade systemd --node hq -o /etc/systemd/system && systemctl enable --now cascade-hq",
        ],
        [
          "Ship every night instead",
          'cascade systemd --node hq --on-calendar "*-*-* 02:00:00" -o /etc/systemd/system timer',
        ],
      ) + NOTES,
    )
    .action(async (kind, options) => {
      if (kind === "service" && (options.link ?? options.onCalendar) !== undefined) {
        throw new CascadeError("usage", "--link and --on-calendar belong to a timer", {
          hint: "Add: timer",
        });
      }
      const { loadTopology } = await import("../io/topology_file.ts");
      const { serveUnit, syncUnits } = await import("../core/systemd/node_units.ts");
      const topology = loadTopology(options.topology);
      const request = {
        ...chosen(topology, options.node, options.link),
        topologyPath: resolve(options.topology),
        program: resolve(options.program ?? programPath()),
        user: options.user,
        onCalendar: options.onCalendar ?? null,
      };
      const units = kind === "service" ? [serveUnit(request)] : syncUnits(request);
      if (options.output === undefined) show(units);
      else write(units, options.output, options.force === true);
    });
}

function programPath(): string {
  return Deno.build.standalone ? Deno.execPath() : PROGRAM_DEFAULT;
}

/** A name goes into the unit as it is: what could be anything but a name is refused. */
function userArgument(text: string): string {
  if (/^[a-z_][a-z0-9_.-]{0,30}$/i.test(text)) return text;
  throw new CascadeError("usage", `--user is ${JSON.stringify(text)}; expected the name of a user`);
}

function chosen(
  topology: Topology,
  nodeName: string | undefined,
  linkName: string | undefined,
): Pick<UnitRequest, "topology" | "node" | "link"> {
  const names = topology.nodes.map(({ name }) => name);
  const wanted = nodeName ?? (names.length === 1 ? names[0] : undefined);
  if (wanted === undefined) {
    throw new CascadeError("usage", `which node? There are ${names.join(", ")}`, {
      hint: "Name it with --node",
    });
  }
  const node = topology.nodes.find(({ name }) => name === wanted);
  if (node === undefined) {
    throw new CascadeError("usage", `there is no node ${wanted} in ${topology.file}`, {
      hint: `There are ${names.join(", ")}`,
    });
  }
  if (linkName === undefined) return { topology, node, link: null };
  const links = topology.links.filter(({ from }) => from === wanted);
  const link = links.find(({ name }) => name === linkName);
  if (link !== undefined) return { topology, node, link };
  throw new CascadeError("usage", `no link ${linkName} leads from ${wanted}`, {
    hint: `There are ${links.map(({ name }) => name).join(", ") || "none"}`,
  });
}

function show(units: readonly Unit[]): void {
  print(units.map(({ text }) => text).join("\n"));
}

function write(units: readonly Unit[], folder: string, force: boolean): void {
  for (const { name, text } of units) {
    const path = `${folder.replace(/\/+$/, "")}/${name}`;
    try {
      Deno.writeTextFileSync(path, text, { createNew: !force, mode: 0o644 });
    } catch (error) {
      const isThere = error instanceof Deno.errors.AlreadyExists;
      const reason = isThere
        ? "is there already"
        : `cannot be written: ${(error as Error).message}`;
      throw new CascadeError("usage", `${path} ${reason}`, {
        ...(isThere ? { hint: "Overwrite it with --force" } : {}),
        cause: error,
      });
    }
    printLine(`wrote ${path}`);
  }
}
