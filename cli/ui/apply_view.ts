/**
 * What a node holds back from its volumes on purpose, in words.
 *
 * @module
 */
import type { NodeStatus } from "../../core/status.ts";
import { approximateDuration, approximateSize } from "../../core/topology/units.ts";

/** One line each; none where nothing is held back. */
export function applyRemarks({ apply }: NodeStatus): string[] {
  if (apply === null) return [];
  const lines: string[] = [];
  if (apply.delaySeconds !== null) lines.push(delayText(apply));
  if (apply.frozenAt !== null) {
    lines.push(
      `stands at mark ${apply.frozenAt.name} while its hook runs; nothing behind it is applied`,
    );
  }
  for (const { id, of, lsn, address, clients } of apply.views) {
    const who = `${clients} client${clients === 1 ? "" : "s"}`;
    lines.push(`export ${id} as of ${of} (LSN ${lsn}) at ${address}, ${who}`);
  }
  return lines;
}

function delayText({
  delaySeconds,
  heldBytes,
  dueBytes,
  behindSeconds,
  earlyBytes,
}: NonNullable<NodeStatus["apply"]>): string {
  const delay = approximateDuration((delaySeconds ?? 0) * 1000);
  const behind = behindSeconds === null || behindSeconds === 0
    ? ""
    : `, the oldest ${approximateDuration(behindSeconds * 1000)} old`;
  const held = heldBytes === 0 ? "nothing waits" : `${approximateSize(heldBytes)} waits${behind}`;
  const due = dueBytes === 0 ? "" : `; ${approximateSize(dueBytes)} more is due`;
  const early = earlyBytes === 0
    ? ""
    : `; ${approximateSize(earlyBytes)} was applied early, since the log budget was spent`;
  return `applies ${delay} late on purpose: ${held}${due}${early}`;
}
