/**
 * The state file of a node, `DIR/state.json`: who the folder belongs to, the last checkpoint, the
 * epoch history. Written whole to a second file, flushed, renamed over the first, folder flushed:
 * after any crash one of the two versions is there in full.
 *
 *     line 1   {"format":1, ...}            the state, one line of JSON
 *     line 2   crc32 of line 1, 8 hexadecimal digits
 *
 * @module
 */
import { crc32 } from "node:zlib";
import * as z from "zod";
import { inPlaceSchema } from "./delta/in_place.ts";
import { CascadeError } from "./errors.ts";
import { takenSchema } from "./link/descendants.ts";
import { limitSchema } from "./link/by_hand.ts";
import { pauseSchema } from "./link/pauses.ts";
import type { Disk } from "./ports.ts";
import { markSchema } from "./marks/apply_status.ts";
import { rejoinSchema } from "./rejoin_schema.ts";
import { viewSchema } from "./tree/view.ts";
import { scanLastSchema, verifiedSchema } from "./status.ts";

/** Version of the folder's layout and of this file. */
export const STATE_FORMAT = 1;
const STATE_BYTES_MAX = 1024 * 1024;

const count = z.number().int().nonnegative();

/** A parent that a node has chosen by itself. */
const movedSchema = z.object({ to: z.string(), reason: z.string(), atMs: z.number() });
export type Moved = z.infer<typeof movedSchema>;

const stateSchema = z.object({
  format: z.literal(STATE_FORMAT),
  cluster: z.string(),
  node: z.string(),
  /** Whether this node reigned or followed when it last ran. */
  reigned: z.boolean(),
  volumes: z.array(z.object({
    name: z.string(),
    sizeBytes: count,
    path: z.string().nullable(),
  })),
  /** Fingerprints of the volumes at LSN 0, by volume name; null on a log-only node that has none yet. */
  base: z.record(z.string(), z.string()).nullable(),
  /** The volumes hold everything below this LSN, on stable storage. */
  checkpointLsn: count,
  /** The reigns that began below the end of the log when this was written. */
  history: z.array(z.object({
    number: count,
    id: z.string().regex(/^[0-9a-f]{32}$/),
    firstLsn: count,
    node: z.string(),
  })),
  /** A delta that is being taken in place: the volumes are no image that existed. */
  inPlace: inPlaceSchema.nullable().default(null),
  /** What the ids of deltas that are made in this folder begin with; none in a folder of an old version. */
  deltaSeries: z.string().regex(/^[0-9a-f]{16}$/).optional(),
  /** Links that an operator has paused at this node. */
  paused: z.array(pauseSchema).default([]),
  /** Links to nodes below that an operator has limited. */
  limited: z.array(limitSchema).default([]),
  /** When the last run of each periodic link that sent something began: ms since 1970. */
  runs: z.array(z.object({ link: z.string(), startedAtMs: z.number() })).default([]),
  /** Scans of volumes that others write; null: clients write them through this node. */
  scan: z.object({
    isOpen: z.boolean(),
    last: scanLastSchema.nullable(),
  }).nullable().default(null),
  /** How links were verified last. */
  verified: z.array(verifiedSchema.extend({ link: z.string() })).default([]),
  /** With `applyDelay`: nothing behind this LSN was applied yet, for sure. */
  applyReachLsn: count.nullable().optional(),
  /** With `onMark`: the end of the last mark whose hook is over; nothing behind the next was applied. */
  marksDoneLsn: count.nullable().optional(),
  /** The mark whose hook runs: the log may let go of it meanwhile. */
  markFrozen: markSchema.nullable().optional(),
  /** Another node was given something, so that it may be promoted. */
  fed: z.boolean().default(true),
  /** Who reigns and who feeds whom, where that is not as the topology file says. */
  view: viewSchema.nullable().default(null),
  /** The last parent that this node has chosen by itself, why and when. */
  moved: movedSchema.nullable().optional(),
  /** What this node had beyond a fork goes: see core/rejoin.ts. */
  rejoin: rejoinSchema.nullable().default(null),
  /** The node was promoted as of this LSN: what its log has beyond goes at the next start, and was kept. */
  cutLsn: count.nullable().default(null),
  /** The folder that deltas beyond it are moved to; null: there are none. */
  cutKept: z.string().nullable().default(null),
  /** What the nodes below, and above, had when this was written. */
  taken: z.array(takenSchema).default([]),
  /** The node was stopped in order: everything it had appended was durable and applied. */
  clean: z.boolean(),
});

/** What the state file holds. */
export type NodeState = z.infer<typeof stateSchema>;

/** Reads and replaces the state file of one folder. */
export class StateFile {
  readonly #disk: Disk;
  readonly #folder: string;
  readonly #path: string;
  #isClosed = false;
  #saving: Promise<void> = Promise.resolve();

  constructor(disk: Disk, folder: string) {
    this.#disk = disk;
    this.#folder = folder;
    this.#path = `${folder}/state.json`;
  }

  get path(): string {
    return this.#path;
  }

  /** The state, or null when there is none yet. Throws `state-corrupt`, `wrong-folder`. */
  load(): NodeState | null {
    if (!this.#disk.exists(this.#path)) return null;
    const file = this.#disk.open(this.#path, { readOnly: true });
    try {
      const size = file.size();
      if (size > STATE_BYTES_MAX) throw this.#corrupt(`it has ${size} bytes`);
      const bytes = new Uint8Array(size);
      file.readAt(bytes, 0);
      return this.#parse(new TextDecoder().decode(bytes));
    } finally {
      file.close();
    }
  }

  #parse(text: string): NodeState {
    const [line = "", sum = ""] = text.split("\n");
    if (checksum(line) !== sum) throw this.#corrupt("its checksum does not fit");
    const value: unknown = JSON.parse(line);
    const format = z.object({ format: z.number() }).safeParse(value);
    if (format.success && format.data.format !== STATE_FORMAT) {
      throw new CascadeError(
        "wrong-folder",
        `the folder has format ${format.data.format}, this version reads format ${STATE_FORMAT}`,
        { where: { file: this.#path }, hint: "Run the version of cascade that wrote it" },
      );
    }
    const parsed = stateSchema.safeParse(value);
    if (!parsed.success) throw this.#corrupt(z.prettifyError(parsed.error));
    return parsed.data;
  }

  #corrupt(found: string): CascadeError {
    return new CascadeError("state-corrupt", `the state file is damaged: ${found}`, {
      where: { file: this.#path },
      hint:
        "Look after the disk; then restore the node's folder, or remove it and its volumes and " +
        "let the node be filled anew",
    });
  }

  /** Replaces the state, durably. Saves are done one after the other. */
  save(state: NodeState): Promise<void> {
    // As after a crash: nothing follows from it any more.
    if (this.#isClosed) return new Promise(() => {});
    const text = JSON.stringify(state);
    const bytes = new TextEncoder().encode(`${text}\n${checksum(text)}\n`);
    const next = this.#saving.then(() => this.#replace(bytes));
    // A failed save must not fail the next one's caller; this one's caller is told.
    this.#saving = next.catch(() => {});
    return next;
  }

  /** Settles when nothing is being saved; what is asked for later is not done, and never settles. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#saving;
  }

  async #replace(bytes: Uint8Array): Promise<void> {
    const temporary = `${this.#path}.new`;
    const file = this.#disk.open(temporary, { create: true });
    try {
      file.truncate(0);
      file.writeAt(bytes, 0);
      await file.flush();
    } finally {
      file.close();
    }
    this.#disk.rename(temporary, this.#path);
    await this.#disk.flushFolder(this.#folder);
  }
}

function checksum(line: string): string {
  return crc32(line).toString(16).padStart(8, "0");
}
