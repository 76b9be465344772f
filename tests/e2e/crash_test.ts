import { Cluster, type LinkSpec } from "./support/cluster.ts";
import { e2e } from "./support/e2e.ts";
import { killUnderLoad } from "./support/kills.ts";

const MIB = 1024 * 1024;

const CASCADES: Record<string, readonly LinkSpec[]> = {
  "with async links": [
    { from: "hq", to: "metro", mode: "async" },
    { from: "metro", to: "dr1", mode: "async" },
    { from: "metro", to: "dr2", mode: "async" },
  ],
  "with a sync link": [
    { from: "hq", to: "metro", mode: "sync", onDisconnect: "degrade", timeout: "500ms" },
    { from: "metro", to: "dr1", mode: "async" },
    { from: "metro", to: "dr2", mode: "async" },
  ],
};

for (const [how, links] of Object.entries(CASCADES)) {
  e2e(`nodes killed at any moment lose nothing, ${how}`, [], async (cleanup) => {
    const cluster = Cluster.create(cleanup, {
      volumes: { data: "32MiB" },
      nodes: ["hq", "metro", "dr1", "dr2"],
      links,
      budget: "1GiB",
    });
    const seed = crypto.getRandomValues(new Uint32Array(1))[0]!;
    cleanup.onFailure(() => {
      // deno-lint-ignore no-console -- the seed of a failed run
      console.error(`the moments of the kills came from seed ${seed}`);
    });
    await killUnderLoad(cluster, { kills: 8, seed, sizeBytes: 32 * MIB });
  });
}
