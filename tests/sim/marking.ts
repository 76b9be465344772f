/**
 * Marks at random, nodes with hooks at them, nodes that apply late: in some runs. Whenever a hook runs, and
 * until it ends, the volumes are the history's image at the mark, and nothing behind it.
 *
 * @module
 */
import { isCascadeError } from "../../core/errors.ts";
import type { Oracle } from "./oracle.ts";
import type { PlannedNode, Weather } from "./plan.ts";
import type { Prng } from "./prng.ts";
import type { SimHost } from "./sim_host.ts";
import { Violation, type World } from "./world.ts";

const EVERY_MS = 1_500;
/** The part of runs in which anything of this is met. */
const MARKED_RUNS = 0.4;

/** Gives some nodes a hook or a delay, in some runs; null: in this one nothing of it is met. */
export function withMarks(
  prng: Prng,
  nodes: readonly PlannedNode[],
  weather: Weather,
): PlannedNode[] | null {
  if (weather.isUniform || !prng.chance(MARKED_RUNS)) return null;
  // A clock of the primary that was ahead holds a delay up for as long: such runs would never rest.
  const isLate = !weather.faults.includes("clock-jump");
  return nodes.map((node) => {
    const { config } = node;
    const hasHook = prng.chance(0.6);
    const applyDelayMs = prng.chance(0.4) ? prng.pick([1_000, 3_000, 8_000]) : 0;
    if (config.volumes.some(({ path }) => path === null)) return node;
    const delay = isLate && config.upstream !== null ? applyDelayMs : 0;
    const onMark = hasHook ? ["mark"] : null;
    return { ...node, config: { ...config, applyDelayMs: delay, onMark } };
  });
}

/** See the module's text. */
export class Marking {
  readonly #world: World;
  readonly #prng: Prng;
  readonly #oracle: Oracle;
  #names = 0;
  /** Marks that were set, and hooks that ran. */
  set = 0;
  hooks = 0;
  isOver = false;

  constructor(world: World, prng: Prng, oracle: Oracle) {
    this.#world = world;
    this.#prng = prng;
    this.#oracle = oracle;
  }

  begin(primary: SimHost): void {
    this.#world.scheduler.after(this.#prng.exponential(EVERY_MS), null, () => {
      if (this.isOver) return;
      this.#mark(primary);
      this.begin(primary);
    });
  }

  #mark({ node }: SimHost): void {
    if (node === null || node.phase !== "running") return;
    node.marks.set(`m${++this.#names}`).then(() => this.set++, (error) => {
      // A primary that is full, or goes down meanwhile, takes none.
      const expected = ["refused", "stopping", "log-full", "disk-full", "disk-failed"] as const;
      if (expected.some((code) => isCascadeError(error, code)) || node.phase !== "running") return;
      this.#world.fail("correctness", error, "a mark is set: ");
    });
  }

  /** A hook begins, or is about to end. */
  onHook(host: SimHost, env: Readonly<Record<string, string>>): void {
    const pipeline = host.node?.pipeline;
    if (pipeline === undefined) return;
    this.hooks++;
    const { appliedLsn, checkpointedLsn } = pipeline;
    // What takes blocks in place asks nobody.
    if (host.node?.status().consistent === false) return;
    if (env.CASCADE_LSN !== String(appliedLsn) || checkpointedLsn !== appliedLsn) {
      const message =
        `${host.name} runs its hook for ${env.CASCADE_MARK} at LSN ${env.CASCADE_LSN} with ` +
        `its volumes at ${appliedLsn}, flushed up to ${checkpointedLsn}`;
      this.#world.fail("correctness", new Violation(message));
    }
    this.#oracle.check(host);
  }
}
