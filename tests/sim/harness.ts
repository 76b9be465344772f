/**
 * One run of the simulator: a cascade from a seed, under load and faults, then calm, then judged.
 *
 * @module
 */
import type { CascadeNode } from "../../core/node.ts";
import { overflowedHosts, unrest } from "./convergence.ts";
import { Coverage } from "./coverage.ts";
import { Faults } from "./faults.ts";
import { isDeath } from "./life.ts";
import { Marking } from "./marking.ts";
import { Oracle } from "./oracle.ts";
import { makePlan, type Plan } from "./plan.ts";
import { Prng } from "./prng.ts";
import { Requests } from "./requests.ts";
import { HOST_FOLDERS, type HostEvents, SimHost } from "./sim_host.ts";
import { Verifying } from "./verifying.ts";
import { Workload } from "./workload.ts";
import { type Failure, Violation, World } from "./world.ts";

/** Time between two looks at some node, ms. */
const LOOK_EVERY_MS = 100;
/** Clients go on for a while after the faults have stopped, ms. */
const AFTERMATH_MS = 3_000;
/** The cascade comes to rest within this, or it never will, ms. */
const REST_MS_MAX = 180_000;
/** A run that takes more events than this is told as one that never ends. */
const STEPS_MAX = 3_000_000;

/** What a run found. */
export interface RunResult {
  readonly seed: number;
  readonly plan: Plan;
  readonly failure: Failure | null;
  /** The hash of all that happened: the same for the same seed. */
  readonly hash: string;
  /** The last lines of the trace. */
  readonly tail: readonly string[];
  readonly figures: Readonly<Record<string, number>>;
}

/** How to run. */
export interface RunOptions {
  /** Called with each line of the trace. */
  readonly print?: (line: string) => void;
  /** Changes the plan of the seed, for tests of a single kind of trouble. */
  readonly change?: (plan: Plan) => Plan;
}

/** Runs one seed. Never throws for what the cascade does wrong: that is in the result. */
export async function runSeed(seed: number, options: RunOptions = {}): Promise<RunResult> {
  const prng = new Prng(seed);
  const made = makePlan(seed, prng.fork("plan"));
  const plan = options.change?.(made) ?? made;
  const run = new Run(plan, prng);
  run.world.trace.print = options.print ?? null;
  const onUnhandled = (event: PromiseRejectionEvent) => {
    event.preventDefault();
    if (!isDeath(event.reason)) {
      run.world.fail("correctness", event.reason, "a rejection that nobody handles: ");
    }
  };
  globalThis.addEventListener("unhandledrejection", onUnhandled);
  try {
    await run.play();
  } catch (error) {
    run.world.fail("correctness", error, "the simulator broke: ");
  } finally {
    globalThis.removeEventListener("unhandledrejection", onUnhandled);
  }
  return run.result();
}

/** The part of runs in which links are verified. */
const VERIFYING = 0.4;

class Run implements HostEvents {
  readonly world: World;
  readonly #plan: Plan;
  readonly #prng: Prng;
  readonly #oracle: Oracle;
  readonly #hosts: SimHost[];
  readonly #faults: Faults;
  readonly #requests: Requests;
  readonly #coverage: Coverage;
  readonly #verifying: Verifying;
  readonly #marking: Marking;
  #workload: Workload | null = null;
  #workloads = 0;
  #batches = 0;
  #waitedMsMax = 0;
  #isWorkOver = false;
  #isEnding = false;

  constructor(plan: Plan, prng: Prng) {
    this.#plan = plan;
    this.#prng = prng;
    this.world = new World(prng);
    this.#oracle = new Oracle(this.world, plan);
    this.#hosts = plan.nodes.map((node) =>
      new SimHost(this.world, node, prng.fork(`host ${node.config.name}`), this)
    );
    const [faults, asked] = [prng.fork("faults"), prng.fork("requests")];
    const coverage = this.#coverage = new Coverage(this.#hosts);
    const durableOf = (host: SimHost) => this.#oracle.durableOf(host);
    this.#requests = new Requests(this.world, asked, this.#hosts, coverage, durableOf);
    const { weather } = plan;
    this.#faults = new Faults(this.world, faults, weather, this.#hosts, this.#requests, coverage);
    this.#verifying = new Verifying(this.world, prng.fork("verifying"), this.#hosts);
    this.#marking = new Marking(this.world, prng.fork("marking"), this.#oracle);
  }

  get #primary(): SimHost {
    const primary = this.#hosts[0];
    if (primary === undefined) throw new Violation("a plan has a primary");
    return primary;
  }

  async play(): Promise<void> {
    this.#prepare();
    const order = this.#prng.fork("order");
    for (const host of this.#hosts) {
      this.world.scheduler.after(order.below(300), null, () => host.start());
    }
    this.#look(order);
    if (this.#prng.fork("who verifies").chance(VERIFYING)) this.#verifying.begin();
    if (this.#plan.isMarked) this.#marking.begin(this.#primary);
    await this.#until("chaos", this.#plan.weather.chaosMs);
    this.#faults.end();
    await this.#until("aftermath", AFTERMATH_MS);
    this.#isWorkOver = true;
    this.#verifying.isOver = true;
    this.#marking.isOver = true;
    if (this.#workload !== null) this.#workload.isOver = true;
    await this.#rest("calm");
    await this.#stopAndStart();
    await this.#blackout();
  }

  /** What is on the disks before the first start. */
  #prepare(): void {
    for (const { disk, planned } of this.#hosts) {
      for (const folder of HOST_FOLDERS) disk.placeFolder(folder);
      for (const { name, sizeBytes, path } of planned.config.volumes) {
        const image = planned.isBlank ? undefined : this.#plan.images.get(name);
        const isDevice = planned.devices.includes(name);
        if (path === null || (image === undefined && !isDevice)) continue;
        disk.place(path, image ?? new Uint8Array(sizeBytes), isDevice);
      }
    }
  }

  /** Lets time pass. */
  async #until(what: string, ms: number): Promise<void> {
    if (this.world.failure !== null) return;
    const { scheduler } = this.world;
    const endMs = scheduler.nowMs + ms;
    const end = await scheduler.run({
      until: () => {
        this.#coverage.look();
        this.#faults.look();
        return this.world.failure !== null || scheduler.nowMs >= endMs;
      },
      timeMsMax: endMs,
      stepsMax: STEPS_MAX,
    });
    if (end === "steps") this.world.fail("liveness", new Violation(`${what} never ends`));
  }

  /** Looks at some node now and then. */
  #look(prng: Prng): void {
    this.world.scheduler.after(prng.exponential(LOOK_EVERY_MS), null, () => {
      this.#oracle.check(prng.pick(this.#hosts));
      this.#look(prng);
    });
  }

  /** Waits until nothing is left to do, and compares all volumes. */
  async #rest(what: string): Promise<void> {
    let calmMs = 0;
    const { scheduler } = this.world;
    const startMs = scheduler.nowMs;
    while (this.world.failure === null && this.#unrest().length > 0) {
      await this.#until(what, 50);
      calmMs = scheduler.nowMs - startMs;
      if (calmMs <= REST_MS_MAX) continue;
      const reasons = this.#unrest().join("\n  ");
      this.world.fail("liveness", new Violation(`no rest ${what} of ${calmMs} ms:\n  ${reasons}`));
    }
    if (this.world.failure !== null) return;
    for (const host of this.#hosts) this.#oracle.check(host);
    this.#judgeOverflow();
  }

  /** A log may forget what a peer needs only once its budget is spent, or its disk is full. */
  #judgeOverflow(): void {
    if (this.#faults.counts.has("disk-full")) return;
    const lost = [...overflowedHosts(this.#hosts)].map((host) => host.name);
    const budgetBytes = this.#primary.planned.config.log.budgetBytes;
    const endLsn = this.#primary.node?.pipeline.appendedLsn ?? 0;
    if (lost.length === 0 || endLsn > budgetBytes / 2) return;
    const message = `${lost.join(", ")} cannot catch up, though only ${endLsn} bytes were ` +
      `written ever, and logs have room for ${budgetBytes}`;
    this.world.fail("correctness", new Violation(message));
  }

  #unrest(): string[] {
    const waiting = this.#workload?.waiting ?? 0;
    const unanswered = waiting === 0 ? [] : [`${waiting} requests are not answered`];
    return [...unrest(this.#hosts), ...unanswered, ...this.#requests.unanswered];
  }

  /** A clean stop of all nodes loses nothing and begins no epoch. */
  async #stopAndStart(): Promise<void> {
    if (this.world.failure !== null) return;
    this.#isEnding = true;
    this.#faults.freeze();
    const epoch = this.#primary.node?.status().epoch?.number;
    const prng = this.#prng.fork("stop");
    for (const host of this.#hosts) {
      this.world.scheduler.after(prng.below(1000), null, () => host.stop());
    }
    for (let i = 0; i < 300 && this.#hosts.some((host) => host.isAlive); i++) {
      await this.#until("stop", 100);
    }
    const up = this.#hosts.filter((host) => host.isAlive).map((host) => host.name);
    if (up.length > 0) {
      this.world.fail("liveness", new Violation(`asked to stop, still up: ${up.join(", ")}`));
      return;
    }
    for (const host of this.#hosts) {
      this.world.scheduler.after(prng.below(1000), null, () => host.start());
    }
    await this.#until("second start", 2_000);
    await this.#rest("after a clean stop");
    const now = this.#primary.node?.status().epoch?.number;
    if (this.world.failure === null && epoch !== now) {
      this.world.fail("correctness", new Violation(`epoch ${now} after a clean stop in ${epoch}`));
    }
  }

  /** A loss of power at rest takes nothing that clients were told of. */
  async #blackout(): Promise<void> {
    if (this.world.failure !== null) return;
    const prng = this.#prng.fork("blackout");
    for (const host of this.#hosts) {
      host.crash("power");
      this.world.scheduler.after(prng.below(1000), null, () => host.start());
    }
    await this.#until("start after a blackout", 1_000);
    await this.#rest("after a blackout");
  }

  onStarted(host: SimHost, node: CascadeNode): void {
    this.#faults.rot.onStarted(host);
    this.#oracle.onStarted(host, node);
  }

  onReady(host: SimHost, node: CascadeNode): void {
    if (host !== this.#primary) return;
    this.#oracle.onPrimaryReady(host, node);
    this.#faults.onReign();
    this.#count();
    const workload = new Workload(
      this.world,
      this.#prng.fork(`workload ${++this.#workloads}`),
      this.#plan.weather,
      this.#oracle,
      host,
      this.#hosts,
      node,
      () => this.#faults.onBatch(),
    );
    this.#workload = workload;
    workload.isOver = this.#isWorkOver;
  }

  onHook(host: SimHost, env: Readonly<Record<string, string>>): void {
    this.#marking.onHook(host, env);
  }

  onWiped(host: SimHost): void {
    this.#oracle.onWiped(host);
  }

  onGone(host: SimHost, node: CascadeNode | null, how: Parameters<HostEvents["onGone"]>[2]): void {
    if (how !== "stop") this.#coverage.onMishap(`loss of ${how}`, host);
    this.#oracle.onGone(host, node, how);
    if (how === "power") this.#faults.rot.onPowerLoss(host);
    if (how !== "failure" && !this.#isEnding) this.#faults.restartLater(host);
  }

  onFailed(host: SimHost, error: unknown): void {
    if (!this.#faults.rot.explains(host, error)) this.#oracle.onFailed(host, error);
    this.#faults.restartLater(host);
  }

  /** Takes over the figures of the workload that ends. */
  #count(): void {
    this.#batches += this.#workload?.batches ?? 0;
    this.#waitedMsMax = Math.max(this.#waitedMsMax, this.#workload?.waitedMsMax ?? 0);
    this.#workload = null;
  }

  result(): RunResult {
    this.#count();
    const { trace, scheduler } = this.world;
    const faults = [...this.#faults.counts].map(([kind, count]) => [`fault: ${kind}`, count]);
    return {
      seed: this.#plan.seed,
      plan: this.#plan,
      failure: this.world.failure,
      hash: trace.hash,
      tail: trace.tail(60),
      figures: {
        steps: scheduler.steps,
        virtualMs: Math.round(scheduler.nowMs),
        batches: this.#batches,
        waitedMsMax: this.#waitedMsMax,
        ops: this.#oracle.history.ops.length,
        endLsn: this.#oracle.history.endLsn,
        checks: this.#oracle.checks,
        verified: this.#verifying.done,
        repairs: this.#verifying.repairs,
        marks: this.#marking.set,
        hooks: this.#marking.hooks,
        overflowed: overflowedHosts(this.#hosts).size,
        "flips found": this.#faults.rot.found,
        ...Object.fromEntries(faults),
        ...Object.fromEntries(this.#coverage.counts),
      },
    };
  }
}
