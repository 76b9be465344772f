/**
 * Runs the simulator over many seeds.
 *
 *     deno task sim --seeds 500            seeds 1 to 500
 *     deno task sim --seeds 500 --from N   seeds N to N + 499
 *     deno task sim --seed N               one seed; --verbose prints all that happens
 *
 *     deno task sim --failover ...         the same with promotions, returns and new parents; from seed 1000001 on with
 *                                          topology files, from 2000001 on with promotions as of the past, from 3000001 on
 *                                          with nodes that choose their parents, from 4000001 on with nodes that stay
 *                                          dead for longer than logs last
 *     deno task sim --parents ...          the same with nodes that choose their parents, and no promotions
 *
 * Prints each seed that fails, why, and how to replay it. Exit code 1 if any did.
 *
 * @module
 */
// deno-lint-ignore-file no-console
import { parseArgs } from "node:util";
import { type FailoverResult, runFailoverSeed } from "./failover_world.ts";
import { runParentsSeed } from "./parents_world.ts";
import { type RunResult, runSeed } from "./harness.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "100" },
    from: { type: "string", default: "1" },
    seed: { type: "string" },
    failover: { type: "boolean", default: false },
    parents: { type: "boolean", default: false },
    verbose: { type: "boolean", default: false },
    /** Goes on after a failure. */
    all: { type: "boolean", default: false },
  },
});

function report(result: RunResult): void {
  const { seed, failure, tail, plan } = result;
  if (failure === null) return;
  console.error(`\nseed ${seed}: ${failure.kind} failure: ${failure.message}`);
  if (values.all) return;
  const links = plan.nodes.flatMap(({ config }) => config.downstream)
    .map((link) => `${link.name} ${link.mode} ${link.onDisconnect} ${link.timeoutMs}`);
  console.error(`links: ${links.join("; ")}`);
  console.error(tail.join("\n"));
}

/** What was met, by kind, and how often; then the plain figures. */
function summary(totals: Readonly<Record<string, number>>): string {
  const entries = Object.entries(totals);
  const line = (list: typeof entries) => list.map(([name, total]) => `${name} ${total}`).join(", ");
  const kindOf = (name: string) => /^(.+?): /.exec(name)?.[1] ?? "";
  const lines = [...new Set(entries.map(([name]) => kindOf(name)))].sort().map((kind) => {
    const list = entries.filter(([name]) => kindOf(name) === kind)
      .map((
        [name, total],
      ): [string, number] => [name.slice(kind === "" ? 0 : kind.length + 2), total]);
    return kind === "" ? line(list) : `${kind}: ${line(list.sort((a, b) => b[1] - a[1]))}`;
  });
  return lines.join("\n");
}

function runTree(seed: number): Promise<FailoverResult> {
  const print = values.verbose ? console.log : null;
  return values.parents ? runParentsSeed(seed, print) : runFailoverSeed(seed, print);
}

async function main(): Promise<number> {
  const one = values.seed === undefined ? null : Number(values.seed);
  const from = one ?? Number(values.from);
  const count = one === null ? Number(values.seeds) : 1;
  let failed = 0;
  const totals: Record<string, number> = {};
  const startMs = performance.now();
  for (let seed = from; seed < from + count; seed++) {
    const result = values.failover || values.parents
      ? await runTree(seed)
      : await runSeed(seed, values.verbose ? { print: console.log } : {});
    for (const [name, figure] of Object.entries(result.figures)) {
      totals[name] = (totals[name] ?? 0) + figure;
    }
    if (one !== null && "hash" in result) console.log(`seed ${seed}: hash ${result.hash}`);
    if (result.failure === null) continue;
    failed++;
    if ("plan" in result) report(result);
    else console.error(`\nseed ${seed}: ${result.failure}`);
    const kind = values.parents ? "--parents " : values.failover ? "--failover " : "";
    console.error(`replay: deno task sim ${kind}--seed ${seed} --verbose`);
    if (!values.all) break;
  }
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
  console.log(summary(totals));
  console.log(failed === 0 ? `${count} seeds passed in ${seconds} s` : `${failed} seeds failed`);
  return failed === 0 ? 0 : 1;
}

Deno.exit(await main());
