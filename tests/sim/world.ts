/**
 * What all parts of a simulated run share: time, network, trace, and the verdict.
 *
 * @module
 */
import { Scheduler } from "./clock.ts";
import { isDeath } from "./life.ts";
import { SimFabric } from "./network.ts";
import type { Prng } from "./prng.ts";
import { Trace } from "./trace.ts";

/** Correctness: something false was seen. Liveness: nothing false, but it does not come to an end. */
export type FailureKind = "correctness" | "liveness";

/** Why a run failed. */
export interface Failure {
  readonly kind: FailureKind;
  readonly message: string;
}

/** Thrown by checks. */
export class Violation extends Error {
  override name = "Violation";
}

/** See the module's text. */
export class World {
  readonly scheduler = new Scheduler();
  readonly trace = new Trace();
  readonly fabric: SimFabric;
  #failure: Failure | null = null;

  constructor(prng: Prng) {
    this.trace.clock = () => this.scheduler.nowMs;
    this.fabric = new SimFabric(this.scheduler, this.trace, prng.fork("network"));
    this.scheduler.onUncaught = (error, life) => {
      this.fail("correctness", error, `uncaught in ${life?.name ?? "the simulator"}: `);
    };
  }

  /** The first failure, if there was one. */
  get failure(): Failure | null {
    return this.#failure;
  }

  /** Ends the run as failed. The first failure counts. */
  fail(kind: FailureKind, error: unknown, prefix = ""): void {
    if (this.#failure !== null || isDeath(error)) return;
    const text = error instanceof Violation || !(error instanceof Error)
      ? String(error instanceof Error ? error.message : error)
      : error.stack ?? error.message;
    this.#failure = { kind, message: prefix + text };
    this.trace.note("oracle", `${kind} failure`, prefix + text);
  }
}
