/**
 * What the links of a node ask of the node that they belong to.
 *
 * @module
 */
import type { NodeConfig } from "../config.ts";
import type { Pipeline } from "../pipeline.ts";
import type { Ports } from "../ports.ts";
import type { LinkStatus } from "../status.ts";
import type { Tide } from "./frames.ts";
import type { Ask, AskAnswer } from "../tree/asks.ts";
import type { View } from "../tree/view.ts";
import type { ByHand } from "./by_hand.ts";
import type { Hello, Refusal } from "./messages.ts";
import type { BlockSet } from "../delta/block_set.ts";
import type { DeltaTaker } from "../delta/delta_taker.ts";
import type { PlanGround } from "./delta_plan.ts";
import type { RunLog } from "./runs.ts";
import type { MapChain } from "../delta/map_chain.ts";
import type { Descendants } from "./descendants.ts";
import type { SeedMap } from "./seed_map.ts";
import type { PrimaryTide } from "./sender.ts";
import type { TimeIndex } from "./time_index.ts";

export interface LinkHost {
  readonly config: NodeConfig;
  readonly ports: Ports;
  readonly pipeline: Pipeline;
  readonly times: TimeIndex;
  readonly tide: PrimaryTide;
  /** What an operator has set on links of this node. */
  readonly byHand: ByHand;
  /** With `capture: scan`; else null. */
  readonly scans: HostScans | null;
  /** Links to nodes below ship when a sync asks for it, and not by themselves. */
  readonly onRequest: boolean;
  /** Random for this run of the process. */
  readonly instance: string;
  /** Fingerprints of the volumes at LSN 0; null on a log-only node that was not told yet. */
  readonly base: Readonly<Record<string, string>> | null;
  /** A log-only node learns from its upstream what the volumes were at LSN 0. */
  adoptBase(base: Readonly<Record<string, string>>): Promise<void>;
  /** The nodes below, and what each of them has. */
  readonly descendants: Descendants;
  /** What deltas are made from, and what takes those that come from above. */
  readonly deltas: HostDeltas;
  /** One thing at a time: what reads old log, and what lets it go. */
  alone<T>(work: () => Promise<T>): Promise<T>;
  /** Sees to it that the history goes on beyond `lsn`, applied here; gives up once `wanted` is false. */
  advance(lsn: number, wanted: () => boolean): Promise<void>;
  /** How far all required sync peers are; Infinity without any. */
  groupReceivedLsn(): number;
  groupDurableLsn(): number;
  /** Records were appended by the link from above. */
  onAppended(): void;
  /** A link changed: a position, its state. */
  onLinkProgress(): void;
  /** The tide as heard from above. */
  onTide(tide: Tide): void;
  /** Waits until `bytes` can be appended; forgotten once `wanted` is false. */
  room(bytes: number, wanted: () => boolean): Promise<void>;
  /** The provisional tail goes: links below must shake hands anew. */
  onCutBack(): void;
  /** A peer has proved itself: what it knows of the tree is taken in. Why it is not spoken to, or null. */
  meet(peer: Pick<Hello, "node" | "view" | "epochs">): Promise<Refusal | null>;
  /** Another node is about to be given something: settles when that is remembered. */
  markFed(): Promise<void>;
  /** It leaves an abandoned epoch just now: it takes nothing from above. */
  readonly isLeaving: boolean;
  /** Answers what another node asks; never rejects. */
  answer(question: Ask): Promise<AskAnswer>;
  /** What this node tells of the tree; null: nothing was ever changed. */
  readonly view: View | null;
  /** The upstream refused this node for good. */
  onRefusedForGood(refusal: Refusal): void;
  /** A primary after a crash, before its new epoch: asks its sync peers for what it lost. */
  readonly recovery: TailRecovery | null;
  /** What is known of the links below this node's own. */
  subtree(): LinkStatus[];
  onFatal(error: unknown): void;
}

/** See core/recover_tail.ts. */
export interface TailRecovery {
  /** Takes whole records that follow the end of the log; throws `protocol` when they do not. */
  take(records: Uint8Array): void;
  /** This peer has given all that it has, or has nothing. */
  heard(link: string): void;
  /** Settles once the new epoch has begun. */
  readonly over: Promise<void>;
}

/** See core/node_capture.ts. */
export interface HostScans {
  /** Before the first scan: what the volumes are is not known. */
  readonly isNeeded: boolean;
  /** Has what the volumes are now in the log, and lets it be read until it is released. */
  share(): Promise<{ release(): Promise<void> }>;
}

/** See core/node_deltas.ts. */
export interface HostDeltas {
  readonly ground: PlanGround;
  readonly taker: DeltaTaker;
  /** What nodes below lack of the log that went. */
  readonly chain: MapChain;
  /** What was touched since the last seed file was made here. */
  readonly seedMap: SeedMap;
  /** Settles when nothing that an earlier life committed is left to be taken. */
  readonly settled: Promise<void>;
  /** When the periodic links of this node ran last. */
  readonly runLog: RunLog;
  /** Nothing was ever replicated to this node, and its volumes are blank. */
  readonly isFresh: boolean;
  /** The volumes hold a part of a delta that is taken in place. */
  readonly isInPlace: boolean;
  /** The volumes are the image of an abandoned epoch: see core/rejoin.ts. */
  readonly isRejoining: boolean;
  /** What that epoch touched since the fork. */
  touched(): BlockSet;
}
