/**
 * The rows that compare: the same fio job on every contender, in turns, several rounds.
 *
 * @module
 */
import { fio } from "../e2e/support/clients.ts";
import { memoryOf, resetPeak, run } from "../e2e/support/programs.ts";
import { CEILING, type Contender, type Disk } from "./contenders.ts";
import { type ComparedRow, type Figure, median, type Peaks } from "./report.ts";

/** One row, before it is measured. */
export interface RowPlan {
  readonly id: string;
  readonly title: string;
  readonly options: Readonly<Record<string, string | number>>;
  readonly unit: "IOPS" | "MB/s";
  readonly factor: number;
  /** A contender's name, or `better` for the best of the others. */
  readonly against: string;
  /** Which set of contenders it is for. */
  readonly peer: "async" | "sync";
}

/** What Cascade has to reach, with its log on and a peer following. */
export const ROWS: readonly RowPlan[] = [
  {
    id: "randwrite-16",
    title: "4 KiB random write, depth 16",
    options: { rw: "randwrite", bs: "4k", iodepth: 16 },
    unit: "IOPS",
    factor: 1.5,
    against: "better",
    peer: "async",
  },
  {
    id: "randwrite-1",
    title: "4 KiB random write, depth 1",
    options: { rw: "randwrite", bs: "4k", iodepth: 1 },
    unit: "IOPS",
    factor: 0.8,
    against: "qemu-nbd",
    peer: "async",
  },
  {
    id: "randread-16",
    title: "4 KiB random read, depth 16",
    options: { rw: "randread", bs: "4k", iodepth: 16 },
    unit: "IOPS",
    factor: 3,
    against: "better",
    peer: "async",
  },
  {
    id: "randwrite-flush",
    title: "4 KiB random write, flush after each",
    options: { rw: "randwrite", bs: "4k", iodepth: 1, fsync: 1 },
    unit: "IOPS",
    factor: 0.9,
    against: "better",
    peer: "async",
  },
  {
    id: "write-1m",
    title: "1 MiB write, depth 4",
    options: { rw: "write", bs: "1m", iodepth: 4 },
    unit: "MB/s",
    factor: 0.4,
    against: "better",
    peer: "async",
  },
  {
    id: "randwrite-sync",
    title: "4 KiB random write, depth 16, sync peer",
    options: { rw: "randwrite", bs: "4k", iodepth: 16 },
    unit: "IOPS",
    factor: 3,
    against: "qemu-quorum",
    peer: "sync",
  },
];

/** How often and how long, over which volume. */
export interface Pace extends Disk {
  readonly rounds: number;
  readonly seconds: number;
}

/** Measures one row: each round gives every contender its turn, another one first each time. */
export async function measure(
  plan: RowPlan,
  contenders: readonly Contender[],
  pace: Pace,
  tell: (line: string) => void,
): Promise<ComparedRow> {
  const runs = new Map(contenders.map((contender) => [contender.name, [] as number[]]));
  for (const contender of contenders) Object.values(contender.pids()).forEach(resetPeak);
  for (let round = 0; round < pace.rounds; round++) {
    for (let i = 0; i < contenders.length; i++) {
      const contender = contenders[(i + round) % contenders.length]!;
      const value = await once(plan, contender, pace);
      runs.get(contender.name)!.push(value);
      tell(`${plan.id} round ${round + 1} ${contender.name} ${Math.round(value)} ${plan.unit}`);
    }
  }
  const figures = Object.fromEntries(contenders.map((contender): [string, Figure] => {
    const own = runs.get(contender.name)!;
    return [contender.name, { median: median(own), runs: own, peaks: peaksOf(contender.pids()) }];
  }));
  return judge(plan, figures);
}

async function once(plan: RowPlan, contender: Contender, pace: Pace): Promise<number> {
  // Reads are of the page cache, which forgets what others' turns took too long for.
  if (plan.options.rw === "randread") {
    await fio(contender.uri, { rw: "read", bs: "1m", iodepth: 4, size: pace.sizeBytes });
  }
  const result = await fio(contender.uri, {
    ...plan.options,
    size: pace.sizeBytes,
    time_based: 1,
    runtime: pace.seconds,
    norandommap: 1,
    randrepeat: 0,
  });
  await contender.settle();
  // What one contender left to be written back must not slow the next.
  await run("sync", []);
  return plan.unit === "IOPS" ? result.iops : result.bytesPerSecond / 1e6;
}

function judge(plan: RowPlan, figures: Readonly<Record<string, Figure>>): ComparedRow {
  const others = Object.entries(figures).filter(([name]) =>
    !name.startsWith("cascade") && name !== CEILING
  );
  const own = Object.entries(figures).find(([name]) => name.startsWith("cascade"))![1];
  const bar = plan.against === "better"
    ? Math.max(...others.map(([, figure]) => figure.median))
    : figures[plan.against]!.median;
  const factor = own.median / bar;
  return {
    id: plan.id,
    title: plan.title,
    unit: plan.unit,
    figures,
    required: { factor: plan.factor, against: plan.against },
    factor,
    pass: factor >= plan.factor,
  };
}

/** The peak memory of each process since it was reset. */
export function peaksOf(pids: Readonly<Record<string, number>>): Peaks {
  return Object.fromEntries(
    Object.entries(pids).map(([name, pid]) => [name, memoryOf(pid).peakBytes]),
  );
}
