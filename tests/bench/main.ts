/**
 * The benchmark: Cascade side by side with servers that keep no log, in one run.
 *
 *     deno task bench [--quick] [--rows a,b] [--fill 1MiB|4KiB] [--json FILE] [--strict]
 *
 * @module
 */
import { cpus, totalmem } from "node:os";
import { parseArgs } from "node:util";
import { cleanUpOnSignal, missing, withCleanup } from "../e2e/support/e2e.ts";
import type { Cleanup } from "../e2e/support/e2e.ts";
import { run } from "../e2e/support/programs.ts";
import { measure, type Pace, ROWS } from "./compared_rows.ts";
import {
  type FillBytes,
  startCascade,
  startCeiling,
  startNbdkit,
  startQemuNbd,
  startQuorum,
} from "./contenders.ts";
import { OWN_ROWS } from "./own_rows.ts";
import { type BenchDocument, draw } from "./report.ts";

const HELP = `deno task bench [--quick] [--rows a,b] [--fill 1MiB|4KiB] [--json FILE] [--strict]

  --quick      one short round of each row: a look, not a measurement
  --rows a,b   these rows alone: ${
  [...ROWS.map((row) => row.id), ...Object.keys(OWN_ROWS)].join(", ")
}
  --fill SIZE  in writes of which size the compared rows' images are filled before: 1MiB unless given, or 4KiB
  --json FILE  the document with every round, beside the tables
  --strict     exit code 1 when a row is below what is required
`;
const GIB = 1024 ** 3;
const FILLS: Readonly<Record<string, FillBytes>> = { "1MiB": 1048576, "4KiB": 4096 };
const NEEDS = ["fio", "nbdkit", "qemu-nbd"];
/** More than a peer can lag behind one run, and less than all runs together write. */
const BUDGET = "3GiB";

const say = (line: string) => void Deno.stdout.writeSync(new TextEncoder().encode(line + "\n"));
const tell = (line: string) => void Deno.stderr.writeSync(new TextEncoder().encode(line + "\n"));

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      quick: { type: "boolean", default: false },
      rows: { type: "string" },
      fill: { type: "string", default: "1MiB" },
      json: { type: "string" },
      strict: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    say(HELP);
    return 0;
  }
  const lacking = missing(NEEDS);
  if (lacking !== null) {
    tell(`${lacking} is missing`);
    return 1;
  }
  const wanted = values.rows?.split(",") ??
    [...ROWS.map((row) => row.id), ...Object.keys(OWN_ROWS)];
  const unknown = wanted.find((id) => !(id in OWN_ROWS) && !ROWS.some((row) => row.id === id));
  if (unknown !== undefined) {
    tell(`no row is called ${unknown}\n\n${HELP}`);
    return 2;
  }
  const fillBytes = FILLS[values.fill];
  if (fillBytes === undefined) {
    tell(`--fill takes 1MiB or 4KiB, not ${values.fill}\n\n${HELP}`);
    return 2;
  }
  const pace: Pace = values.quick
    ? { rounds: 1, seconds: 2, sizeBytes: GIB / 4, fillBytes }
    : { rounds: 3, seconds: 5, sizeBytes: GIB, fillBytes };
  const document = await describe(pace);
  await withCleanup((cleanup) => compare(cleanup, wanted, pace, document));
  for (const id of wanted.filter((id) => id in OWN_ROWS)) {
    tell(id);
    await withCleanup(async (cleanup) => {
      document.own.push(...await OWN_ROWS[id]!(cleanup, values.quick ? GIB / 2 : 2 * GIB));
    });
  }
  say(draw(document));
  if (values.json !== undefined) {
    Deno.writeTextFileSync(values.json, JSON.stringify(document, null, 2) + "\n");
  }
  return values.strict && document.compared.some((row) => !row.pass) ? 1 : 0;
}

/** Starts the contenders of the rows that are wanted, and measures those rows. */
async function compare(
  cleanup: Cleanup,
  wanted: readonly string[],
  pace: Pace,
  document: BenchDocument,
): Promise<void> {
  const plans = ROWS.filter((row) => wanted.includes(row.id));
  const sets = {
    async: async () => [
      await startCascade(cleanup, "cascade", "async", pace, BUDGET),
      await startNbdkit(cleanup, pace),
      await startQemuNbd(cleanup, pace),
      await startCeiling(cleanup, pace),
    ],
    sync: async () => [
      await startCascade(cleanup, "cascade-sync", "sync", pace, BUDGET),
      await startQuorum(cleanup, pace),
    ],
  };
  for (const peer of ["async", "sync"] as const) {
    const own = plans.filter((plan) => plan.peer === peer);
    if (own.length === 0) continue;
    const contenders = await sets[peer]();
    await run("sync", []);
    for (const plan of own) {
      document.compared.push(await measure(plan, contenders, pace, tell));
    }
  }
}

async function describe(pace: Pace): Promise<BenchDocument> {
  const first = async (program: string) =>
    (await run(program, ["--version"])).stdout.split("\n")[0]!.trim();
  const versions: Record<string, string> = { deno: Deno.version.deno };
  for (const program of NEEDS) versions[program] = await first(program);
  return {
    startedAt: new Date().toISOString(),
    machine: { cpus: cpus().length, model: cpus()[0]?.model ?? "", memoryBytes: totalmem() },
    versions,
    settings: {
      rounds: pace.rounds,
      seconds: pace.seconds,
      volume: pace.sizeBytes,
      fill: pace.fillBytes,
    },
    compared: [],
    own: [],
  };
}

if (import.meta.main) {
  cleanUpOnSignal();
  Deno.exit(await main());
}
