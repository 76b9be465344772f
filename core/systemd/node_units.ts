/**
 * The units of a node: a service that runs it, or a timer with the service that it starts, which ships
 * what is pending.
 *
 * @module
 */
import { CascadeError } from "../errors.ts";
import type { Topology, TopologyLink, TopologyNode } from "../topology/topology.ts";
import { formatDuration } from "../topology/units.ts";
import { calendarOf } from "./calendar.ts";
import { nodePaths, sandboxLines } from "./sandbox.ts";
import {
  commandWord,
  settingText,
  settingWord,
  type Unit,
  type UnitLine,
  unitText,
} from "./unit.ts";

/** What the units are made of. */
export interface UnitRequest {
  readonly topology: Topology;
  readonly node: TopologyNode;
  /** The topology file; absolute. */
  readonly topologyPath: string;
  /** The program; absolute. */
  readonly program: string;
  readonly user: string;
  /** Of a timer: the one link that it ships; null: all. */
  readonly link: TopologyLink | null;
  /** Of a timer: when, in systemd's words; null: as the topology says. */
  readonly onCalendar: string | null;
}

/** A start replays a log, and a stop hands the last records on: neither is cut short lightly. */
const STOP_SECONDS = 300;
const OPEN_FILES_MAX = 65_536;

/** The service that runs `cascade serve`. */
export function serveUnit(request: UnitRequest): Unit {
  const { topology, node } = request;
  return service(request, `cascade-${node.name}`, `Cascade node ${node.name} of ${topology.name}`, [
    ["Type", "notify"],
    ["NotifyAccess", "main"],
    ["ExecStart", commandLine(request, "serve")],
    "Reads the topology again.",
    ["ExecReload", "/bin/kill -HUP $MAINPID"],
    ["Restart", "on-failure"],
    ["RestartSec", "2"],
    "2: the topology or the command line is wrong, and trying again does not help.",
    ["RestartPreventExitStatus", "2"],
    "It is ready once its log has been replayed, which takes as long as it takes.",
    ["TimeoutStartSec", "infinity"],
    "SIGTERM: clients are drained, and the nodes below get the last records.",
    ["TimeoutStopSec", String(STOP_SECONDS)],
    ["KillMode", "mixed"],
    ["LimitNOFILE", String(OPEN_FILES_MAX)],
  ], [["Install", [["WantedBy", "multi-user.target"]]]]);
}

/** The timer, and the service that it starts. Throws `usage` when the topology does not say when. */
export function syncUnits(request: UnitRequest): readonly [timer: Unit, service: Unit] {
  const { topology, node, link } = request;
  const what = link === null ? `what is pending on ${node.name}` : `link ${link.name}`;
  const name = `cascade-sync-${link?.name ?? node.name}`;
  const { events, jitterMs } = calendar(request);
  const lines: UnitLine[] = [
    ...events.map((event): UnitLine => ["OnCalendar", event]),
    ...(jitterMs === 0 ? [] : [["RandomizedDelaySec", `${Math.ceil(jitterMs / 1000)}`] as const]),
    "A run that was missed, since the machine was off, is made up for.",
    ["Persistent", "yes"],
    ["AccuracySec", "1s"],
  ];
  const timer = unitText(head(request, `${name}.timer`), [
    ["Unit", [["Description", settingText(`Cascade of ${topology.name}: when to ship ${what}`)]]],
    ["Timer", lines],
    ["Install", [["WantedBy", "timers.target"]]],
  ]);
  const options = link === null ? [] : ["--link", link.name];
  const started = service(request, name, `Cascade of ${topology.name}: ship ${what}`, [
    ["Type", "oneshot"],
    ["ExecStart", commandLine(request, "sync", ...options, "--skip-if-running", "--quiet")],
    ["TimeoutStartSec", "infinity"],
    ["TimeoutStopSec", String(STOP_SECONDS)],
    ["KillMode", "mixed"],
    ["LimitNOFILE", String(OPEN_FILES_MAX)],
  ], []);
  return [{ name: `${name}.timer`, text: timer }, started];
}

function service(
  request: UnitRequest,
  name: string,
  description: string,
  lines: readonly UnitLine[],
  more: readonly (readonly [string, readonly UnitLine[]])[],
): Unit {
  const { topology, node, user, topologyPath, program } = request;
  const paths = nodePaths(topology, node);
  const volumes = [...node.volumes?.values() ?? []].filter((path) => !path.startsWith("/dev/"));
  const text = unitText(head(request, `${name}.service`), [
    ["Unit", [
      ["Description", settingText(description)],
      ["Wants", "network-online.target"],
      ["After", "network-online.target"],
      ["RequiresMountsFor", [node.dir, ...volumes].map(settingWord).join(" ")],
    ]],
    ["Service", [
      ...lines,
      ["User", settingText(user)],
      ...secretLines(topology, node),
      "",
      ...sandboxLines(paths, [topologyPath, program, ...secretFiles(topology, node)], user),
    ]],
    ...more,
  ]);
  return { name: `${name}.service`, text };
}

function head({ topology, node, user, topologyPath }: UnitRequest, file: string): string[] {
  const folders = nodePaths(topology, node).folders;
  const owner = user === "root"
    ? []
    : [`Before the first start, once: useradd --system --shell /usr/sbin/nologin ${user}`];
  return [
    `${file}: node ${node.name} of ${topologyPath}, made by \`cascade systemd\`.`,
    "Make it again when paths or hooks in the topology change.",
    ...owner,
    `${user} must be able to read the topology, own its secret and keys (0600), and write in:`,
    ...folders.map((folder) => `  ${folder}`),
  ];
}

/** A secret out of the environment comes from a file that root alone reads. */
function secretLines(topology: Topology, node: TopologyNode): UnitLine[] {
  const names = [topology.secret, node.adminToken].flatMap((source) =>
    source?.kind === "env" ? [source.name] : []
  );
  if (names.length === 0) return [];
  return [
    `Of root's, with 0600: ${names.map((name) => `${name}=...`).join(", ")}`,
    ["EnvironmentFile", `/etc/cascade/${settingWord(node.name)}.env`],
  ];
}

function secretFiles(topology: Topology, node: TopologyNode): string[] {
  const secrets = [topology.secret, node.adminToken].flatMap((source) =>
    source?.kind === "file" ? [source.path] : []
  );
  const nbd = node.nbdTls === "off" ? {} : node.nbdCerts ?? {};
  return [...new Set([...secrets, ...Object.values(node.tls ?? {}), ...Object.values(nbd)])];
}

function commandLine(request: UnitRequest, command: string, ...rest: readonly string[]): string {
  const { program, topologyPath, node } = request;
  return [program, command, "-t", topologyPath, "--node", node.name, ...rest].map(commandWord)
    .join(" ");
}

/** When the timer goes off: as asked for, or as all links that it ships say. */
function calendar(request: UnitRequest): { events: readonly string[]; jitterMs: number } {
  const { topology, node, link, onCalendar } = request;
  const links = link === null ? topology.links.filter(({ from }) => from === node.name) : [link];
  if (links.length === 0) {
    throw new CascadeError("usage", `no link leads from ${node.name}: it has nothing to ship`);
  }
  if (onCalendar !== null) return { events: [settingText(onCalendar)], jitterMs: 0 };
  const said = links.map(({ name, schedule }) => {
    const events = schedule === null ? null : calendarOf(schedule);
    if (events !== null) return { events, jitterMs: schedule!.jitterMs };
    throw unsaid(
      schedule === null
        ? `link ${name} has no schedule`
        : `systemd cannot say when link ${name} is due${
          schedule.window !== null
            ? ", since it has a window"
            : schedule.cron !== null
            ? `: ${schedule.cron}`
            : `: every ${formatDuration(schedule.everyMs!)}`
        }`,
    );
  });
  const first = said[0]!;
  if (said.every((other) => JSON.stringify(other) === JSON.stringify(first))) return first;
  throw unsaid(
    `the links from ${node.name} are due at different times`,
    " or choose one with --link",
  );
}

function unsaid(reason: string, also = ""): CascadeError {
  return new CascadeError("usage", `${reason}, so the timer needs to be told when`, {
    hint: `Say it with --on-calendar "*-*-* 02:00:00"${also}`,
  });
}
