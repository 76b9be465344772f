/**
 * Opening a node: its folder, lock, state, volumes and log; all that is checked before anything
 * is served.
 *
 *  1. The folder is made if need be, and locked: one process a node.
 *  2. The state file says whose folder it is; another cluster's, node's or version's is refused.
 *  3. The volumes are opened and locked; on the first start they are made or adopted, and their
 *     fingerprint taken, before the state file says that the node exists. Later each must be the
 *     one that was left behind, as the note beside it tells.
 *  4. The log is read from end to end; damage below what is known durable is refused.
 *  5. What the log holds is made durable, and applied from the checkpoint on.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { NodeConfig, VolumeConfig } from "./config.ts";
import { cutTaken } from "./link/descendants.ts";
import { DeltaShelf } from "./delta/delta_shelf.ts";
import { CascadeError } from "./errors.ts";
import { folderOf } from "./folders.ts";
import { type Epoch, History } from "./history.ts";
import { Log, type RecoveryReport } from "./log/log.ts";
import type { Disk, DiskFile, Ports } from "./ports.ts";
import { type NodeState, STATE_FORMAT, StateFile } from "./state.ts";
import { cutMaps } from "./rejoin.ts";
import { declaredPrimary, placeIn } from "./tree/tree.ts";
import { firstView } from "./tree/view.ts";
import { BLANK, fingerprint } from "./volume/base.ts";
import { flushOwnerNote } from "./volume/owner_note.ts";
import { openVolumeFile, Volume } from "./volume/volume.ts";

/** A node's parts, opened and checked; nothing runs yet. */
export interface OpenedNode {
  /** As the topology says, with the role and the links that the node has by now. */
  readonly config: NodeConfig;
  readonly lock: DiskFile;
  readonly stateFile: StateFile;
  readonly state: NodeState;
  readonly volumes: readonly Volume[];
  readonly log: Log;
  readonly shelf: DeltaShelf;
  readonly report: RecoveryReport;
  readonly history: History;
}

/** What the log tells while the node runs. */
export interface LogEvents {
  onDurable(): void;
  onRoom(): void;
  /** Null: there is room again. */
  onDiskFull(error: unknown): void;
  onFatal(error: unknown): void;
}

/** Opens a node's folder. Throws what is in the way, with its place; leaves nothing open then. */
export async function openNode(
  declared: NodeConfig,
  ports: Ports,
  events: LogEvents,
): Promise<OpenedNode> {
  const opened: { close(): void }[] = [];
  try {
    const made = makeFolder(ports.disk, declared.dir);
    const lock = ports.disk.open(`${declared.dir}/lock`, { create: true, lock: true });
    opened.push(lock);
    const stateFile = new StateFile(ports.disk, declared.dir);
    const loaded = reigningView(stateFile.load(), declared);
    const config = placed(declared, loaded);
    if (loaded !== null) checkIdentity(loaded, config, stateFile.path);
    else checkFirst(config, ports.disk, stateFile.path);
    // Before the state file: a folder whose own name is not durable takes all in it along.
    if (loaded === null) { for (const folder of made) await ports.disk.flushFolder(folder); }
    // What something else writes is opened when it is scanned.
    const files = config.capture === "scan" ? [] : openVolumes(config, ports, loaded, opened);
    const state = loaded ?? await firstState(config, ports, files, stateFile);
    const holder: { log: Log | null } = { log: null };
    const volumes = files.map(({ volume, file }) =>
      new Volume(volume.name, volume.sizeBytes, file, (lsn, into) => holder.log?.readAt(lsn, into))
    );
    const { log, report } = await openLog(config, ports, state, events);
    holder.log = log;
    opened.push({ close: () => void log.close() });
    const shelf = await DeltaShelf.open(ports.disk, `${config.dir}/delta`, ports.clock);
    opened.push(shelf);
    const history = joinHistory(state, report, log, shelf);
    const parts = { config, lock, stateFile, volumes, log, shelf, report, history };
    return { ...parts, state: await settleRole(parts, state, ports) };
  } catch (error) {
    for (const file of opened.reverse()) file.close();
    throw error;
  }
}

/**
 * Where the tree was never changed, as far as is known here, the folder itself tells who reigns: a file that says
 * otherwise by now changes no role.
 */
function reigningView(state: NodeState | null, { tree, name }: NodeConfig): NodeState | null {
  if (state === null || state.view !== null || tree === null) return state;
  const primary = state.reigned ? name : state.history.at(-1)?.node;
  const isKnown = tree.nodes.some((node) => node.name === primary);
  if (primary === undefined || !isKnown || primary === declaredPrimary(tree)) return state;
  return { ...state, view: firstView(primary) };
}

/** The role and the links that this node has by what it knows of the tree. */
function placed(config: NodeConfig, state: NodeState | null): NodeConfig {
  const view = state?.view ?? null;
  if (view === null || config.tree === null) return config;
  return { ...config, ...placeIn(config.tree, view, config.name) };
}

/** Once what is here was read: a node that reigned and does not any more, or leaves an abandoned epoch. */
async function settleRole(
  { config, stateFile, log, shelf, history }: Omit<OpenedNode, "state">,
  state: NodeState,
  ports: Ports,
): Promise<NodeState> {
  const reigned = config.role === "primary";
  if (state.reigned && !reigned) {
    // What the primary had is final, as the nodes below were told.
    log.setUpstreamMark(log.endLsn);
    log.requestFlush();
    await log.flushed();
  }
  const { rejoin, cutLsn } = state;
  const isLeaving = rejoin !== null && !rejoin.isCut;
  const forkLsn = isLeaving ? rejoin.forkLsn : cutLsn;
  let next: NodeState = { ...state, reigned };
  if (forkLsn !== null) {
    if (isLeaving && rejoin.wipes) await log.jump(forkLsn);
    else if (log.endLsn > forkLsn) await log.cutBack(forkLsn);
    shelf.discardIncoming();
    const beyond = shelf.deltas.filter(({ toLsn }) => toLsn > forkLsn);
    const kept = isLeaving ? rejoin.kept : state.cutKept;
    for (const delta of beyond) {
      if (kept === null) shelf.drop(delta);
      else await shelf.moveOut(delta, kept);
    }
    history.cutBack(forkLsn);
    const sizes = config.volumes.map(({ sizeBytes }) => sizeBytes);
    await cutMaps(ports, `${config.dir}/maps`, sizes, forkLsn);
    const left = isLeaving
      ? { rejoin: { ...rejoin, isCut: true }, checkpointLsn: forkLsn }
      : { cutLsn: null, cutKept: null };
    const isMarkGone = (state.markFrozen?.endLsn ?? 0) > forkLsn;
    const taken = cutTaken(state.taken, history, forkLsn);
    next = {
      ...{ ...next, ...left, taken, history: [...history.epochs] },
      ...(isMarkGone ? { markFrozen: null } : {}),
    };
  }
  if (reigned !== state.reigned || forkLsn !== null) await stateFile.save(next);
  return next;
}

/** A log that does not reach back to the fork goes, before it is read. Its records were kept. */
async function emptyLog(disk: Disk, folder: string): Promise<void> {
  for (const name of disk.list(folder)) disk.remove(`${folder}/${name}`);
  await disk.flushFolder(folder);
}

/** Makes a folder; returns the folders whose names of others are to be made durable for it. */
function makeFolder(disk: Disk, path: string): string[] {
  // Its own name always: a crash may have come between the making and the flush.
  const parents = [folderOf(path)];
  for (let folder = folderOf(path); !disk.exists(folder); folder = folderOf(folder)) {
    parents.push(folderOf(folder));
  }
  disk.makeFolder(path);
  return parents;
}

/** A folder without a state file must be new: a log without one would be taken for another's. */
function checkFirst(config: NodeConfig, disk: Disk, path: string): void {
  const folder = `${config.dir}/log`;
  if (disk.exists(folder) && disk.list(folder).length > 0) {
    throw new CascadeError("state-corrupt", "the state file is gone, but the log is there", {
      where: { file: path },
      hint:
        "Restore the node's folder as it was, or remove it and the node's volumes and let the " +
        "node be filled anew",
    });
  }
}

/** A folder serves the node that it was made for, and no other. */
function checkIdentity(state: NodeState, config: NodeConfig, path: string): void {
  const wrong = (found: string, hint: string) => {
    throw new CascadeError("wrong-folder", `the node's folder ${found}`, {
      where: { file: path },
      hint,
    });
  };
  if (state.cluster !== config.cluster || state.node !== config.name) {
    wrong(
      `belongs to node "${state.node}" of cluster "${state.cluster}", not to node ` +
        `"${config.name}" of cluster "${config.cluster}"`,
      "Give every node a `dir` of its own in the topology",
    );
  }
  // With a view the topology file is not what says who reigns.
  if (state.view === null && state.reigned !== (config.role === "primary")) {
    wrong(
      state.reigned ? "is that of a primary" : "is that of a node below the primary",
      "Give the node its old role back in the topology: `cascade promote` and `cascade migrate` change " +
        "who is primary",
    );
  }
  if ((state.scan !== null) !== (config.capture === "scan")) {
    wrong(
      state.scan === null
        ? "is that of a node whose clients write through it"
        : "is that of a node with capture: scan",
      "Give the node its old `capture` back, or a new `dir`",
    );
  }
  const names = (volumes: readonly { name: string; sizeBytes: number }[]) =>
    volumes.map(({ name, sizeBytes }) => `${name} of ${sizeBytes} bytes`).join(", ");
  if (names(state.volumes) !== names(config.volumes)) {
    wrong(
      `holds the volumes ${names(state.volumes)}; the topology declares ${names(config.volumes)}`,
      "Volumes cannot be added, removed or resized in this version",
    );
  }
}

interface OpenVolume {
  readonly volume: VolumeConfig;
  readonly file: DiskFile;
}

function openVolumes(
  config: NodeConfig,
  ports: Ports,
  state: NodeState | null,
  opened: { close(): void }[],
): OpenVolume[] {
  const owner = { cluster: config.cluster, node: config.name };
  const result: OpenVolume[] = [];
  const placed = config.volumes.filter((volume) => volume.path !== null);
  if (placed.length > 0 && placed.length < config.volumes.length) {
    throw new CascadeError("topology", `${config.name} has a place for some of the volumes only`, {
      hint: "Give every volume a path, or none of them for a log-only node",
    });
  }
  for (const volume of config.volumes) {
    if (volume.path === null) continue;
    const { name, path, sizeBytes } = volume;
    const file = openVolumeFile(ports.disk, {
      name,
      path,
      sizeBytes,
      first: state === null,
      owner,
    });
    opened.push(file);
    result.push({ volume, file });
  }
  return result;
}

/** The first start: what the volumes are now is what LSN 0 means. */
async function firstState(
  config: NodeConfig,
  ports: Ports,
  files: readonly OpenVolume[],
  stateFile: StateFile,
): Promise<NodeState> {
  const base: Record<string, string> = {};
  for (const { volume, file } of files) {
    base[volume.name] = await fingerprint(file, volume.sizeBytes, ports.clock);
    await file.flush();
    // Whoever put an image here wrote it in large pieces, and it was read in such: see `Volume`.
    file.forgetCached?.();
    if (file.isDevice) continue;
    // The state file says that there is a note: later it is missed.
    await flushOwnerNote(ports.disk, file.path);
    await ports.disk.flushFolder(folderOf(file.path));
  }
  const state: NodeState = {
    format: STATE_FORMAT,
    cluster: config.cluster,
    node: config.name,
    reigned: config.role === "primary",
    volumes: config.volumes.map(({ name, sizeBytes, path }) => ({ name, sizeBytes, path })),
    base: config.capture === "scan" ? blankBase(config) : files.length === 0 ? null : base,
    checkpointLsn: 0,
    inPlace: null,
    deltaSeries: Buffer.from(ports.random.bytes(8)).toString("hex"),
    paused: [],
    limited: [],
    runs: [],
    scan: config.capture === "scan" ? { isOpen: false, last: null } : null,
    verified: [],
    view: null,
    rejoin: null,
    cutLsn: null,
    cutKept: null,
    fed: false,
    history: [],
    taken: [],
    clean: true,
  };
  await stateFile.save(state);
  return state;
}

/** Before the first scan nothing is known: all that is not zero is a change. */
function blankBase(config: NodeConfig): Record<string, string> {
  return Object.fromEntries(config.volumes.map(({ name }) => [name, BLANK]));
}

async function openLog(
  config: NodeConfig,
  ports: Ports,
  state: NodeState,
  events: LogEvents,
): Promise<{ log: Log; report: RecoveryReport }> {
  const folder = `${config.dir}/log`;
  ports.disk.makeFolder(folder);
  await ports.disk.flushFolder(config.dir);
  const { rejoin } = state;
  const isLeaving = rejoin !== null && !rejoin.isCut;
  if (isLeaving && rejoin.wipes) await emptyLog(ports.disk, folder);
  // What is here may have been cut already, when this node ended.
  const checkpointLsn = !isLeaving ? state.checkpointLsn : rejoin.wipes ? 0 : rejoin.forkLsn;
  const { log, report } = await Log.open({
    disk: ports.disk,
    clock: ports.clock,
    folder,
    budgetBytes: config.log.budgetBytes,
    segmentBytes: config.log.segmentBytes,
    checkpointLsn,
    events,
  });
  try {
    log.setUpstreamMark(Math.max(log.upstreamMark, checkpointLsn));
    log.requestFlush();
    await log.flushed();
    return { log, report };
  } catch (error) {
    await log.close();
    throw error;
  }
}

/**
 * Epochs whose records the log has dropped, or that came with a delta, come from the state file or from
 * that delta; the rest from the log.
 */
function joinHistory(
  state: NodeState,
  report: RecoveryReport,
  log: Log,
  shelf: DeltaShelf,
): History {
  const { rejoin } = state;
  const emptiedLsn = rejoin !== null && !rejoin.isCut && rejoin.wipes ? rejoin.forkLsn : 0;
  const isElsewhere = ({ firstLsn }: Epoch) =>
    firstLsn < Math.max(log.startLsn, emptiedLsn) || log.gapAt(firstLsn) !== null;
  const all = new Map<string, Epoch>();
  const came = [
    ...shelf.deltas.flatMap(({ trailer }) => trailer.history),
    ...state.inPlace?.trailer?.history ?? [],
  ];
  for (const epoch of [...state.history, ...came].filter(isElsewhere)) all.set(epoch.id, epoch);
  for (const epoch of report.epochs) all.set(epoch.id, epoch);
  return new History([...all.values()].sort((a, b) => a.number - b.number));
}
