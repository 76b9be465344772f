/**
 * A node as deltas see it, over a made-up log: its volume is applied as far as a test wants.
 *
 * @module
 */
import type { DeltaShelf } from "../../../core/delta/delta_shelf.ts";
import { CascadeError } from "../../../core/errors.ts";
import { History } from "../../../core/history.ts";
import type { PlanGround } from "../../../core/link/delta_plan.ts";
import type { Gap } from "../../../core/log/gaps.ts";
import { RecordReader, RecordType } from "../../../core/log/record.ts";
import { Volume } from "../../../core/volume/volume.ts";
import { MemoryDisk } from "../../support/memory_disk.ts";
import { makeEpoch } from "../../support/small.ts";
import { type MadeUp, MadeUpLog, quickClock } from "./made_up_log.ts";

/** See the module's text. */
export class MadeUpGround implements PlanGround {
  readonly disk = new MemoryDisk();
  readonly made: MadeUpLog;
  readonly sizes: readonly number[];
  readonly volumes: readonly Volume[];
  readonly volumeNames: readonly string[];
  readonly history = new History([makeEpoch(1, 0)]);
  readonly cluster = "payroll";
  readonly scans = false;
  readonly imageLacks = () => null;
  readonly settled = () => Promise.resolve();
  /** Deltas that the node holds; a test that needs some gives a real shelf. */
  shelf: DeltaShelf;
  clock = quickClock;
  /** What was dropped of the log lies below. */
  startLsn = 0;
  gap: Gap | null = null;
  stable = 0;
  series = "0000000000000000";
  #applied = 0;
  #ids = 0;

  constructor(records: readonly MadeUp[], sizes: readonly number[], shelf?: DeltaShelf) {
    this.made = new MadeUpLog(records);
    this.sizes = sizes;
    this.volumeNames = sizes.map((_, number) => `v${number}`);
    this.volumes = sizes.map((size, number) => {
      this.disk.place(`/v${number}`, new Uint8Array(size));
      return new Volume(`v${number}`, size, this.disk.open(`/v${number}`), () => {});
    });
    const none = { deltas: [], covering: () => null };
    this.shelf = shelf ?? none as unknown as DeltaShelf;
  }

  readonly log = this.#makeLog();

  #makeLog(): PlanGround["log"] {
    // deno-lint-ignore no-this-alias
    const ground = this;
    const check = (lsn: number) => {
      if (lsn < ground.startLsn) throw new CascadeError("log-gone", `LSN ${lsn} is gone`);
    };
    return {
      get startLsn() {
        return ground.startLsn;
      },
      get endLsn() {
        return Infinity;
      },
      get gaps() {
        return ground.gap === null ? [] : [ground.gap];
      },
      gapAt: (lsn) => ground.log.gaps.find((gap) => gap.fromLsn <= lsn && lsn < gap.toLsn) ?? null,
      nextGap: (lsn) => ground.log.gaps.find((gap) => gap.fromLsn >= lsn) ?? null,
      read: (lsn, into, limit) => {
        check(lsn);
        return ground.made.read(lsn, into, limit);
      },
      beginsRecord: () => true,
      readAt: (lsn, into) => {
        check(lsn);
        ground.made.readAt(lsn, into);
      },
    };
  }

  readonly appliedLsn = () => this.#applied;
  readonly stableLsn = () => this.stable;
  readonly timeAtMs = () => 0;
  readonly newId = () => this.series + String(++this.#ids).padStart(16, "0");
  readonly isOwn = (id: string) => id.startsWith(this.series);

  /** Lets the log be stable, and the volumes applied, up to `lsn`. */
  goTo(lsn: number): void {
    const record = new RecordReader();
    this.stable = Math.max(this.stable, lsn);
    while (this.#applied < lsn) {
      const { bytes } = this.made;
      const { type, volume, offset, length, totalBytes } = record.at(bytes, this.#applied);
      const at = record.payloadStart;
      if (type === RecordType.WRITE) {
        this.volumes[volume]?.applyWrite(bytes.subarray(at, at + length), offset);
      } else if (type === RecordType.ZERO || type === RecordType.TRIM) {
        this.volumes[volume]?.applyZero(offset, length, true);
      }
      this.#applied += totalBytes;
    }
  }

  /** The volumes as they are applied now. */
  images(): Uint8Array[] {
    return this.sizes.map((_, number) => Uint8Array.from(this.disk.file(`/v${number}`).bytes));
  }
}
