/**
 * `cascade seed FILE NODE`: a seed file into a blank node.
 *
 * @module
 */
import { checkBody, openSeedFile, type SeedFile } from "../core/delta/seed_file.ts";
import { CascadeError, isCascadeError } from "../core/errors.ts";
import type { NodeConfig } from "../core/config.ts";
import { emptyNode } from "../core/empty_node.ts";
import type { Ports } from "../core/ports.ts";
import { firstData } from "../core/seed/look.ts";
import { FileBlocks } from "../core/seed/file_blocks.ts";
import { type LoadPlace, loadSeed, notBlank, placeOf } from "../core/seed_load.ts";
import { approximateSize } from "../core/topology/units.ts";
import { freeBytesAt } from "../io/free_space.ts";
import { denoPorts, stderrJournal } from "../io/world.ts";
import { EXIT, ExitWith } from "./exit.ts";
import { tell } from "./output.ts";
import { reportCourier } from "./seed_report.ts";
import type { SeedRequest } from "./seed_run.ts";
import { loadSetup } from "./serve_node.ts";
import { stopOnSignal } from "./stop_signal.ts";
import { SeedBar } from "./ui/seed_view.ts";

const INTERRUPTED = "cascade: interrupted before anything was written";

/** Runs it. Throws an {@linkcode ExitWith} or what failed. */
export async function loadSeedFile(
  request: SeedRequest,
  name: string,
): Promise<void> {
  const ports = denoPorts({ journal: stderrJournal(name, "text", "warn") });
  const { config } = loadSetup({ topology: request.topology, node: name });
  const stop = stopOnSignal();
  const beganMs = performance.now();
  const seed = openSeedFile(ports.disk, request.source);
  const { delta } = seed;
  const state = { phase: "checking", doneBytes: 0, verifiedBytes: 0, zeroBytes: 0, equalBytes: 0 };
  const bar = request.quiet ? null : SeedBar.onTerminal(state, () => delta.bodyBytes);
  try {
    const place = placeIn(request, config, seed, ports);
    if (place === "loaded") return done(request, seed, name, delta.bodyBytes, beganMs);
    const onDone = (bytes: number) => void (state.doneBytes = bytes);
    const told = { stopped: stop.asked, onDone };
    const bytes = await checkBody(delta, { ...told, clock: ports.clock });
    if (bytes === null) throw new ExitWith(EXIT.failed, INTERRUPTED);
    if (place === "to be emptied") {
      await whileStopped(config, () => emptyNode(config, ports.disk, ports.clock));
    } else if (place === "blank") await refuseData(config, ports, stop.asked);
    if (place !== "begun") refuseShort(config, bytes);
    Object.assign(state, { phase: "loading", doneBytes: 0 });
    const end = await whileStopped(config, () => loadSeed(config, seed, ports, told));
    bar?.end();
    if (!end.done) {
      throw new ExitWith(
        EXIT.failed,
        `cascade: interrupted, ${name} is not whole. Run the same command again to go on from there.`,
      );
    }
    done(request, seed, name, end.resumedAt, beganMs);
  } finally {
    bar?.end();
    stop.end();
    delta.close();
  }
}

/** What the node's folder says, and what is to become of it. */
function placeIn(
  { force }: SeedRequest,
  config: NodeConfig,
  seed: SeedFile,
  ports: Ports,
): LoadPlace | "to be emptied" {
  try {
    const place = placeOf(config, seed, ports);
    // Also one whose emptying was cut off, which left no state.
    return force && place === "blank" ? "to be emptied" : place;
  } catch (error) {
    if (force && isCascadeError(error, "refused")) return "to be emptied";
    throw error;
  }
}

/** Tells of a node that runs, and what to do on a full disk. */
async function whileStopped<T>(config: NodeConfig, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (isCascadeError(error, "locked") && error.where.path === `${config.dir}/lock`) {
      throw new CascadeError(
        "locked",
        `${config.name} runs: a seed is loaded into a stopped node`,
        {
          where: error.where,
          hint: "Stop it, and run the command again.",
          cause: error,
        },
      );
    }
    if (!isCascadeError(error, "disk-full")) throw error;
    throw new CascadeError("disk-full", error.message, {
      where: error.where,
      hint: "Make room, and run the same command again: it goes on from there.",
      cause: error,
    });
  }
}

function done(
  request: SeedRequest,
  { delta }: SeedFile,
  node: string,
  resumedAt: number,
  beganMs: number,
): void {
  if (!request.quiet && resumedAt > 0 && resumedAt < delta.bodyBytes) {
    tell(
      `cascade: went on at ${approximateSize(resumedAt)} of ${approximateSize(delta.bodyBytes)}`,
    );
  }
  reportCourier(request, { kind: "loaded", node, delta, resumedAt, beganMs });
}

/** The last look before a node is touched that nothing was replicated to: its volumes hold no data. */
async function refuseData(
  config: NodeConfig,
  { disk, clock }: Ports,
  stopped: () => boolean,
): Promise<void> {
  for (const { name, path, sizeBytes } of config.volumes) {
    if (path === null || !disk.exists(path)) continue;
    const file = disk.open(path, { readOnly: true });
    try {
      const found = file.isDevice ? sizeBytes : Math.min(file.size(), sizeBytes);
      const at = await firstData(new FileBlocks(file, found), { clock, stopped, onDone() {} });
      if (at !== null) throw notBlank(config, `has data in ${name}, at byte ${at}`);
      if (stopped()) throw new ExitWith(EXIT.failed, INTERRUPTED);
    } finally {
      file.close();
    }
  }
}

/** Volumes on one file system share its room. */
function refuseShort(config: NodeConfig, bytes: number): void {
  const paths = config.volumes.flatMap(({ path }) => path === null ? [] : [path]);
  const rooms = paths.map(freeBytesAt);
  const files = rooms.filter((room) => room !== null);
  // On several file systems each may take its share: what fails then is gone on with.
  if (files.length < rooms.length || new Set(files.map(({ device }) => device)).size > 1) return;
  const [room] = files;
  if (room === undefined || room.freeBytes >= bytes) return;
  throw new CascadeError(
    "disk-full",
    `the volumes need ${approximateSize(bytes)}, ${approximateSize(room.freeBytes)} are free`,
    { where: { file: paths[0] ?? "" }, hint: "Make room; nothing was changed." },
  );
}
