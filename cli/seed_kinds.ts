/**
 * `cascade seed` is three commands in one; each is loaded when it is meant.
 *
 * @module
 */
import { isPlainCopy } from "./seed_look.ts";
import type { SeedRequest } from "./seed_run.ts";
import type { SeedPlan } from "./seed_sides.ts";

/** Runs it. Throws an `ExitWith` or what failed. */
export async function runSeed(request: SeedRequest): Promise<void> {
  const plan = await planOf(request);
  switch (plan.kind) {
    case "copy":
      return await (await import("./seed_run.ts")).copySeed(request);
    case "save":
      return await (await import("./seed_save.ts")).saveSeed(request, plan.node);
    case "load":
      return await (await import("./seed_load.ts")).loadSeedFile(request, plan.node);
  }
}

async function planOf(request: SeedRequest): Promise<SeedPlan> {
  if (isPlainCopy(request)) return { kind: "copy" };
  const { planSeed } = await import("./seed_sides.ts");
  return planSeed(request);
}
