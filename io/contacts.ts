/**
 * Whom to ask: what was taken of a topology, remembered from one command to the next.
 *
 * To read and check a topology takes several times as long as to ask a node that runs. A command that has done so
 * leaves the addresses of the nodes and the names of the links in `cascade/` of the user's cache folder, and the
 * next one asks at once, if the file holds the very same text. Nothing depends on it: whatever is not as it was
 * left, in the memory or in the file, and a command goes the whole way.
 *
 * An address and the place of a token must come from nobody else: a memory counts only if its file is closed to
 * others, and belongs to whom the topology itself belongs.
 *
 * @module
 */
import type { SecretSource, Topology } from "../core/topology/topology.ts";
import { build, versionText } from "../core/version.ts";

/** A node that can be asked. */
export interface NodeContact {
  readonly name: string;
  readonly admin: string | null;
  readonly adminToken: SecretSource | null;
}

/** As much of a topology as it takes to ask. */
export interface Contacts {
  readonly nodes: readonly NodeContact[];
  readonly links: readonly { readonly name: string; readonly from: string }[];
}

/** What a file of the memory holds. */
interface Memory {
  /** The program that checked the text: another one may find fault with it. */
  readonly program: string;
  /** Of the topology file, absolute. */
  readonly path: string;
  readonly text: string;
  readonly contacts: Contacts;
}

/** Where the memory is, and who remembers. */
export interface Remembering {
  /** The cache folder, absolute; null: there is none, and nothing is remembered. */
  readonly folder: string | null;
  /** Null: a program of which nobody knows what it was made from. It remembers nothing. */
  readonly program: string | null;
}

/** Of this process. */
export function ownMemory(): Remembering {
  const home = Deno.env.get("HOME") ?? "";
  const cache = Deno.env.get("XDG_CACHE_HOME") || (home === "" ? "" : `${home}/.cache`);
  const { commit } = build();
  const isKnown = commit !== null && commit !== "unknown" && !commit.endsWith("-dirty");
  return {
    folder: cache.startsWith("/") ? `${cache}/cascade` : null,
    program: isKnown ? versionText() : null,
  };
}

/** What is remembered of the topology file at `path`, absolute; null: nothing that holds. Never throws. */
export function recall(path: string, memory: Remembering): Contacts | null {
  if (memory.folder === null || memory.program === null) return null;
  try {
    const file = fileOf(memory.folder, path);
    const [own, of] = [Deno.statSync(file), Deno.statSync(path)];
    if (!own.isFile || own.uid !== of.uid || ((own.mode ?? OTHERS) & OTHERS) !== 0) return null;
    const kept: Memory = JSON.parse(Deno.readTextFileSync(file));
    if (kept.program !== memory.program || kept.path !== path) return null;
    return kept.text === readText(path) ? kept.contacts : null;
  } catch {
    return null; // Nothing there, or nothing that can be read: the whole way is open.
  }
}

/** Remembers a topology that was read from `path` and checked. Never throws: it is no condition of anything. */
export function remember(
  path: string,
  text: string,
  topology: Topology,
  memory: Remembering,
): void {
  const { folder, program } = memory;
  if (folder === null || program === null) return;
  const contacts: Contacts = {
    nodes: topology.nodes.map(({ name, admin, adminToken }) => ({ name, admin, adminToken })),
    links: topology.links.map(({ name, from }) => ({ name, from })),
  };
  const kept: Memory = { program, path, text, contacts };
  try {
    Deno.mkdirSync(folder, { recursive: true, mode: 0o700 });
    const file = fileOf(folder, path);
    const draft = `${file}.${crypto.randomUUID()}`;
    Deno.writeTextFileSync(draft, JSON.stringify(kept), { mode: 0o600, createNew: true });
    Deno.renameSync(draft, file);
  } catch {
    return; // A folder that cannot be written, a full disk: the next command reads the topology again.
  }
}

/** Bits of a mode that are for others than the owner. */
const OTHERS = 0o077;

function readText(path: string): string {
  return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Deno.readFileSync(path));
}

/** A file for each path; two that share one forget each other, and no more. */
function fileOf(folder: string, path: string): string {
  let hash = 0xcbf29ce484222325n;
  for (const byte of new TextEncoder().encode(path)) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  }
  return `${folder}/contacts-${hash.toString(16).padStart(16, "0")}.json`;
}
