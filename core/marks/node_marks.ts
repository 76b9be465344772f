/**
 * Marks at one node: setting and listing them, and all that holds applying back on purpose (a delay, a hook at a
 * mark, an export of an image that is not applied yet). One figure goes to the pipeline: the least of their
 * limits, none when nothing of it is in use.
 *
 * @module
 */
import { CascadeError } from "../errors.ts";
import { recordBytesIn } from "../log/gaps.ts";
import { encodeName, recordBytes, RecordType } from "../log/record.ts";
import type { NodeState } from "../state.ts";
import type { ApplyStatus, MarkList } from "./apply_status.ts";
import { ApplyDelay } from "./delay.ts";
import { isSameImage, moment, TimeWalk } from "./find_lsn.ts";
import { type Mark, markNameFault, MARKS_MAX } from "./mark_index.ts";
import { MarkHook } from "./mark_hook.ts";
import type { MarkedNode, MarksHost, NodeParts } from "./marks_host.ts";
import { Views } from "./views.ts";

/** Room for a mark, and some. */
const ROOM_BYTES = 4096;

/** Why a primary does not run its hook for marks from before. */
const SERVES_FIRST = "a primary that starts serves its clients first";

/** See the module's text. */
export class NodeMarks {
  readonly views: Views;
  readonly #host: MarksHost;
  readonly #walk: TimeWalk;
  #delay: ApplyDelay | null = null;
  #hook: MarkHook | null = null;
  #isStopped = false;
  /** Nothing behind it is applied, whatever else is wanted. */
  #capLsn = Infinity;

  /** Those of `node`; `lastTimeMs`: the primary's time in the last record of its log. */
  static of(node: MarkedNode, parts: NodeParts, lastTimeMs: number): NodeMarks {
    return new NodeMarks({
      ...parts,
      lastTimeMs,
      front: () => node.front,
      isInPlace: () => node.deltas.isInPlace,
      isRunning: () => node.phase === "running",
    });
  }

  constructor(host: MarksHost) {
    this.#host = host;
    this.#walk = new TimeWalk(host.pipeline);
    this.views = new Views(host, () => this.#limit());
  }

  /**
   * Before anything is applied: takes up where the last run was. What had been applied while neither a delay
   * nor a hook was set is not known, so that all that is here counts as applied when one is set first.
   */
  async start(): Promise<void> {
    const { config, pipeline, state, save } = this.#host;
    const hasVolumes = pipeline.volumes.length > 0;
    const isDelayed = hasVolumes && !pipeline.reigns && config.applyDelayMs > 0;
    const command = hasVolumes ? config.onMark : null;
    const before = state();
    // A log that was cut back at a fork ends below what was applied of it before.
    const applyReachLsn = isDelayed
      ? Math.min(before.applyReachLsn ?? Infinity, pipeline.stableLsn)
      : null;
    const marksDoneLsn = command !== null
      ? Math.min(before.marksDoneLsn ?? Infinity, pipeline.appendedLsn)
      : null;
    const now: Partial<NodeState> = {
      applyReachLsn,
      marksDoneLsn,
      ...(command === null ? { markFrozen: null } : {}),
    };
    const isNew = applyReachLsn !== (before.applyReachLsn ?? null) ||
      marksDoneLsn !== (before.marksDoneLsn ?? null);
    if (isNew) await save(now);
    if (applyReachLsn !== null) {
      this.#delay = new ApplyDelay(this.#host, applyReachLsn, () => this.#limit());
    }
    if (command !== null && marksDoneLsn !== null) {
      this.#hook = new MarkHook(this.#host, command, marksDoneLsn, () => this.#limit());
      // Durably so before anything behind them is applied: it may be started again as one that does not reign.
      if (pipeline.reigns) await this.#hook.skipTo(pipeline.appendedLsn, SERVES_FIRST);
    }
    pipeline.marks.onChanged = () => this.#hook !== null && this.#limit();
    pipeline.onPressed = (lsn) => this.#press(lsn);
    pipeline.onReleased = () => this.#release();
    this.#limit();
  }

  /** Nothing behind `lsn` is applied any more; Infinity: the cap is taken off. */
  cap(lsn: number): void {
    this.#capLsn = lsn;
    this.#limit();
  }

  /**
   * Tells the pipeline how far it may apply. While the node stops, records still come, and marks with them, which
   * hold back like any other: but nothing is let go any more.
   */
  #limit(): void {
    const { pipeline } = this.#host;
    const limits = [this.#delay?.limitLsn, this.#hook?.limitLsn, this.views.limitLsn, this.#capLsn];
    if (this.#isStopped) limits.push(pipeline.heldAtLsn);
    const lsn = Math.min(...limits.map((limit) => limit ?? Infinity));
    pipeline.holdAt(Math.max(lsn, pipeline.appliedLsn));
  }

  /** The log has no room for what is held back. */
  #press(lsn: number): void {
    this.views.press(lsn);
    this.#hook?.press(lsn);
    this.#delay?.press(lsn);
  }

  /** All is to be applied: whatever else the volumes were to show, they are needed. */
  async #release(): Promise<void> {
    const { stableLsn } = this.#host.pipeline;
    this.views.press(Infinity);
    await this.#hook?.skipTo(stableLsn, "all that was here had to be applied");
    await this.#delay?.release(stableLsn);
    this.#limit();
  }

  /**
   * A primary serves before anything else: marks that were in its log before it did hold nothing back, since
   * its clients must be shown what lies behind them.
   */
  async #arm(): Promise<void> {
    const hook = this.#hook;
    if (hook === null || hook.isArmed || !this.#host.isRunning()) return;
    if (!this.#host.pipeline.reigns) return void (hook.isArmed = true);
    hook.isArmed = true;
    await hook.skipTo(this.#host.pipeline.appendedLsn, SERVES_FIRST);
  }

  tick(): void {
    if (this.#isStopped) return;
    this.#arm().catch(this.#host.onFatal);
    if (this.#host.isRunning()) {
      this.#delay?.tick();
      this.#hook?.look();
    }
    this.views.tick();
  }

  /** Sets a mark; settles when it is durable here. Throws `usage`, `refused`. */
  async set(name: string): Promise<Mark> {
    const { pipeline, front, isRunning } = this.#host;
    const fault = markNameFault(name);
    if (fault !== null) throw new CascadeError("usage", fault, { where: { mark: name } });
    this.#checkSeat();
    await this.#arm();
    const before = pipeline.marks.from(pipeline.log.startLsn);
    const same = before.find((mark) => mark.name === name);
    // With nothing written in between it stands for the same image: whoever was cut off is told so.
    if (same !== undefined && isSameImage(pipeline, same.endLsn, pipeline.appendedLsn)) {
      await this.#durable(same);
      return same;
    }
    if (same !== undefined) {
      throw new CascadeError("refused", `mark ${name} was set at ${moment(same.timeMs)} already`, {
        where: { LSN: same.endLsn },
        hint:
          "Give another name, such as one with a time in it; a name is free again when the log has let it go",
      });
    }
    if (before.length >= MARKS_MAX) {
      throw new CascadeError("refused", `the log holds ${MARKS_MAX} marks, and takes no more`, {
        hint: "They go with the log below them: set fewer, or try again later",
      });
    }
    front().commit();
    const refusal = front().refusal;
    if (refusal !== null || !isRunning() || !pipeline.accepts(ROOM_BYTES)) {
      throw new CascadeError(
        "refused",
        `the primary takes no mark now: ${refusal ?? "it takes no writes"}`,
        {
          hint: "Try again when `cascade status` finds it well",
          retryable: true,
        },
      );
    }
    const payload = encodeName(name);
    const endLsn = front().append(RecordType.MARK, 0, 0, 0, payload.length, payload);
    const lsn = endLsn - recordBytes(RecordType.MARK, payload.length);
    front().commit();
    const mark = { name, lsn, endLsn, timeMs: this.#walk.timeAt(lsn) ?? 0 };
    pipeline.marks.note(mark);
    await this.#durable(mark);
    return mark;
  }

  async #durable({ endLsn }: Mark): Promise<void> {
    const { pipeline, onFatal } = this.#host;
    pipeline.flushNow();
    await pipeline.log.flushed();
    if (pipeline.durableLsn >= endLsn) return;
    const error = new CascadeError("disk-failed", "the mark did not become durable");
    onFatal(error);
    throw error;
  }

  #checkSeat(): void {
    const { pipeline, config } = this.#host;
    if (!pipeline.reigns) {
      const primary = pipeline.history.last?.node ?? null;
      throw new CascadeError(
        "refused",
        `marks are set on the primary${
          primary === null ? "" : `, which is ${primary}`
        }; this is ${config.name}`,
        { hint: "Leave --node out, or name the primary: a mark flows down from there" },
      );
    }
    if (config.capture !== "scan") return;
    throw new CascadeError("refused", "a primary with capture: scan has no marks", {
      hint: "What a scan finds is one delta: its end is the only image between two scans",
    });
  }

  list(): MarkList {
    const { config, pipeline } = this.#host;
    const { appliedLsn } = pipeline;
    const marks = pipeline.marks.from(pipeline.log.startLsn);
    return {
      node: config.name,
      appliedLsn,
      marks: marks.map((mark) => ({ ...mark, applied: mark.endLsn <= appliedLsn })),
    };
  }

  /** Null: nothing holds this node back, and nothing is set to. */
  status(): ApplyStatus | null {
    const views = this.views.status();
    const { pipeline, tide } = this.#host;
    if (this.#delay === null && this.#hook === null && views.length === 0) return null;
    const { appliedLsn, stableLsn, log: { gaps } } = pipeline;
    const limitLsn = Math.min(stableLsn, Math.max(appliedLsn, pipeline.heldAtLsn));
    const oldestMs = appliedLsn === stableLsn ? null : this.#walk.timeAt(appliedLsn);
    const nowMs = this.#delay?.primaryMs() ?? (tide.known ? tide.timeMs() : null);
    return {
      delaySeconds: this.#delay === null ? null : this.#delay.delayMs / 1000,
      heldBytes: recordBytesIn(gaps, limitLsn, stableLsn),
      dueBytes: recordBytesIn(gaps, appliedLsn, limitLsn),
      behindSeconds: appliedLsn === stableLsn
        ? 0
        : oldestMs === null || nowMs === null
        ? null
        : Math.max(0, nowMs - oldestMs) / 1000,
      earlyBytes: this.#delay?.earlyBytes ?? 0,
      frozenAt: this.#hook?.frozenAt ?? null,
      lastHook: this.#hook?.last ?? null,
      hookFailures: this.#hook?.failures ?? 0,
      views,
    };
  }

  /** A hook that runs is ended, exports are closed; nothing is applied beyond what was let. */
  async stop(): Promise<void> {
    this.views.stop();
    this.#isStopped = true;
    await this.#delay?.stop();
    await this.#hook?.stop();
  }
}
