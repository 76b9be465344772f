/**
 * What every story needs: a cascade that is gone at the end, however it ends, and eyes on it.
 *
 * @module
 */
import { delay } from "@std/async/delay";
import type { NodeStatus } from "../../core/status.ts";
import type { Report } from "../report.ts";
import { type Cast, DemoCluster } from "./cluster.ts";
import { Hops } from "./hops.ts";
import type { LoadReport } from "./load.ts";

const SAMPLE_MS = 250;

/** What is shown while the story goes on. */
export interface DemoView {
  /** A line that stays: something happened. */
  say(text: string): void;
  /** A new act begins. */
  act(title: string): void;
  /** What a user would type, and what that prints. */
  command(line: string, output: string): void;
  /** The nodes as they are now. */
  show(report: Report, load: LoadReport): void;
  /** Gives the terminal back. */
  end(): void;
}

/** Plays a story with a cascade of `cast`, which is removed at the end, or when it is interrupted. */
export async function onStage<Result>(
  cast: Cast,
  sizeBytes: number,
  view: DemoView,
  play: (cluster: DemoCluster) => Promise<Result>,
): Promise<Result> {
  const cluster = await DemoCluster.create(cast, sizeBytes);
  let isInterrupted = false;
  const interrupt = () => {
    isInterrupted = true;
    cluster.remove().finally(() => {
      // Only now: the story may have drawn until here.
      view.end();
      Deno.kill(Deno.pid, "SIGKILL");
    });
  };
  Deno.addSignalListener("SIGINT", interrupt);
  Deno.addSignalListener("SIGTERM", interrupt);
  try {
    return await play(cluster);
  } finally {
    // What fails since its nodes are being removed is no news: this process is about to end.
    if (isInterrupted) await new Promise<never>(() => {});
    await cluster.remove();
    Deno.removeSignalListener("SIGINT", interrupt);
    Deno.removeSignalListener("SIGTERM", interrupt);
  }
}

/** The nodes that answer. */
export function statusesOf(report: Report): NodeStatus[] {
  return report.nodes.flatMap(({ status }) => status === null ? [] : [status]);
}

/** Looks at the nodes while the load runs. */
export class Watch {
  readonly #cluster: DemoCluster;
  readonly #view: DemoView;
  readonly #load: LoadReport;
  readonly hops = new Hops();

  constructor(cluster: DemoCluster, view: DemoView, load: LoadReport) {
    this.#cluster = cluster;
    this.#view = view;
    this.#load = load;
  }

  async run(): Promise<void> {
    while (!this.#load.done) {
      await this.sample();
      await delay(SAMPLE_MS);
    }
  }

  async sample(): Promise<void> {
    const report = await this.#cluster.report();
    this.hops.look(report);
    this.#view.show(report, this.#load);
  }
}
