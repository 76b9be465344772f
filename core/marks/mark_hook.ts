/**
 * `onMark`: applying stands still at a mark, with all below it in the volumes and flushed, while a command of
 * the operator runs; then it goes on, however that went. A mark counts as done only when that is durable, and
 * nothing behind it was applied before: a crash runs the command for it again, over the same image.
 *
 * @module
 */
import { describeError } from "../errors.ts";
import { moment } from "./find_lsn.ts";
import type { ApplyStatus } from "./apply_status.ts";
import type { Mark } from "./mark_index.ts";
import type { MarksHost } from "./marks_host.ts";

const HOOK = "onMark";

/** See the module's text. */
export class MarkHook {
  readonly #host: MarksHost;
  readonly #command: readonly string[];
  readonly #onMoved: () => void;
  #doneLsn: number;
  /** Whose command ran when the node went down. */
  readonly #cutShort: Mark | null;
  #frozen: { readonly mark: Mark; readonly sinceMs: number; cancel(why: string): void } | null =
    null;
  #work: Promise<void> = Promise.resolve();
  #last: ApplyStatus["lastHook"] = null;
  #failures = 0;
  #isStopped = false;
  /** The command is run at marks. Below the primary always. */
  isArmed: boolean;

  constructor(
    host: MarksHost,
    command: readonly string[],
    doneLsn: number,
    onMoved: () => void,
  ) {
    const { markFrozen } = host.state();
    this.#cutShort = markFrozen ?? null;
    this.isArmed = !host.pipeline.reigns;
    this.#host = host;
    this.#command = command;
    this.#doneLsn = doneLsn;
    this.#onMoved = onMoved;
  }

  get frozenAt(): ApplyStatus["frozenAt"] {
    return this.#frozen === null ? null : { ...this.#frozen.mark, sinceMs: this.#frozen.sinceMs };
  }

  get last(): ApplyStatus["lastHook"] {
    return this.#last;
  }

  get failures(): number {
    return this.#failures;
  }

  /** Nothing behind it is applied. */
  get limitLsn(): number {
    const { pipeline } = this.#host;
    const mark = this.#frozen?.mark ?? this.#next();
    return Math.max(mark?.endLsn ?? Infinity, pipeline.appliedLsn);
  }

  #next(): Mark | null {
    const isOpen = this.#cutShort !== null && this.#cutShort.endLsn > this.#doneLsn;
    return isOpen ? this.#cutShort : this.#host.pipeline.marks.after(this.#doneLsn);
  }

  /** Begins where a mark was reached. */
  look(): void {
    if (this.#frozen !== null || this.#isStopped || !this.isArmed) return;
    const { pipeline, isInPlace, ports: { clock } } = this.#host;
    const mark = this.#next();
    if (mark === null || pipeline.appliedLsn < mark.endLsn || isInPlace()) return;
    const { promise: cancelled, resolve: cancel } = Promise.withResolvers<string>();
    this.#frozen = { mark, sinceMs: clock.nowMs(), cancel };
    this.#work = this.#freeze(mark, cancelled).catch((error) => {
      if (!this.#isStopped) this.#host.onFatal(error);
    });
  }

  /** The log has no room: applying has to go on past `lsn`. */
  press(lsn: number): void {
    if (this.#frozen === null || this.#frozen.mark.endLsn >= lsn) return;
    this.#frozen.cancel("the log budget is spent, and applying has to go on");
  }

  /** Marks up to `lsn` are passed by: a command that runs is ended; for the rest it is not run, loudly. */
  async skipTo(lsn: number, why: string): Promise<void> {
    this.#frozen?.cancel(why);
    await this.#work;
    const { journal, clock } = this.#host.ports;
    const doneLsn = this.#doneLsn;
    for (let mark = this.#next(); mark !== null && mark.endLsn <= lsn; mark = this.#next()) {
      this.#doneLsn = mark.endLsn;
      this.#failures++;
      const nowMs = clock.nowMs();
      this.#last = {
        ...{ mark: mark.name, lsn: mark.endLsn, startedAtMs: nowMs, endedAtMs: nowMs },
        outcome: "missed",
        reason: why,
      };
      const fields = { mark: mark.name, lsn: mark.endLsn, reason: why };
      journal.write("error", "the hook for a mark was not run", fields);
    }
    if (this.#doneLsn > doneLsn) {
      await this.#host.save({ marksDoneLsn: this.#doneLsn, markFrozen: null });
    }
  }

  async #freeze(mark: Mark, cancelled: Promise<string>): Promise<void> {
    const { pipeline, ports: { clock, journal }, save } = this.#host;
    const startedAtMs = clock.nowMs();
    const fields = { mark: mark.name, lsn: mark.endLsn };
    const end = (outcome: "done" | "failed" | "missed", reason: string | null) => {
      this.#last = {
        mark: mark.name,
        lsn: mark.endLsn,
        startedAtMs,
        endedAtMs: clock.nowMs(),
        outcome,
        reason,
      };
      if (outcome === "done") return journal.write("info", "the hook for a mark is done", fields);
      this.#failures++;
      journal.write(
        "error",
        `the hook for a mark ${outcome === "missed" ? "was not run" : "failed"}`,
        {
          ...fields,
          reason: reason ?? "",
        },
      );
    };
    if (pipeline.appliedLsn > mark.endLsn) {
      end("missed", `the volumes came from before it to LSN ${pipeline.appliedLsn} in one go`);
    } else {
      while (pipeline.checkpointedLsn < mark.endLsn) await pipeline.checkpoint();
      await save({ markFrozen: mark });
      if (this.#isStopped) return;
      journal.write("info", "applying waits at a mark for its hook", fields);
      const failure = await this.#run(mark, cancelled);
      // What a stop has ended is not over: it runs again after the next start.
      if (this.#isStopped) return;
      end(failure === null ? "done" : "failed", failure);
    }
    await save({ marksDoneLsn: mark.endLsn, markFrozen: null });
    this.#doneLsn = mark.endLsn;
    this.#frozen = null;
    if (!this.#isStopped) this.#onMoved();
  }

  async #run(mark: Mark, cancelled: Promise<string>): Promise<string | null> {
    const { config, ports: { hooks } } = this.#host;
    const env = hookEnv(this.#host, mark);
    try {
      await hooks.run(HOOK, this.#command, config.hookTimeoutMs, { env, cancelled });
      return null;
    } catch (error) {
      return describeError(error);
    }
  }

  /** Ends the command that runs, and waits for its end. */
  stop(): Promise<void> {
    this.#isStopped = true;
    this.#frozen?.cancel("the node stops");
    return this.#work;
  }
}

/** What the command finds in its environment. */
export function hookEnv({ config }: Pick<MarksHost, "config">, mark: Mark): Record<string, string> {
  const placed = config.volumes.filter(({ path }) => path !== null);
  const [only] = placed;
  return {
    CASCADE_CLUSTER: config.cluster,
    CASCADE_NODE: config.name,
    CASCADE_MARK: mark.name,
    CASCADE_LSN: String(mark.endLsn),
    CASCADE_TIME: moment(mark.timeMs),
    CASCADE_VOLUMES: placed.map(({ name, path }) => `${name}=${path}`).join("\n"),
    ...(placed.length === 1 && only !== undefined ? { CASCADE_VOLUME: only.path ?? "" } : {}),
    ...Object.fromEntries(placed.map(({ name, path }) => [
      `CASCADE_VOLUME_${name.toUpperCase().replaceAll(/[^A-Z0-9]/g, "_")}`,
      path ?? "",
    ])),
  };
}
