/**
 * Loading a seed file into a blank node.
 *
 *  1. What the file and the node's folder say of themselves is held against each other: nothing is
 *     written before all of that fits, and every record of the file was checked.
 *  2. The node is started without links and exports, which takes its lock.
 *  3. The records go into the volumes in place. The state file says before the first of them that the
 *     node is being filled, and with which delta; how far it is follows. A load that was cut off goes on.
 *  4. The end of the delta makes the node one that stands at the seed's LSN.
 *
 * @module
 */
import type { NodeConfig } from "./config.ts";
import { type SeedFile, seedProof } from "./delta/seed_file.ts";
import { CascadeError } from "./errors.ts";
import { RECORD_BYTES_MAX } from "./limits.ts";
import { CascadeNode } from "./node.ts";
import type { Ports } from "./ports.ts";
import { type NodeState, StateFile } from "./state.ts";
import { BLANK } from "./volume/base.ts";

/** Taken in one go: a signal is seen in between. */
const TAKE_BYTES = 2 * RECORD_BYTES_MAX;

/** What a node's folder makes of a seed. */
export type LoadPlace =
  /** Nothing was replicated to the node yet. */
  | "blank"
  /** This very seed was begun. */
  | "begun"
  /** This very seed was loaded. */
  | "loaded";

/** How a load ended. */
export interface LoadEnd {
  readonly done: boolean;
  /** Where it went on, in bytes of the body. */
  readonly resumedAt: number;
}

/** What a load tells and is told. */
export interface LoadOptions {
  readonly stopped: () => boolean;
  /** Bytes of the body that are in the volumes. */
  readonly onDone: (bytes: number) => void;
}

/**
 * Whether the seed fits the node, by its configuration and its state file. Throws `usage` when it is for
 * others, `refused` when the node is not blank, what a state file throws.
 */
export function placeOf(config: NodeConfig, { delta, note }: SeedFile, ports: Ports): LoadPlace {
  const { header, trailer } = delta;
  const wrong = (found: string, hint: string) =>
    new CascadeError("usage", found, { where: { file: delta.path }, hint });
  if (header.cluster !== config.cluster) {
    throw wrong(
      `the seed is of the cascade ${header.cluster}, ${config.name} is of ${config.cluster}`,
      "Use the topology that the seed was made with.",
    );
  }
  if (note.proof !== seedProof(config.secret, header.id)) {
    throw wrong(
      `the seed was made with another secret than that of ${config.name}`,
      "Use the topology and the secret that the seed was made with.",
    );
  }
  if (config.role === "primary" || note.node === config.name) {
    const why = config.role === "primary" ? "is the primary" : "made this seed itself";
    throw wrong(`${config.name} ${why}: it takes no seed`, "Name a node below.");
  }
  if (config.volumes.some(({ path }) => path === null)) {
    throw wrong(
      `${config.name} keeps no volumes, it is a log-only node`,
      "It needs no seed: it begins with the log.",
    );
  }
  const describe = (volumes: readonly { name: string; sizeBytes: number }[]) =>
    volumes.map(({ name, sizeBytes }) => `${name} of ${sizeBytes} bytes`).join(", ");
  if (describe(header.volumes) !== describe(config.volumes)) {
    throw wrong(
      `the seed holds the volumes ${describe(header.volumes)}; the topology declares ${
        describe(config.volumes)
      }`,
      "Use the topology that the seed was made with.",
    );
  }
  const state = new StateFile(ports.disk, config.dir).load();
  if (state === null) return "blank";
  if (state.cluster !== config.cluster || state.node !== config.name) return "blank";
  return placeIn(state, config, header.id, trailer.toLsn, trailer.history.at(-1)?.id ?? null);
}

function placeIn(
  state: NodeState,
  config: NodeConfig,
  id: string,
  toLsn: number,
  lastEpoch: string | null,
): LoadPlace {
  if (state.inPlace !== null) {
    if (state.inPlace.header.id === id) return "begun";
    throw notBlank(config, "holds a part of another first copy");
  }
  const isThere = state.checkpointLsn === toLsn && state.history.at(-1)?.id === lastEpoch;
  if (isThere) return "loaded";
  const isBlank = state.checkpointLsn === 0 && state.history.length === 0 &&
    Object.values(state.base ?? {}).every((print) => print === BLANK);
  if (isBlank) return "blank";
  throw notBlank(config, `has an image already, as of LSN ${state.checkpointLsn}`);
}

/** Of a node whose volumes a seed must not touch. */
export function notBlank(config: NodeConfig, found: string): CascadeError {
  const paths = config.volumes.flatMap(({ path }) => path === null ? [] : [path]);
  return new CascadeError("refused", `${config.name} is not blank: it ${found}`, {
    hint: `--force discards what ${[config.dir, ...paths].join(" and ")} hold.`,
  });
}

/** Loads it. Throws `refused`, `locked`, and what a start or the disk throws. */
export async function loadSeed(
  config: NodeConfig,
  seed: SeedFile,
  ports: Ports,
  options: LoadOptions,
): Promise<LoadEnd> {
  // By itself: nothing may come from above, and nobody below is served, while it is being filled.
  const alone = { ...config, upstream: null, downstream: [], listen: [], nbd: [] };
  const node = await CascadeNode.start(alone, ports);
  try {
    const end = await load(node, seed, options);
    await node.stop();
    return end;
  } catch (error) {
    if (node.phase !== "failed") await node.stop();
    throw error;
  }
}

async function load(
  node: CascadeNode,
  { delta, note }: SeedFile,
  { stopped, onDone }: LoadOptions,
): Promise<LoadEnd> {
  await node.ready;
  const { deltas: { taker, isFresh }, pipeline } = node;
  const { header, trailer } = delta;
  const whole = { done: true, resumedAt: delta.bodyBytes };
  // The end had been taken, and only the log had to follow: the start has seen to that.
  if (pipeline.stableLsn === trailer.toLsn) return whole;
  if (!isFresh) throw notBlank(node.config, "holds data");
  const resumedAt = taker.staged?.header.id === header.id ? taker.staged.position : 0;
  await taker.begin(header, resumedAt, delta.bodyBytes, note.base);
  const buffer = new Uint8Array(TAKE_BYTES);
  for (let at = resumedAt; at < delta.bodyBytes;) {
    if (stopped()) {
      await taker.makeDurable();
      return { done: false, resumedAt };
    }
    const bytes = delta.read(at, buffer);
    await taker.take(at, buffer.subarray(0, bytes));
    at += bytes;
    onDone(at);
    await new Promise<void>((go) => node.ports.clock.soon(go));
  }
  await taker.end(trailer);
  return { done: true, resumedAt };
}
