/**
 * What a node's service may reach, from what the topology says that it uses: its folders and devices and nothing
 * else of the machine.
 *
 * @module
 */
import type { Topology, TopologyNode } from "../topology/topology.ts";
import { isInside } from "../topology/paths.ts";
import { asComments, settingWord, type UnitLine } from "./unit.ts";

/** Where a program does not keep what outlives it, and a service sees folders of its own instead. */
const TEMPORARY = ["/tmp", "/var/tmp"];
const HOMES = ["/home", "/root", "/run/user"];

/** The paths that a node uses. All are absolute. */
export interface NodePaths {
  readonly devices: readonly string[];
  /** Where it writes files or makes sockets. */
  readonly folders: readonly string[];
  readonly runsPrograms: boolean;
  readonly lowPort: boolean;
}

/** Collects them. */
export function nodePaths(topology: Topology, node: TopologyNode): NodePaths {
  const volumes = [...node.volumes?.values() ?? []];
  const addresses = [...node.listen, ...node.nbd, ...(node.admin === null ? [] : [node.admin])];
  const sockets = addresses.flatMap((address) => /^unix:(\/.*)$/.exec(address)?.[1] ?? []);
  const files = [...volumes.filter((path) => !isDevice(path)), ...sockets];
  const ports = addresses.flatMap((address) => /:(\d+)\/?$/.exec(address)?.[1] ?? []);
  const links = topology.links.filter(({ from, to }) => from === node.name || to === node.name);
  return {
    devices: volumes.filter(isDevice),
    folders: outermost([node.dir, ...files.map(folderOf)]),
    runsPrograms: links.some(({ exec }) => exec !== null) ||
      [node.beforeScan, node.afterScan, node.beforeInconsistent, node.onMark].some((hook) =>
        hook !== null
      ),
    lowPort: ports.some((port) => Number(port) > 0 && Number(port) < 1024),
  };
}

function isDevice(path: string): boolean {
  return isInside(path, "/dev");
}

function folderOf(path: string): string {
  return path.slice(0, Math.max(1, path.lastIndexOf("/")));
}

/** Each once, without those that lie in another. */
function outermost(folders: readonly string[]): string[] {
  const all = [...new Set(folders)].sort();
  return all.filter((folder) => !all.some((other) => isInside(folder, other)));
}

/** The lines of `[Service]` that shut it in; `reads` are paths that it reads, too. */
export function sandboxLines(
  paths: NodePaths,
  reads: readonly string[],
  user: string,
): UnitLine[] {
  return [
    ...folderLines(paths, reads),
    "",
    ...deviceLines(paths),
    "",
    ...networkLines(),
    "",
    ...(paths.runsPrograms
      ? [
        "The topology has this node run programs of yours (hooks), which are shut in like the node. What",
        "follows keeps snapshot tools and sudo from working: take in what your programs stand.",
        ...asComments(confinement(paths, user)),
      ]
      : confinement(paths, user)),
    "",
    ...KERNEL,
    "",
    "No MemoryDenyWriteExecute=yes: the runtime compiles JavaScript to machine code while it runs, in memory",
    "that it writes and executes, and does not start with it.",
  ];
}

function folderLines({ folders }: NodePaths, reads: readonly string[]): UnitLine[] {
  const uses = (roots: readonly string[]) =>
    [...folders, ...reads].some((path) =>
      roots.some((root) => path === root || isInside(path, root))
    );
  const own = (root: string) => folders.filter((folder) => isInside(folder, root));
  const state = own("/var/lib");
  const runtime = own("/run").filter((folder) => !isInside(folder, "/run/user"));
  const others = folders.filter((folder) => !state.includes(folder) && !runtime.includes(folder));
  const below = (root: string, inner: readonly string[]) =>
    inner.map((folder) => settingWord(folder.slice(root.length + 1))).join(" ");
  return [
    "The whole file system is read-only but for these folders.",
    ["ProtectSystem", "strict"],
    ...(others.length === 0 ? [] : [
      "They have to be there when it starts.",
      ["ReadWritePaths", others.map(settingWord).join(" ")] as const,
    ]),
    ...(state.length === 0 ? [] : [
      ["StateDirectory", below("/var/lib", state)] as const,
      ["StateDirectoryMode", "0700"] as const,
    ]),
    ...(runtime.length === 0 ? [] : [
      "Other nodes and clients may use it, too: it stays when the service stops.",
      ["RuntimeDirectory", below("/run", runtime)] as const,
      ["RuntimeDirectoryPreserve", "yes"] as const,
    ]),
    uses(HOMES)
      ? "No ProtectHome=yes: paths of the topology lie in a home."
      : ["ProtectHome", "yes"],
    uses(TEMPORARY)
      ? "No PrivateTmp=yes: paths of the topology lie in a folder for temporary files."
      : ["PrivateTmp", "yes"],
    ["UMask", "0077"],
  ];
}

function deviceLines({ devices, runsPrograms }: NodePaths): UnitLine[] {
  // A device policy would bind what a hook does with a volume manager, too.
  if (runsPrograms) {
    return ["No DevicePolicy: what the programs that it runs make of devices is not known."];
  }
  if (devices.length === 0) return [["PrivateDevices", "yes"]];
  return [
    "Of devices its volumes alone.",
    ["DevicePolicy", "closed"],
    ...devices.map((path): UnitLine => ["DeviceAllow", `${settingWord(path)} rw`]),
    ["SupplementaryGroups", "disk"],
  ];
}

function networkLines(): UnitLine[] {
  return [
    "Netlink: looking a name up asks for the addresses of this host.",
    ["RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6 AF_NETLINK"],
  ];
}

function confinement({ lowPort }: NodePaths, user: string): UnitLine[] {
  const kept = [
    ...(lowPort ? ["CAP_NET_BIND_SERVICE"] : []),
    ...(user === "root" ? ["CAP_DAC_OVERRIDE"] : []),
  ].join(" ");
  return [
    ["NoNewPrivileges", "yes"],
    ["CapabilityBoundingSet", kept],
    ["AmbientCapabilities", lowPort ? "CAP_NET_BIND_SERVICE" : ""],
    ["RestrictSUIDSGID", "yes"],
    ["RestrictNamespaces", "yes"],
    "Memory protection keys: the JavaScript engine guards its machine code with them.",
    ["SystemCallFilter", "@system-service @pkey"],
    ["SystemCallFilter", "~@privileged"],
    ["SystemCallErrorNumber", "EPERM"],
  ];
}

const KERNEL: readonly UnitLine[] = [
  ["SystemCallArchitectures", "native"],
  ["LockPersonality", "yes"],
  ["RestrictRealtime", "yes"],
  ["ProtectClock", "yes"],
  ["ProtectControlGroups", "yes"],
  ["ProtectHostname", "yes"],
  ["ProtectKernelLogs", "yes"],
  ["ProtectKernelModules", "yes"],
  ["ProtectKernelTunables", "yes"],
  "No ProcSubset=pid: it looks into /proc/locks for programs that have locked a file.",
  ["ProtectProc", "invisible"],
  ["KeyringMode", "private"],
  ["PrivateIPC", "yes"],
  ["RemoveIPC", "yes"],
];
