/**
 * Operators that verify links, and repair blocks that need none, at any moment of a run.
 *
 * @module
 */
import { BlockSet } from "../../core/delta/block_set.ts";
import { isCascadeError } from "../../core/errors.ts";
import type { DownstreamLink } from "../../core/link/downstream.ts";
import type { Prng } from "./prng.ts";
import type { SimHost } from "./sim_host.ts";
import { Violation, type World } from "./world.ts";

/** Between two verifications, on the average, in ms. */
const EVERY_MS = 1_500;

/** See the module's text. */
export class Verifying {
  readonly #world: World;
  readonly #prng: Prng;
  readonly #hosts: readonly SimHost[];
  /** Verifications that came to an end. */
  done = 0;
  /** Repairs that were begun. */
  repairs = 0;
  isOver = false;

  constructor(world: World, prng: Prng, hosts: readonly SimHost[]) {
    this.#world = world;
    this.#prng = prng;
    this.#hosts = hosts;
  }

  begin(): void {
    this.#world.scheduler.after(this.#prng.exponential(EVERY_MS), null, () => {
      if (this.isOver) return;
      this.#one(this.#prng.pick(this.#hosts));
      this.begin();
    });
  }

  #one({ node, name }: SimHost): void {
    if (node === null || node.hub.downstream.length === 0) return;
    // A node that keeps only the log has nothing to compare, and verifies nothing.
    if (node.pipeline.volumes.length === 0) return;
    const link = this.#prng.pick(node.hub.downstream);
    if (this.#prng.chance(0.3)) return this.#repair(link);
    node.verify.verify(link.config.name, false).then(({ differentBytes, differences }) => {
      this.done++;
      if (differentBytes === 0) return;
      const told = JSON.stringify(differences.slice(0, 3));
      const message =
        `${name} finds ${differentBytes} bytes of ${link.config.name} different: ${told}`;
      this.#world.fail("correctness", new Violation(message));
    }, (error) => {
      const expected = ["unreachable", "connection-lost", "usage", "locked"] as const;
      if (!expected.some((code) => isCascadeError(error, code))) {
        this.#world.fail("correctness", error, `${name} verifies ${link.config.name}: `);
      }
    });
  }

  #repair(link: DownstreamLink): void {
    const { sizes } = link.planner.ground;
    const blocks = new BlockSet(sizes);
    for (let i = this.#prng.between(1, 5); i > 0; i--) {
      const volume = this.#prng.below(sizes.length);
      blocks.add(volume, this.#prng.below(sizes[volume] ?? 1), 1);
    }
    this.repairs++;
    link.repair(blocks);
  }
}
