/**
 * `cascade certs`: makes, renews and shows the certificates of a cascade.
 *
 * @module
 */
import { Command, InvalidArgumentError, Option } from "@commander-js/extra-typings";
import { NAME_PATTERN } from "../core/topology/name_pattern.ts";
import { durationArgument, examples, topologyOption } from "./options.ts";

const DAYS_MAX = 3650;

const KEEP = `
The key of the CA (NAME.ca.key, beside the topology) signs certificates: it stays where it was made.
A host needs ca.crt, and NODE.crt and NODE.key of its own node, and no others.
`;

/** The command. */
export function certsCommand() {
  return new Command("certs")
    .summary("make, renew and show certificates")
    .description(
      "Certificates for links over TLS and QUIC, and for NBD clients over TLS, of a CA of the cascade's own. " +
        "`cascade init` makes the first ones.",
    )
    .addCommand(issueCommand())
    .addCommand(renewCommand())
    .addCommand(showCommand())
    .addHelpText(
      "after",
      examples(
        ["Until when are they good?", "cascade certs show"],
        ["A node was added to the topology", "cascade certs issue"],
        ["For a program that uses a volume over TLS", "cascade certs issue --client backup"],
      ) + KEEP,
    );
}

function issueCommand() {
  return new Command("issue")
    .summary("make what is missing")
    .description(
      "Make certificates: for the nodes named, for all nodes of the topology that have none, or for NBD " +
        "clients. Makes the CA first where there is none. What is there is kept.",
    )
    .argument("[nodes...]", "nodes of the topology")
    .addOption(topologyOption())
    .addOption(clientOption())
    .addOption(hostOption())
    .addOption(daysOption())
    .addOption(caKeyOption())
    .addHelpText(
      "after",
      examples(
        ["For every node that has none", "cascade certs issue"],
        [
          "One that its NBD clients call by another name, too",
          "cascade certs issue hq --host disks.example",
        ],
        ["For NBD clients", "cascade certs issue --client backup --client vm1"],
      ) + KEEP,
    )
    .action(async (nodes, options) => {
      const { issue } = await import("./certs_make.ts");
      await issue(options.topology, {
        nodes,
        clients: options.client,
        hosts: options.host,
        days: options.days ?? null,
        caKey: options.caKey ?? null,
      });
    });
}

const RENEWS = `
The one that is there stays until the new one is whole. Connections that are there go on;
SIGHUP (systemctl reload) has a node use the new one for those to come.
`;

function renewCommand() {
  return new Command("renew")
    .summary("make anew what ends soon")
    .description(
      "Make certificates anew: those named, or all that end soon, the CA's included. Keys stay, and so do " +
        "names that were added with --host.",
    )
    .argument("[nodes...]", "nodes of the topology, however long theirs are good for")
    .addOption(topologyOption())
    .addOption(clientOption())
    .option("--all", "all nodes and clients, however long they are good for")
    .option("--ca", "the CA's own certificate, with the same key: what it has certified stays good")
    .addOption(
      new Option("--within <duration>", "what ends within this time")
        .argParser(durationArgument).default(30 * 86_400_000, "30d"),
    )
    .option("-q, --quiet", "print nothing when there is nothing to renew")
    .option("--new-key", "a new private key as well, for when one has become known")
    .addOption(hostOption())
    .addOption(daysOption())
    .addOption(caKeyOption())
    .addHelpText(
      "after",
      examples(
        ["Whatever ends within a month (for cron)", "cascade certs renew --quiet"],
        ["After a change of addresses that NBD clients use", "cascade certs renew hq"],
      ) + RENEWS,
    )
    .action(async (nodes, options) => {
      const { renew } = await import("./certs_make.ts");
      await renew(options.topology, {
        nodes,
        clients: options.client,
        hosts: options.host,
        days: options.days ?? null,
        caKey: options.caKey ?? null,
        all: options.all === true,
        ca: options.ca === true,
        withinMs: options.within,
        newKey: options.newKey === true,
        quiet: options.quiet === true,
      });
    });
}

const SHOW_CODES = `
Exit codes: 0 all that are here are good for a month and more; 1 one is not, or is no good.
`;

function showCommand() {
  return new Command("show")
    .summary("tell what there is, and until when")
    .description(
      "Show the certificates of the CA, of nodes and of NBD clients that are on this host: names, end, " +
        "fingerprint, and what is wrong with them.",
    )
    .addOption(topologyOption())
    .option("--json", "print one JSON document")
    .addHelpText(
      "after",
      examples(
        ["Until when are they good?", "cascade certs show"],
        [
          "Days that are left, for a monitor",
          "cascade certs show --json | jq '.certificates[] | {name, daysLeft}'",
        ],
      ) + SHOW_CODES,
    )
    .action(async (options) => {
      const { show } = await import("./certs_show.ts");
      show(options.topology, options.json === true);
    });
}

function clientOption() {
  return new Option("--client <name>", "an NBD client (again for more)")
    .argParser((text, earlier: string[]) => {
      if (NAME_PATTERN.test(text)) return [...earlier, text];
      throw new InvalidArgumentError(
        "Expected up to 63 letters, digits, dots, dashes, underscores.",
      );
    }).default([] as string[], "none");
}

function hostOption() {
  return new Option(
    "--host <host>",
    "a name or address that clients use, beside the topology's (again for more)",
  )
    .argParser((text, earlier: string[]) => {
      const host = /^\[(.+)\]$/.exec(text)?.[1] ?? text;
      if (isHost(host)) return [...earlier, host];
      throw new InvalidArgumentError("Expected a host name or an IP address, without a port.");
    }).default([] as string[], "none");
}

function isHost(host: string): boolean {
  if (host.includes(":")) return URL.canParse(`http://[${host}]`);
  return /^(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?$/.test(host);
}

function daysOption() {
  return new Option("--days <count>", "how long they are good for (default: 730)")
    .argParser((text) => {
      const days = Number(text);
      if (/^\d+$/.test(text) && days >= 1 && days <= DAYS_MAX) return days;
      throw new InvalidArgumentError(`Expected a number of days, 1 to ${DAYS_MAX}.`);
    });
}

function caKeyOption() {
  return new Option(
    "--ca-key <file>",
    "the key of the CA (default: NAME.ca.key beside the folder of certs)",
  );
}
