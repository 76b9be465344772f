/**
 * Opening the two sides of a seed: files, devices, NBD servers. Refuses a target that somebody uses.
 *
 * @module
 */
import { statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { CascadeError, isCascadeError } from "../core/errors.ts";
import { NbdClient } from "../core/nbd_client/nbd_client.ts";
import { isNbdUri, parseNbdUri } from "../core/nbd_client/uri.ts";
import type { Ports } from "../core/ports.ts";
import type { BlockSource, BlockTarget } from "../core/seed/blocks.ts";
import { FileBlocks } from "../core/seed/file_blocks.ts";
import { NbdBlocks } from "../core/seed/nbd_blocks.ts";
import { diskError } from "./disk_errors.ts";
import { readKernelFile } from "./libc.ts";
import { nbdTlsNetwork } from "./nbd_tls_client.ts";

/** An open side, and what tells it from any other. */
export interface SeedPlace<T extends BlockSource> {
  readonly blocks: T;
  readonly identity: string;
  /** A regular file's path; null for devices and NBD. */
  readonly file: string | null;
  /** It was made just now, or held nothing: there is nothing to look at before it is written. */
  readonly isNew: boolean;
  /** Gives a new target file its size. */
  prepare(): void;
}

/** To one export, and from this size on. */
const CONNECTIONS = 4;
const CONNECTIONS_BYTES_MIN = 64 * 1024 * 1024;

type World = Pick<Ports, "disk" | "network" | "clock">;

/** Opens a source. Throws `not-found`, `unreachable`, `usage` and what the handshake throws. */
export async function openSource(text: string, world: World): Promise<SeedPlace<BlockSource>> {
  if (isNbdUri(text)) {
    return nbdPlace(text, await connectAll(text, world));
  }
  const file = world.disk.open(text, { readOnly: true });
  return {
    blocks: new FileBlocks(file),
    identity: fileIdentity(text, true),
    file: file.isDevice ? null : resolve(text),
    isNew: false,
    prepare() {},
  };
}

/**
 * Opens a target of `sizeBytes`; a file that is not there is made with that size. Throws `locked` when
 * somebody uses it, `wrong-volume` when a cascade node owns it (unless `force`), `usage` when sizes differ.
 */
export async function openTarget(
  text: string,
  world: World,
  { sizeBytes, force }: { sizeBytes: number; force: boolean },
): Promise<SeedPlace<BlockTarget>> {
  const place = isNbdUri(text)
    ? await openNbdTarget(text, world)
    : openFileTarget(text, world, sizeBytes, force);
  if (place.blocks.sizeBytes === sizeBytes) return place;
  const found = place.blocks.sizeBytes;
  await place.blocks.close();
  throw new CascadeError(
    "usage",
    `the source has ${sizeBytes} bytes and the target ${found}: they must be equal`,
    {
      where: { target: text },
      hint: place.file === null
        ? "Give it the source's size, or choose another target."
        : `Remove the file, or give it that size: truncate -s ${sizeBytes} ${text}`,
    },
  );
}

async function openNbdTarget(text: string, world: World): Promise<SeedPlace<BlockTarget>> {
  const clients = await connectAll(text, world);
  if (!clients[0].export.readOnly) return nbdPlace(text, clients);
  await Promise.all(clients.map((client) => client.close()));
  throw new CascadeError("refused", "the export is read-only", {
    where: { target: text },
    hint: "Serve it for writing.",
  });
}

type Clients = readonly [NbdClient, ...NbdClient[]];

/** One connection, or more where that is honest: while one waits for the other side, another has work. */
async function connectAll(text: string, world: World): Promise<Clients> {
  const place = parseNbdUri(text);
  const nbdWorld = place.tls === null
    ? world
    : { ...world, network: nbdTlsNetwork(place.tls, world.network) };
  const first = await NbdClient.connect(nbdWorld, place);
  const { canMultiConn, sizeBytes } = first.export;
  if (!canMultiConn || sizeBytes < CONNECTIONS_BYTES_MIN) return [first];
  const rest = Array.from({ length: CONNECTIONS - 1 }, () => NbdClient.connect(nbdWorld, place));
  const others: NbdClient[] = [];
  for (const tried of await Promise.allSettled(rest)) {
    // A server may take no more: fewer do as well.
    if (tried.status === "fulfilled") others.push(tried.value);
  }
  return [first, ...others];
}

function nbdPlace(text: string, clients: Clients): SeedPlace<BlockTarget> {
  return {
    blocks: new NbdBlocks(text, clients),
    identity: `nbd ${text} ${clients[0].export.sizeBytes}`,
    file: null,
    isNew: false,
    prepare() {},
  };
}

function openFileTarget(
  path: string,
  world: World,
  sizeBytes: number,
  force: boolean,
): SeedPlace<BlockTarget> {
  const note = `${path}.cascade`;
  if (!force && world.disk.exists(note)) {
    throw new CascadeError("wrong-volume", "the target is the volume of a cascade node", {
      where: { target: path, note },
      hint: "Choose another target; --force overwrites it once its node has stopped.",
    });
  }
  if (path.startsWith("/dev/") && !world.disk.exists(path)) {
    throw new CascadeError("not-found", "there is no such device", { where: { target: path } });
  }
  refuseLocked(path);
  const file = world.disk.open(path, { create: true, lock: true });
  try {
    const isNew = !file.isDevice && file.size() === 0;
    return {
      blocks: isNew ? new FileBlocks(file, sizeBytes) : new FileBlocks(file),
      identity: fileIdentity(path, false),
      file: file.isDevice ? null : resolve(path),
      isNew,
      prepare: () => isNew ? file.truncate(sizeBytes) : undefined,
    };
  } catch (error) {
    file.close();
    throw error;
  }
}

/** What `flock` alone would not meet: QEMU and others lock in other ways. */
function refuseLocked(path: string): void {
  if (!isLocked(path)) return;
  throw new CascadeError("locked", "another program has locked the target", {
    where: { target: path },
    hint: "Stop the program that uses it (`lslocks` shows it).",
    retryable: true,
  });
}

/** Whether any process holds a lock of any kind on a file. */
export function isLocked(path: string): boolean {
  let table: string;
  let stats;
  try {
    stats = statSync(path);
    table = readKernelFile("/proc/locks");
  } catch (error) {
    // A table that is there and may not be read would say that a machine's disk is free.
    if (error instanceof Deno.errors.NotCapable) throw diskError(error, "look for locks", path);
    return false; // Not there, or no such table on this system: the lock that is taken still tells.
  }
  const major = (stats.dev >>> 8) & 0xfff;
  const minor = (stats.dev & 0xff) | ((stats.dev >>> 12) & 0xfff00);
  const hex = (number: number) => number.toString(16).padStart(2, "0");
  return table.includes(` ${hex(major)}:${hex(minor)}:${stats.ino} `);
}

/** Of a source also its size and time of change: a copy goes on only from the very same content. */
function fileIdentity(path: string, isSource: boolean): string {
  try {
    const stats = statSync(path, { bigint: true });
    if (stats.isBlockDevice()) return `device ${stats.rdev} ${resolve(path)}`;
    const content = isSource ? ` ${stats.size} ${stats.mtimeNs}` : "";
    return `file ${stats.dev}:${stats.ino}${content}`;
  } catch (error) {
    throw diskError(error, "look at the file", path);
  }
}

/** Refuses one and the same file, device or export on both sides. Throws `usage`. */
export function refuseSame(source: string, target: string): void {
  if (!isSame(source, target)) return;
  throw new CascadeError("usage", "source and target are the same", { where: { target } });
}

function isSame(source: string, target: string): boolean {
  if (isNbdUri(source) || isNbdUri(target)) return source === target;
  try {
    const [a, b] = [statSync(source), statSync(target)];
    if (a.isBlockDevice() && b.isBlockDevice()) return a.rdev === b.rdev;
    return a.dev === b.dev && a.ino === b.ino;
  } catch {
    return false; // One is not there: what opens it tells so.
  }
}

/** The folder of a path, for flushing a new name in it. */
export function folderOf(path: string): string {
  return dirname(resolve(path));
}

/** Changes with each start of the machine; where it cannot be told, nothing unflushed counts. */
export function bootId(): string {
  try {
    return readKernelFile("/proc/sys/kernel/random/boot_id").trim();
  } catch (error) {
    if (isCascadeError(error)) throw error;
    return crypto.randomUUID();
  }
}
