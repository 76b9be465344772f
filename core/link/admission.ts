/**
 * The upstream end of a handshake, once the peer is proved: where the peer stands, and whether and where it
 * goes on.
 *
 * @module
 */
import type { LinkConfig } from "../config.ts";
import { BlockSet } from "../delta/block_set.ts";
import { CascadeError } from "../errors.ts";
import type { DeltaPlanner, PeerPlace } from "./delta_plan.ts";
import { FrameType, jsonFrame, unexpectedFrame } from "./frames.ts";
import type { LinkHost } from "./host.ts";
import { RECORD_ALIGN_BYTES } from "../log/record.ts";
import { judgePosition } from "./judge.ts";
import { HANDSHAKE_TIMEOUT_MS } from "./link_limits.ts";
import {
  decodeMessage,
  type PositionMessage,
  positionSchema,
  type Refusal,
  refuseSchema,
  touchedSchema,
} from "./messages.ts";
import { recoverTail } from "./recover_tail.ts";
import type { Wire } from "./wire.ts";

/** What became of a peer. Nothing at all when its connection is gone. */
export type Admission =
  | Accepted
  | { readonly kind: "refused"; readonly refusal: Refusal }
  /** It was the peer that refused. */
  | { readonly kind: "unwanted"; readonly refusal: Refusal }
  | { readonly kind: "gone" };

/** A peer that is streamed to. */
export interface Accepted {
  readonly kind: "accepted";
  readonly fromLsn: number;
  /** Where its log ends: what is behind `fromLsn` may have to go. */
  readonly endLsn: number;
  readonly peer: PeerPlace;
}

/** Admits a proved peer; a refusal is yet to be told to it. Throws what the connection throws. */
export async function admit(
  host: LinkHost,
  config: LinkConfig,
  wire: Wire,
  planner: DeltaPlanner,
): Promise<Admission> {
  wire.setDeadline(HANDSHAKE_TIMEOUT_MS, "position");
  const frame = await wire.receive();
  if (frame.type === FrameType.REFUSE) {
    return { kind: "unwanted", refusal: decodeMessage(refuseSchema, frame.body, "refusal") };
  }
  if (frame.type !== FrameType.POSITION) throw unexpectedFrame(frame.type);
  const position = decodeMessage(positionSchema, frame.body, "position");
  wire.setDeadline(null);
  checkPosition(position);
  const blocks = position.rejoins ? await receiveTouched(wire, planner.ground.sizes) : null;
  if (blocks !== null && !planner.hasVolumes) {
    const message = `${host.config.name} has no volumes to read from what the peer wrote in an ` +
      "abandoned epoch: give it another upstream node, with `cascade reparent`";
    return { kind: "refused", refusal: { code: "delta-needed", message } };
  }
  const refusal = await recoverTail(host, config, wire, position);
  if (refusal !== null) return { kind: "refused", refusal };
  // It may have been lost, and replaced by another, during the wait.
  if (wire.closed) return { kind: "gone" };
  const verdict = judgePosition(host, position, planner);
  if (verdict.kind === "refuse") return { kind: "refused", refusal: verdict.refusal };
  const { fromLsn, lsn, needsSeed } = verdict;
  for (const at of [fromLsn, lsn]) {
    if (!host.pipeline.log.beginsRecord(at)) throw violation(`LSN ${at}, where no record begins`);
  }
  wire.send(jsonFrame(FrameType.ACCEPT, { fromLsn, base: host.base }));
  const { inPlace, staged } = position;
  if (blocks !== null) planner.mend(blocks);
  const endLsn = position.endLsn;
  return { kind: "accepted", fromLsn, endLsn, peer: { lsn, needsSeed, inPlace, staged } };
}

/** A position must not contradict itself. */
function checkPosition({ history, endLsn, stableLsn, staged }: PositionMessage): void {
  if (stableLsn > endLsn) throw violation(`LSN ${stableLsn} as stable, and ${endLsn} as its end`);
  let before = { number: 0, firstLsn: 0 };
  for (const epoch of history) {
    const ordered = epoch.number > before.number && epoch.firstLsn >= before.firstLsn &&
      epoch.firstLsn < endLsn;
    if (!ordered) throw violation(`a history that goes back at epoch ${epoch.number}`);
    before = epoch;
  }
  if (staged !== null && staged.position % RECORD_ALIGN_BYTES !== 0) {
    throw violation(`byte ${staged.position} of a delta, where no record begins`);
  }
}

function violation(found: string): CascadeError {
  return new CascadeError("protocol", `the peer says to stand at ${found}`, { retryable: true });
}

/** Takes in what the peer wrote in an abandoned epoch. Throws `protocol`. */
async function receiveTouched(wire: Wire, sizes: readonly number[]): Promise<BlockSet> {
  const blocks = new BlockSet(sizes);
  for (;;) {
    wire.setDeadline(HANDSHAKE_TIMEOUT_MS, "blocks that were touched");
    const frame = await wire.receive();
    if (frame.type !== FrameType.TOUCHED) throw unexpectedFrame(frame.type);
    const { extents, isLast } = decodeMessage(touchedSchema, frame.body, "list of blocks");
    for (const [volume, offset, length] of extents) {
      if (length === 0 || offset + length > (sizes[volume] ?? 0)) {
        throw new CascadeError("protocol", "the peer tells of blocks past the end of a volume");
      }
      blocks.add(volume, offset, length);
    }
    if (isLast) break;
  }
  wire.setDeadline(null);
  return blocks;
}
