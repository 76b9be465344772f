/**
 * `cascade seed NODE FILE`: the volumes of a node, at one LSN, into a seed file.
 *
 * @module
 */
import type { Delta } from "../core/delta/delta_shelf.ts";
import { checkBody, partialPath, SeedFileWriter } from "../core/delta/seed_file.ts";
import { CascadeError, isCascadeError } from "../core/errors.ts";
import type { StagedMessage } from "../core/link/messages.ts";
import type { SeedMaker } from "../core/node_seeds.ts";
import { folderOf } from "../core/folders.ts";
import type { Ports } from "../core/ports.ts";
import { approximateSize } from "../core/topology/units.ts";
import { resolvePath } from "../core/topology/paths.ts";
import { TIMEOUT_NEVER_MS, wasNeverAsked } from "../io/admin_client.ts";
import { freeBytesAt } from "../io/free_space.ts";
import { fetchSeed } from "../io/seed_client.ts";
import { denoPorts, stderrJournal } from "../io/world.ts";
import { EXIT, ExitWith } from "./exit.ts";
import { tell } from "./output.ts";
import { statOf } from "./seed_look.ts";
import { reportCourier } from "./seed_report.ts";
import type { SeedRequest } from "./seed_run.ts";
import { loadSetup, type NodeSetup } from "./serve_node.ts";
import { stopOnSignal, type StopSignal } from "./stop_signal.ts";
import { type BarState, SeedBar } from "./ui/seed_view.ts";

/** How far it is; also what the bar is drawn from. */
interface Progress extends BarState {
  totalBytes: number;
}

/** Runs it. Throws an {@linkcode ExitWith} or what failed. */
export async function saveSeed(
  request: SeedRequest,
  name: string,
): Promise<void> {
  const world = denoPorts({ journal: stderrJournal("seed", "text", "warn") });
  const setup = loadSetup({ topology: request.topology, node: name });
  const path = resolvePath(Deno.cwd(), request.target);
  refuseTaken(request, path, world);
  const stop = stopOnSignal();
  try {
    const beganMs = performance.now();
    const writer = await SeedFileWriter.open(world.disk, path, world.clock);
    const progress = { phase: "writing", ...ZERO, totalBytes: 0 };
    const bar = request.quiet ? null : SeedBar.onTerminal(progress, () => progress.totalBytes);
    let made: { delta: Delta; resumedAt: number };
    try {
      const job = new Save(request, path, writer, progress, stop);
      job.volumeBytes = setup.config.volumes.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
      const whole = await job.fetch(setup) ??
        await (await import("./seed_here.ts")).asNode(setup, (maker) => job.from(maker));
      if (!whole) return await interrupted(writer, path);
      made = { delta: await finish(writer, progress, world, stop.asked), resumedAt: job.resumedAt };
    } finally {
      bar?.end();
      writer.close();
    }
    reportCourier(request, { kind: "seed-file", node: name, ...made, beganMs });
  } finally {
    stop.end();
  }
}

const ZERO = { doneBytes: 0, verifiedBytes: 0, zeroBytes: 0, equalBytes: 0 };

/** Before anything is asked of a node. */
function refuseTaken(request: SeedRequest, path: string, { disk }: Ports): void {
  const where = { target: request.target };
  if (statOf(path)?.isDirectory === true) {
    throw new CascadeError("usage", "the target is a folder", {
      where,
      hint: `Name a file in it: ${path}/${request.source}.seed`,
    });
  }
  if (statOf(folderOf(path))?.isDirectory !== true) {
    throw new CascadeError("usage", `there is no folder ${folderOf(path)}`, { where });
  }
  if (!disk.exists(path) || request.force) return;
  throw new CascadeError("refused", "the target is there already", {
    where,
    hint: "Choose another name; --force replaces the file.",
  });
}

async function finish(
  writer: SeedFileWriter,
  progress: Progress,
  { clock }: Ports,
  stopped: () => boolean,
): Promise<Delta> {
  let made: Delta | null = null;
  await writer.finish(async (delta) => {
    Object.assign(progress, { phase: "checking", doneBytes: 0, totalBytes: delta.bodyBytes });
    const onDone = (bytes: number) => void (progress.doneBytes = bytes);
    if (await checkBody(delta, { clock, stopped, onDone }) === null) {
      throw new ExitWith(
        EXIT.failed,
        "cascade: interrupted while the file was checked. Run the same command again to go on.",
      );
    }
    made = delta;
  });
  if (made === null) throw new CascadeError("bug", "a seed file was checked");
  return made;
}

async function interrupted(writer: SeedFileWriter, path: string): Promise<never> {
  await writer.pause();
  throw new ExitWith(
    EXIT.failed,
    `cascade: interrupted, the seed file is not whole. Run the same command again to go on from ` +
      `there, or remove ${partialPath(path)}.`,
  );
}

/** Takes what a node gives, wherever that runs. */
class Save {
  readonly #request: SeedRequest;
  readonly #path: string;
  readonly #writer: SeedFileWriter;
  readonly #progress: Progress;
  readonly #stop: StopSignal;
  resumedAt = 0;
  /** Of all volumes, holes and zeroes too. */
  volumeBytes = 0;

  constructor(
    request: SeedRequest,
    path: string,
    writer: SeedFileWriter,
    progress: Progress,
    stop: StopSignal,
  ) {
    this.#request = request;
    this.#path = path;
    this.#writer = writer;
    this.#progress = progress;
    this.#stop = stop;
  }

  onBegin(resumes: boolean, bytesExpected: number): void {
    const staged: StagedMessage | null = this.#writer.staged;
    if (!resumes) {
      if (staged !== null) this.#say("what there is of the file is of no use any more: anew");
      this.#writer.restart();
    } else {
      this.resumedAt = staged?.position ?? 0;
      this.#say(`going on at ${approximateSize(this.#writer.bytes)}`);
    }
    this.#progress.doneBytes = this.#writer.bytes;
    this.#progress.totalBytes = bytesExpected;
    this.#progress.zeroBytes = Math.max(0, this.volumeBytes - bytesExpected);
    this.#refuseShort(bytesExpected - this.#writer.bytes);
  }

  #refuseShort(bytes: number): void {
    const room = freeBytesAt(this.#path);
    if (room === null || room.freeBytes >= bytes) return;
    const [needed, free] = [bytes, room.freeBytes].map(approximateSize);
    throw new CascadeError("disk-full", `the file needs ${needed} more, ${free} are free`, {
      where: { file: this.#path },
      hint: "Make room, or name a file elsewhere.",
    });
  }

  #say(text: string): void {
    if (!this.#request.quiet) tell(`cascade: ${text}`);
  }

  onBytes(bytes: Uint8Array): void {
    this.#writer.append(bytes);
    const { bytes: doneBytes } = this.#writer;
    this.#progress.doneBytes = doneBytes;
    // A node that is written to meanwhile has more to give than it knew.
    this.#progress.totalBytes = Math.max(this.#progress.totalBytes, doneBytes);
  }

  /** From the node that runs: whether it came to its end. Null when nobody takes the question. */
  async fetch({ config, admin, adminToken }: NodeSetup): Promise<boolean | null> {
    if (admin === null) return null;
    const { signal } = this.#stop;
    const who = { node: config.name, address: admin, token: adminToken };
    const target = { ...who, timeoutMs: TIMEOUT_NEVER_MS, signal };
    try {
      await fetchSeed(target, config.secret, this.#writer.staged, this);
      return true;
    } catch (error) {
      if (signal.aborted && !isCascadeError(error, "disk-full")) return false;
      if (wasNeverAsked(error)) return null;
      throw error;
    }
  }

  /** As the node itself. */
  async from(maker: SeedMaker): Promise<boolean> {
    const making = await maker.begin(this.#writer.staged);
    try {
      this.onBegin(making.resumes, making.bytesExpected);
      await making.write((bytes) => {
        if (this.#stop.asked()) return Promise.reject(STOPPED);
        this.onBytes(bytes);
        return Promise.resolve();
      });
      return true;
    } catch (error) {
      if (error === STOPPED) return false;
      throw error;
    } finally {
      making.close();
    }
  }
}

/** What breaks a making off. */
const STOPPED = new CascadeError("stopping", "a signal came");
