import { assertEquals } from "@std/assert";
import {
  FILES_SEED,
  LONG_DEATHS_SEED,
  PARENTS_SEED,
  PAST_SEED,
  runFailoverSeed,
} from "./failover_world.ts";

/** With topology files of all ages. */
const FILE_SEEDS = [1, 2, 3, 109, 171, 367, 522].map((seed) => FILES_SEED + seed);

/** Seeds that have shown a fault once; what it was is said where the fault was mended. */
const SEEDS = [
  1,
  2,
  3,
  35,
  39,
  116,
  206,
  210,
  355,
  454,
  646,
  759,
  811,
  1006,
  5058,
  6043,
  6116,
  3021,
];

/** With marks, nodes that apply late, and promotions as of the past. */
const PAST_SEEDS = [1, 2, 4, 5, 7, 13, 15, 36, 37, 56, 103, 109].map((seed) => PAST_SEED + seed);

/** With nodes that choose among their parents. */
const PARENTS_SEEDS = [1, 2, 3, 12].map((seed) => PARENTS_SEED + seed);

/** With nodes that stay dead for long, and small logs: what deltas move is held against what changed. */
const LONG_DEATHS_SEEDS = [2, 8, 19].map((seed) => LONG_DEATHS_SEED + seed);

const ALL = [
  ...SEEDS,
  ...FILE_SEEDS,
  ...PAST_SEEDS,
  ...PARENTS_SEEDS,
  ...LONG_DEATHS_SEEDS,
];
for (const seed of ALL) {
  Deno.test(`promotions, returns and new parents keep every promise: seed ${seed}`, async () => {
    const { failure } = await runFailoverSeed(seed, null);
    assertEquals(failure, null, `deno task sim --failover --seed ${seed} tells all`);
  });
}
