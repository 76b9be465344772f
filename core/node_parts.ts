/**
 * How a node's pipeline and its clients' front are wired to the rest of it.
 *
 * @module
 */
import { NodeFront } from "./front.ts";
import type { CascadeNode } from "./node.ts";
import type { OpenedNode } from "./open_node.ts";
import { Pipeline } from "./pipeline.ts";
import type { NodeState } from "./state.ts";

/** The pipeline of a node that is being made: `node` is asked later for what is not there yet. */
export function openPipeline(
  node: CascadeNode,
  opened: OpenedNode,
  save: (change: Partial<NodeState>) => Promise<void>,
): Pipeline {
  const { config, ports } = node;
  return new Pipeline({
    log: opened.log,
    shelf: opened.shelf,
    history: opened.history,
    // Some may have been cut off since.
    marks: opened.report.marks.filter(({ endLsn }) => endLsn <= opened.log.endLsn),
    volumes: opened.volumes,
    reigns: config.role === "primary",
    checkpointLsn: opened.state.checkpointLsn,
    budgetBytes: config.log.budgetBytes,
    segmentBytes: config.log.segmentBytes,
    clock: ports.clock,
    events: {
      onProgress: () => node.onProgress(),
      saveCheckpoint: (lsn) => save({ checkpointLsn: lsn }),
      neededLsn: () => node.hub.folding.neededLsn(),
      onCutBack: () => node.onCutBack(),
      letGo: (lsn) => node.hub.folding.letGo(lsn),
      heldLsn: () => node.hub.heldLsn(),
      stallLsn: () => node.hub.neededBy("stall"),
      failLsn: () => node.hub.neededBy("fail"),
      onFatal: (error) => node.onFatal(error),
    },
  });
}

/** What clients write through. */
export function openFront(node: CascadeNode, opened: OpenedNode): NodeFront {
  const sync = {
    receivedLsn: () => node.hub.groupReceivedLsn(),
    durableLsn: () => node.hub.groupDurableLsn(),
    failed: () => node.hub.failed(),
    failures: () => node.hub.failures(),
    // Hot path: a client's batch was appended.
    onAppended: (firstLsn: number, timeMs: number) => {
      node.times.note(firstLsn, timeMs);
      node.hub.onAppended();
    },
    onFlushWanted: () => node.hub.onAppended(),
  };
  return new NodeFront(node.pipeline, sync, node.ports.clock, opened.report.lastTimeMs);
}
