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
import { judgePosition } from "./judge.ts";
import { HANDSHAKE_TIMEOUT_MS } from "./link_limits.ts";
import {
  decodeMessage,
  positionSchema,
  type Refusal,
  refuseSchema,
  touchedSchema,
} from "./messages.ts";
import { recoverTail } from "./recover_tail.ts";
import type { Wire } from "./wire.ts";

/** What became of a peer. Nothing at all when its connection is gone. */
export type Admission =
  | { readonly kind: "accepted"; readonly fromLsn: number; readonly peer: PeerPlace }
  | { readonly kind: "refused"; readonly refusal: Refusal }
  /** It was the peer that refused. */
  | { readonly kind: "unwanted"; readonly refusal: Refusal }
  | { readonly kind: "gone" };

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
  wire.send(jsonFrame(FrameType.ACCEPT, { fromLsn, base: host.base }));
  const { inPlace, staged } = position;
  if (blocks !== null) planner.mend(blocks);
  return { kind: "accepted", fromLsn, peer: { lsn, needsSeed, inPlace, staged } };
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
      if (offset + length > (sizes[volume] ?? 0)) {
        throw new CascadeError("protocol", "the peer tells of blocks past the end of a volume");
      }
      blocks.add(volume, offset, length);
    }
    if (isLast) break;
  }
  wire.setDeadline(null);
  return blocks;
}
