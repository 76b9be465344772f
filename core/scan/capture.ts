/**
 * The scans of a node with `capture: scan`, one at a time, and what was scanned for as long as links read
 * from it.
 *
 * Whoever wants the links to carry what the volumes are now takes a scan, and releases it when the links
 * have got there. Between its first user and its last the hooks have run `beforeScan` and not yet
 * `afterScan`, and what they gave to scan is open.
 *
 * @module
 */
import type { Hook } from "../config.ts";
import { CascadeError, describeError } from "../errors.ts";
import type { Clock, Disk, DiskFile, Hooks, Journal } from "../ports.ts";
import type { ScanLast, ScanStatus } from "../status.ts";
import { blankDigests } from "./digests.ts";
import type { HashMap } from "./hash_map.ts";
import type { ScanGround } from "./scan_ground.ts";
import type { ScanImage } from "./scan_image.ts";
import { ScanRun } from "./scan_run.ts";

/** What is kept of scans in the node's state. */
export interface ScanMemory {
  /** `beforeScan` has run, and `afterScan` has not. */
  readonly isOpen: boolean;
  /** The last scan that went to its end. */
  readonly last: ScanLast | null;
}

/** What captures are made with. */
export interface CaptureParts {
  readonly ground: ScanGround;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly hooks: Hooks;
  readonly journal: Journal;
  readonly beforeScan: Hook | null;
  readonly afterScan: Hook | null;
  /** How long each of them may take. */
  readonly hookTimeoutMs: number;
  /** One a volume: its place, name and size on this node. */
  readonly volumes: readonly {
    readonly name: string;
    readonly path: string;
    readonly sizeBytes: number;
  }[];
  readonly images: readonly ScanImage[];
  readonly memory: () => ScanMemory;
  readonly remember: (change: Partial<ScanMemory>) => Promise<void>;
  /** What was scanned can be read from now on. */
  readonly onOpen: () => void;
}

/** A scan that somebody uses. */
export interface ScanLease {
  /** Where the log ends with what it found. */
  readonly lsn: number;
  /** To be called once. Throws `hook-failed` when the last of its users meets that. */
  release(): Promise<void>;
}

interface Turn {
  readonly number: number;
  users: number;
  readonly scanned: Promise<number>;
  /** Settles when the last of its users is gone. */
  readonly over: Promise<void>;
}

/** See the module's text. */
export class Capture {
  readonly #parts: CaptureParts;
  #turn: Turn | null = null;
  #count = 0;
  #end: () => void = () => {};
  #progress = { doneBytes: 0, readBytes: 0 };
  #startedAtMs = 0;
  #phase: ScanStatus["state"] = "idle";
  #failure: string | null = null;

  constructor(parts: CaptureParts) {
    this.#parts = parts;
  }

  /** Whether what was scanned can be read. */
  get isOpen(): boolean {
    return this.#phase === "open";
  }

  /** Whether a scan ever went to its end. */
  get hasScanned(): boolean {
    return this.#parts.memory().last !== null;
  }

  status(): ScanStatus {
    const isRunning = this.#phase !== "idle";
    return {
      state: this.#phase,
      startedAtMs: isRunning ? this.#startedAtMs : null,
      bytesTotal: this.#parts.volumes.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
      bytesDone: isRunning ? this.#progress.doneBytes : 0,
      last: this.#parts.memory().last,
      reason: this.#failure,
    };
  }

  /**
   * Scans, or shares a scan; `isFresh`: one that begins from now on, else one that has begun will do. Throws
   * what the scan throws; `hook-failed`.
   */
  async take(isFresh: boolean): Promise<ScanLease> {
    const asked = ++this.#count;
    for (;;) {
      if (this.#parts.ground.stopped()) throw this.#parts.ground.stopping();
      const turn = this.#turn;
      if (turn === null) break;
      const serves = !isFresh || turn.number > asked;
      if (serves && turn.users > 0) return await this.#share(turn);
      await turn.over;
    }
    return await this.#begin();
  }

  async #share(turn: Turn): Promise<ScanLease> {
    turn.users++;
    return this.#lease(turn, await turn.scanned);
  }

  #lease(turn: Turn, lsn: number): ScanLease {
    return {
      lsn,
      release: async () => {
        if (turn.users > 0 && --turn.users === 0) await this.#close();
      },
    };
  }

  async #begin(): Promise<ScanLease> {
    const over = new Promise<void>((end) => this.#end = end);
    const scanned = this.#scan();
    const turn: Turn = { number: ++this.#count, users: 1, scanned, over };
    this.#turn = turn;
    try {
      return this.#lease(turn, await scanned);
    } catch (error) {
      turn.users = 0;
      await this.#close().catch(() => {/* told; what came first is what the user is told */});
      this.#failure = describeError(error);
      throw error;
    }
  }

  async #scan(): Promise<number> {
    const { ground, clock, images, remember } = this.#parts;
    this.#startedAtMs = clock.nowMs();
    this.#phase = "scanning";
    this.#progress = { doneBytes: 0, readBytes: 0 };
    const at = await this.#open();
    let isTaken = false;
    try {
      const { lsn, changedBytes } = await new ScanRun(ground, at, this.#progress).commit();
      const { readBytes } = this.#progress;
      const [startedAtMs, endedAtMs] = [this.#startedAtMs, clock.nowMs()];
      await remember({ last: { startedAtMs, endedAtMs, lsn, readBytes, changedBytes } });
      const digests = await this.#digests();
      for (const [number, image] of images.entries()) {
        image.open(at.files[number]!, digests?.[number] ?? blankDigests(ground.maps.newKey()));
      }
      isTaken = true;
      this.#maps = digests;
      this.#failure = null;
      this.#phase = "open";
      this.#parts.onOpen();
      return lsn;
    } finally {
      if (!isTaken) { for (const file of at.files) file.close(); }
    }
  }

  #maps: readonly HashMap[] | null = null;

  #digests(): Promise<readonly HashMap[] | null> {
    const { maps, mapGround } = this.#parts.ground;
    return maps.open(mapGround);
  }

  /** Tells what a scan would find, in bytes. Throws as {@linkcode take}. */
  async preview(): Promise<number> {
    while (this.#turn !== null) await this.#turn.over;
    const over = new Promise<void>((end) => this.#end = end);
    const scanned = Promise.resolve(0);
    this.#turn = { number: ++this.#count, users: 0, scanned, over };
    this.#startedAtMs = this.#parts.clock.nowMs();
    this.#phase = "scanning";
    this.#progress = { doneBytes: 0, readBytes: 0 };
    try {
      const at = await this.#open();
      try {
        return await new ScanRun(this.#parts.ground, at, this.#progress).preview();
      } finally {
        for (const file of at.files) file.close();
      }
    } finally {
      await this.#close();
    }
  }

  /** To be called when the node stops: settles when nothing is open any more, whoever uses it. */
  async stop(): Promise<void> {
    const turn = this.#turn;
    if (turn === null) return;
    await turn.scanned.catch(() => {/* whoever wanted it is told */});
    if (turn.users > 0) {
      turn.users = 0;
      await this.#close();
    } else await turn.over;
  }

  /** Runs `beforeScan` and opens what is to be scanned. */
  async #open(): Promise<{ paths: readonly string[]; files: readonly DiskFile[] }> {
    const { beforeScan, afterScan, hookTimeoutMs, hooks, volumes, disk, journal } = this.#parts;
    const { memory, remember } = this.#parts;
    if (memory().isOpen && afterScan !== null) {
      // The run before was killed: what it left would be in the way of this one.
      await hooks.run("afterScan", afterScan, hookTimeoutMs).catch((error) => {
        journal.write("warn", "afterScan of a run before failed", { reason: describeError(error) });
      });
    }
    if (beforeScan !== null || afterScan !== null) await remember({ isOpen: true });
    const said = beforeScan === null
      ? null
      : await hooks.run("beforeScan", beforeScan, hookTimeoutMs);
    const paths = said === null ? volumes.map(({ path }) => path) : this.#pathsOf(said);
    const files: DiskFile[] = [];
    try {
      for (const [number, path] of paths.entries()) {
        const file = disk.open(path, { readOnly: true });
        files.push(file);
        checkSize(file, volumes[number]!);
      }
    } catch (error) {
      for (const file of files) file.close();
      throw error;
    }
    return { paths, files };
  }

  /** The last lines that `beforeScan` printed: a path for each volume, in the order of the topology. */
  #pathsOf(lines: readonly string[]): readonly string[] {
    const { volumes } = this.#parts;
    const paths = lines.slice(-volumes.length).map((line) => line.trim());
    if (paths.length === volumes.length && paths.every((path) => path.startsWith("/"))) {
      return paths;
    }
    const wanted = volumes.length === 1
      ? "the absolute path of what is to be scanned"
      : `${volumes.length} absolute paths, one a line, in the order of the topology's volumes`;
    throw new CascadeError(
      "hook-failed",
      `the hook beforeScan is to print ${wanted} last; it printed ` +
        `"${lines.slice(-volumes.length).join("\\n")}"`,
      { hint: "To scan the volumes themselves, let it print their paths" },
    );
  }

  /** Closes what was scanned, and runs `afterScan`. */
  async #close(): Promise<void> {
    const { images, beforeScan, afterScan, hookTimeoutMs, hooks, remember, journal, ground } = this
      .#parts;
    for (const image of images) image.close();
    for (const map of this.#maps ?? []) map.close();
    this.#maps = null;
    try {
      await ground.unsure.save();
      if (afterScan !== null) await hooks.run("afterScan", afterScan, hookTimeoutMs);
      if (afterScan !== null || beforeScan !== null) await remember({ isOpen: false });
    } catch (error) {
      this.#failure = describeError(error);
      journal.write("error", "a scan was not closed", { reason: this.#failure });
      throw error;
    } finally {
      this.#phase = "idle";
      this.#turn = null;
      this.#end();
    }
  }
}

function checkSize(file: DiskFile, volume: { name: string; sizeBytes: number }): void {
  const size = file.size();
  if (file.isDevice ? size >= volume.sizeBytes : size === volume.sizeBytes) return;
  throw new CascadeError(
    "wrong-volume",
    `what is to be scanned has ${size} bytes, the topology declares ${volume.sizeBytes}`,
    {
      where: { volume: volume.name, file: file.path },
      hint: "Correct `volumes.size` in the topology, or give the right file",
    },
  );
}
