/**
 * A node below the primary, as far as marks see it: a real log and pipeline, hooks and state made up.
 *
 * @module
 */
import type { NodeConfig } from "../../../core/config.ts";
import { encodeName, markIn, RecordReader, RecordType } from "../../../core/log/record.ts";
import type { Mark } from "../../../core/marks/mark_index.ts";
import type { MarksHost } from "../../../core/marks/marks_host.ts";
import { NodeMarks } from "../../../core/marks/node_marks.ts";
import { NodeFront } from "../../../core/front.ts";
import type { HookOptions } from "../../../core/ports.ts";
import { PrimaryClock } from "../../../core/primary_clock.ts";
import type { NodeState } from "../../../core/state.ts";
import { settle } from "../../support/manual_clock.ts";
import { makeRecord, makeRig, makeWrite, type Rig, type RigOptions } from "../../support/rig.ts";
import { CountingRandom, makeEpoch, MemoryJournal } from "../../support/small.ts";

/** A hook that is told of, and ends when the test says so. */
export interface RunningHook {
  readonly env: Readonly<Record<string, string>>;
  readonly options: HookOptions;
  end(error?: Error): void;
}

export interface MarkedRig {
  readonly rig: Rig;
  readonly marks: NodeMarks;
  readonly tide: PrimaryClock;
  readonly journal: MemoryJournal;
  readonly state: Partial<NodeState>;
  readonly hooks: RunningHook[];
  /** Appends a block of this value, durable and stable. */
  write(block: number, value: number): Promise<number>;
  mark(name: string): Promise<Mark>;
  /** The first byte of each of the first blocks, of the volume's file. */
  image(): number[];
}

export const BLOCK = 4096;

/** `state` is what an earlier life has left. */
export async function makeMarks(
  config: Partial<NodeConfig>,
  options: RigOptions = {},
  state: Partial<NodeState> = {},
): Promise<MarkedRig> {
  const rig = await makeRig({ reigns: false, ...options });
  const { clock, pipeline } = rig;
  if (rig.history.last === null) rig.history.add(makeEpoch(1, 0));
  const journal = new MemoryJournal();
  const hooks: RunningHook[] = [];
  const tide = new PrimaryClock(clock, null);
  const sync = {
    ...{ receivedLsn: () => Infinity, durableLsn: () => Infinity, failed: () => false },
    ...{ failures: () => 0, onAppended: () => {}, onFlushWanted: () => {} },
  };
  const front = new NodeFront(pipeline, sync, clock, 0);
  const host = {
    config: {
      ...{ cluster: "payroll", name: "dr", dir: "/dr", applyDelayMs: 0, onMark: null },
      volumes: [{ name: "my-data", sizeBytes: 1024 * 1024, path: "/data" }],
      hookTimeoutMs: 1000,
      ...config,
    } as unknown as NodeConfig,
    ports: {
      ...{ disk: rig.disk, clock, journal, random: new CountingRandom() },
      network: {
        dial: () => Promise.reject(new Error("nobody")),
        listen: (address: string) => Promise.resolve({ address, close() {} }),
      },
      hooks: {
        run(_name: string, _command: readonly string[], _timeoutMs: number, options = {}) {
          const { promise, resolve, reject } = Promise.withResolvers<readonly string[]>();
          const { env = {}, cancelled }: HookOptions = options;
          cancelled?.then((why) => reject(new Error(why)));
          hooks.push({ env, options, end: (error) => error ? reject(error) : resolve([]) });
          return promise;
        },
      },
    },
    ...{ pipeline, tide, front: () => front, state: () => state as NodeState },
    save(change: Partial<NodeState>) {
      Object.assign(state, change);
      return Promise.resolve();
    },
    isInPlace: () => false,
    isRunning: () => true,
    onFatal: (error: unknown) => rig.fatal.push(error),
    lastTimeMs: 0,
  } satisfies MarksHost;
  const marks = new NodeMarks(host);
  const append = async (bytes: Uint8Array<ArrayBuffer>, mark: Mark | null): Promise<number> => {
    rig.log.append(bytes);
    if (mark !== null) pipeline.marks.note(mark);
    await stable(rig);
    return rig.log.endLsn;
  };
  return {
    ...{ rig, marks, tide, journal, state, hooks },
    write: (block, value) =>
      append(makeWrite(1, rig.log.endLsn, block * BLOCK, BLOCK, value), null),
    async mark(name) {
      const payload = encodeName(name);
      const { length } = payload;
      const bytes = makeRecord(RecordType.MARK, 1, rig.log.endLsn, 0, length, payload);
      const mark = markIn(bytes, new RecordReader().at(bytes, 0));
      await append(bytes, mark);
      return mark;
    },
    image() {
      const bytes = new Uint8Array(8 * BLOCK);
      rig.volumes[0]?.readApplied(bytes, 0);
      return Array.from({ length: 8 }, (_, block) => bytes[block * BLOCK] ?? 0);
    },
  };
}

/** All that is in the log is durable here, and known durable above. */
export async function stable(rig: Rig): Promise<void> {
  rig.pipeline.setUpstreamMark(rig.log.endLsn);
  for (let turn = 0; turn < 3; turn++) {
    rig.log.requestFlush();
    await rig.log.flushed();
    rig.clock.advance(20);
    await settle();
  }
}
