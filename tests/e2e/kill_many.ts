/**
 * Kills nodes of a real cascade under load, many times:
 *
 *     deno run -A tests/e2e/kill_many.ts --kills 100 [--seed N] [--mode async|sync] [--budget 1GiB]
 *
 * @module
 */
import { parseArgs } from "node:util";
import { Cluster } from "./support/cluster.ts";
import { cleanUpOnSignal, withCleanup } from "./support/e2e.ts";
import { killUnderLoad } from "./support/kills.ts";

const MIB = 1024 * 1024;

if (import.meta.main) {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      kills: { type: "string", default: "100" },
      seed: { type: "string", default: String(crypto.getRandomValues(new Uint32Array(1))[0]) },
      mode: { type: "string", default: "sync" },
      budget: { type: "string", default: "1GiB" },
    },
  });
  const say = (line: string) => Deno.stdout.writeSync(new TextEncoder().encode(line + "\n"));
  say(`seed ${values.seed}`);
  cleanUpOnSignal();
  await withCleanup(async (cleanup) => {
    const cluster = Cluster.create(cleanup, {
      volumes: { data: "32MiB" },
      nodes: ["hq", "metro", "dr1", "dr2"],
      links: [
        values.mode === "sync"
          ? { from: "hq", to: "metro", mode: "sync", onDisconnect: "degrade", timeout: "500ms" }
          : { from: "hq", to: "metro", mode: "async" },
        { from: "metro", to: "dr1", mode: "async" },
        { from: "metro", to: "dr2", mode: "async", dial: "from" },
      ],
      budget: values.budget,
    });
    const begun = performance.now();
    const counts = await killUnderLoad(cluster, {
      kills: Number(values.kills),
      seed: Number(values.seed),
      sizeBytes: 32 * MIB,
      onKill: say,
    });
    const seconds = ((performance.now() - begun) / 1000).toFixed(1);
    say(`${values.kills} kills in ${seconds} s, all images equal, nothing lost`);
    say(JSON.stringify(counts));
  });
}
